"""``fedjoint verify``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

__all__ = ["command"]

_MARKS = {"passed": ("ok  ", "green"), "failed": ("FAIL", "bold red"), "skipped": ("skip", "yellow")}


@click.command("verify")
@click.argument("folder", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--agreement", "agreement_sha256", metavar="SHA256", help="The agreement's hash that you signed or expect."
)
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def command(folder: Path, agreement_sha256: str | None, as_json: bool) -> None:
    """Check a run from its folder alone: signatures, record, model, contributions, shares, ledger, statements.

    Nothing is written and no network is used. Exit code 0: all checks passed; 1: one failed, and its line names the
    place.

    \b
    Example:
      fedjoint verify runs/demo
      fedjoint verify runs/demo --agreement 3f0c...e1
    """
    from fedjoint.runs.verify import verify_run

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
