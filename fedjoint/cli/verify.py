"""``fedjoint verify``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fedjoint.identity.keys import PublicIdentity

__all__ = ["command"]

_MARKS = {"passed": ("ok  ", "green"), "failed": ("FAIL", "bold red"), "skipped": ("skip", "yellow")}


@click.command("verify")
@click.argument("folder", type=click.Path(path_type=Path), metavar="RUN|POOL|STATEMENT")
@click.option(
    "--agreement", "agreement_sha256", metavar="SHA256", help="The agreement's hash that you signed or expect."
)
@click.option(
    "--exchange", type=click.Path(path_type=Path), help="JSON of the exchange's public keys, for a pool or a statement."
)
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def command(folder: Path, agreement_sha256: str | None, exchange: Path | None, as_json: bool) -> None:
    """Check a run's folder, a pool's export or a holder's statement from its own files alone.

    Nothing is written and no network is used. Exit code 0: all checks passed; 1: one failed, and its line names the
    place.

    \b
    Example:
      fedjoint verify runs/demo
      fedjoint verify runs/demo --agreement 3f0c...e1
      fedjoint verify books-2026 --exchange exchange.json
      fedjoint verify north.json --exchange exchange.json
    """
    from fedjoint.runs.verify import verify_run

    if folder.is_file() or (folder / "ledger.jsonl").is_file():
        _verify_pool_file(folder, exchange, as_json=as_json)
        return
    checks = list(verify_run(folder, agreement_sha256=agreement_sha256))
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        from rich.console import Console
        from rich.text import Text

        console = Console()
        for check in checks:
            mark, style = _MARKS[check.outcome]
            line = Text.assemble((mark, style), f" {check.name}: {check.detail}")
            console.print(line, soft_wrap=True)
    if any(check.outcome != "passed" for check in checks):
        raise click.exceptions.Exit(1)


def _verify_pool_file(path: Path, exchange: Path | None, *, as_json: bool) -> None:
    """A holder's statement, or a pool's export: any problem is an error."""
    from fedjoint.agreement.canonical import parse_canonical
    from fedjoint.cli.pool_session import parse_json_file
    from fedjoint.errors import ConfigError, PoolError
    from fedjoint.identity.keys import PublicIdentity
    from fedjoint.pool.exported import verify_pool
    from fedjoint.pool.statement_document import MAX_DOCUMENT_BYTES
    from fedjoint.pool.witnessed import verify_witnesses
    from fedjoint.strict import build

    signer = build(PublicIdentity, parse_json_file(exchange), where="exchange") if exchange is not None else None
    if path.is_dir():
        state = verify_pool(path, signer)
        whose = "the expected exchange" if signer else f"'{state.rules.exchange.id}', whose keys nobody confirmed"
        witnesses = ", ".join(verify_witnesses(path, state)) or "nobody"
        detail = f"{state.size} events and every entry follow from the rules, signed by {whose}; witnesses: {witnesses}"
        found = {"name": "pool", "outcome": "passed", "detail": detail}
    else:
        if signer is None:
            raise ConfigError("a statement without its signer", expected="--exchange FILE with its public keys")
        with path.open("rb") as file:
            data = file.read(MAX_DOCUMENT_BYTES + 1)
        if len(data) > MAX_DOCUMENT_BYTES:
            raise PoolError(f"{path.name} is too large", expected=f"at most {MAX_DOCUMENT_BYTES} bytes")
        detail = _statement(parse_canonical(data, error=PoolError, where=path.name), signer)
        found = {"name": "statement", "outcome": "passed", "detail": detail}
    click.echo(json.dumps([found], indent=2) if as_json else f"ok   {found['name']}: {found['detail']}")


def _statement(document: Any, signer: PublicIdentity) -> str:
    """Check a statement of a run or of a pool, and say what it is."""
    from fedjoint.pool.statement import verify_statement
    from fedjoint.pool.statement_document import verify_document

    if isinstance(document, dict) and set(document) == {"statement", "jws"}:
        of_run = verify_statement(document, signer)
        return f"of '{of_run.holder}' in run {of_run.run_id}, signed, and it adds up"
    said = verify_document(document, signer)
    return f"of '{said.holder}', {said.first_day} to {said.last_day}, signed, in the record, and it adds up"
