"""``fedjoint audit``."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

__all__ = ["command"]


@click.command("audit")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="For the report; default: RUN-audit.")
@click.option("--json", "as_json", is_flag=True, help="Print audit.json instead of tables; progress goes to stderr.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@click.option("--seed", type=click.IntRange(0), help="Repeat the attack's coins, for tests; default: unpredictable.")
def command(run: Path, folder: Path | None, as_json: bool, quiet: bool, seed: int | None) -> None:
    """Attack the privacy that a run agreed upon: who took part, and what was the record?

    Reads the agreement of the run's folder and attacks, on made-up records, the code that clips and noises. Mechanisms
    broken on purpose must be caught along the way. Writes audit.json and audit.html, and leaves RUN as it is.

    Exit code 0: no attack found, which is no proof; 1: the claimed epsilon is refuted, or the audit's own checks
    failed.

    \b
    Example:
      fedjoint audit runs/demo
      fedjoint audit runs/demo --json > audit.json
    """
    from rich.console import Console
    from rich.progress import Progress

    from fedjoint.runs.audit_files import read_run_agreement, write_audit
    from fedjoint.runs.audit_html import render_audit, show_audit

    agreement, place = read_run_agreement(run), folder or run.resolve().with_name(f"{run.resolve().name}-audit")
    console, notes = Console(), Console(stderr=True)
    with notes.status("Starting …") if not quiet else nullcontext():
        from fedjoint.training.auditing import audit_agreement, num_attacks

    with Progress(console=notes, transient=True, disable=quiet) as progress:
        task = progress.add_task("", total=num_attacks(agreement.terms))
        report = audit_agreement(
            agreement,
            run=run.resolve().name,
            seed=seed,
            on_attack=lambda name: progress.update(task, advance=1, description=name),
        )
    write_audit(place, report, render_audit(report))
    if as_json:
        click.echo(report.to_bytes().decode())
    else:
        show_audit(report, console)
        console.print(f"Report: {place / 'audit.html'}", soft_wrap=True, highlight=False, markup=False)
    if report.claim_refuted or report.self_check_failed:
        raise click.exceptions.Exit(1)
