"""``fedjoint holder policy``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from fedjoint.agreement.review import Difference, HolderPolicy

__all__ = ["command", "differences_table"]


@click.command("policy")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@click.option(
    "--check",
    "agreement",
    type=click.Path(path_type=Path),
    metavar="AGREEMENT",
    help="Hold an agreement against it: agreement.json, signed or not, or the folder of a run.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the policy, and differences, as JSON.")
def command(file: Path, agreement: Path | None, as_json: bool) -> int:
    """Write, show or try out the limits that this holder sets for itself.

    A new FILE (.yaml) is written with every limit at its default and what it means. Of a FILE that is there the limits
    are shown. With --check, everything in an agreement that goes beyond them is shown in red, and the exit code is 1:
    the holder's node would not sign it, and would not run it if it had.

    \b
    Examples:
      fedjoint holder policy bern.yaml
      fedjoint holder policy bern.yaml --check runs/demo
    """
    from rich.console import Console

    from fedjoint.agreement.review import load_policy, review
    from fedjoint.cli.holder_home import say
    from fedjoint.strict import plain

    if agreement is None and not file.exists():
        _write(file)
        say(f"Written: {file}. Correct it; then try it: fedjoint holder policy {file} --check AGREEMENT", "bold")
        return 0
    policy = load_policy(file)
    figures: dict[str, Any] = {"policy": plain(policy)}
    found: tuple[Difference, ...] = ()
    if agreement is not None:
        document = _read(agreement)
        found = review(document.terms, policy)
        figures |= {"agreement_sha256": document.sha256, "differences": [plain(one) for one in found]}
    if as_json:
        click.echo(json.dumps(figures, indent=2))
    elif agreement is None:
        Console().print(_limits_table(policy))
    elif found:
        Console().print(differences_table(found))
        say(f"Beyond this policy in {len(found)} places: it would not be signed.", "bold red")
    else:
        say(f"Agreement {figures['agreement_sha256'][:16]}… is within this policy.", "bold green")
    return 1 if found else 0


def differences_table(differences: tuple[Difference, ...]) -> Table:
    """Where an agreement is beyond a policy, in red: the field, what is agreed, what is allowed."""
    return _table(
        ("in the agreement", "it says", "the policy allows"),
        [(one.field, one.agreed, one.allowed) for one in differences],
        style="red",
    )


def _limits_table(policy: HolderPolicy) -> Table:
    import dataclasses

    rows = []
    for field in dataclasses.fields(policy):
        value = getattr(policy, field.name)
        rows.append((field.name, _in_words(value), "" if value == field.default else "changed"))
    return _table(("limit", "value", "from the default"), rows)


def _in_words(value: object) -> str:
    if value is None:
        return "any"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, style: str = "") -> Table:
    from rich.table import Table
    from rich.text import Text

    from fedjoint.runs.notation import plain_text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain_text(cell)) for cell in row), style=style)
    return table


def _write(file: Path) -> None:
    from fedjoint.errors import AgreementError
    from fedjoint.node.policy_text import POLICY
    from fedjoint.settings_file import YAML

    if file.suffix.lower() not in YAML:
        raise AgreementError(f"policy file '{file}' is of an unknown kind", expected="a file ending in .yaml or .yml")
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(POLICY)
        file.chmod(0o600)
    except OSError as problem:
        raise AgreementError(f"'{file}' cannot be written: {problem.strerror}") from None


def _read(place: Path) -> Any:
    from fedjoint.agreement.signing import MAX_AGREEMENT_BYTES, read_agreement
    from fedjoint.errors import AgreementError
    from fedjoint.runs.folder import AGREEMENT

    path = place / AGREEMENT if place.is_dir() else place
    try:
        with path.open("rb") as file:
            data = file.read(MAX_AGREEMENT_BYTES + 1)
    except OSError as problem:
        raise AgreementError(
            f"'{path}' cannot be read: {problem.strerror}", remedy="Name an agreement.json or the folder of a run."
        ) from None
    return read_agreement(data)
