"""``fedjoint holder contributions``: what a holder's data added, for its own eyes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedjoint.cli.holder_home import home_option, json_option

if TYPE_CHECKING:
    from fedjoint.node.home import Home
    from fedjoint.runs.own import OwnContribution

__all__ = ["command"]

_MOST_ROWS = 20


@click.command("contributions")
@click.argument("run", default="", metavar="[RUN]")
@home_option
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The exchange's reference records, if it shows them: checked against the agreement.",
)
@click.option("--file", type=click.Path(path_type=Path), metavar="FILE", help="Show such a file, of a simulation say.")
@click.option("--page", type=click.Path(path_type=Path), metavar="FILE", help="Where the page goes; else beside.")
@json_option
def command(
    run: str, folder: Path, reference: Path | None, file: Path | None, page: Path | None, as_json: bool
) -> None:
    """Compute, from your own updates, what they added in each round and for each class; nothing leaves your machine.

    RUN is the start of a run's id, or else the latest. Your node kept your updates in the clear in your folder; with
    the exchange's reference records this command values them again, beside the number on your statement. Where
    contributions are measured on holders' records no reference file is needed, and there are no classes.

    \b
    Examples:
      fedjoint holder contributions --reference reference.safetensors --home bern
      fedjoint holder contributions 3f0c9a41 --reference reference.safetensors --page bern.html --home bern
      fedjoint holder contributions --file runs/heart-joint.own/bern.json
    """
    from fedjoint.agreement.canonical import canonical_bytes
    from fedjoint.cli.holder_home import opened, say
    from fedjoint.files import replace_file
    from fedjoint.node.own import own_of
    from fedjoint.runs.own import read_own, render_own, write_own

    if file is not None:
        own, written = read_own(file), file
    else:
        home, _ = opened(folder)
        own = own_of(home, run, reference, stated=lambda run_id: _stated(home, run_id))
        written = home.statements / f"{own.run_id}.contributions.json"
        write_own(written, own)
    shown = page or written.with_suffix(".html")
    replace_file(shown, render_own(own), mode=0o600)
    if as_json:
        click.echo(canonical_bytes(own).decode())
        return
    _show(own)
    say(f"Kept in {written}; page: {shown}")


def _stated(home: Home, run_id: str) -> float | None:
    """What the statement of a run says, if it was fetched."""
    from fedjoint.pool.statement import read_statement

    path = home.statements / f"{run_id}.json"
    return read_statement(path.read_bytes(), home.load_membership().exchange).contribution if path.exists() else None


def _show(own: OwnContribution) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fedjoint.cli.holder_home import say
    from fedjoint.runs.notation import contribution_text, decimals_for, plain_text
    from fedjoint.runs.own import findings

    say(f"{own.name}, run {own.run_id[:16]}…", "bold")
    for sentence in findings(own):
        say(sentence)
    decimals = decimals_for([own.total])
    rounds = Table("rounds", "contribution")
    size = -(-len(own.by_round) // _MOST_ROWS)
    for start in range(0, len(own.by_round), size):
        part = own.by_round[start : start + size]
        seen = [value for value in part if value is not None]
        names = f"{start + 1}" if len(part) == 1 else f"{start + 1} to {start + len(part)}"
        rounds.add_row(names, contribution_text(sum(seen) if seen else None, decimals))
    Console().print(rounds)
    if own.by_class:
        classes = Table("class of the reference records", "contribution")
        for name, value in sorted(own.by_class.items(), key=lambda item: -item[1]):
            classes.add_row(Text(plain_text(name)), contribution_text(value, decimals))
        Console().print(classes)
