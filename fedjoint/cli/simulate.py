"""``fedjoint simulate``."""

from __future__ import annotations

import sys
from contextlib import nullcontext

import click

__all__ = ["command"]


@click.command("simulate", context_settings={"ignore_unknown_options": False})
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="Print report.json instead of tables; progress goes to stderr.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def command(overrides: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Run all parties on this machine: agree, train, value, settle, write the run's folder.

    By default four real hospitals train a model of heart disease under differential privacy, each adding a share of
    the noise to sums that nobody sees in the clear (privacy=joint). Any line of the configuration (configs/ has them
    all, with comments) can be set as KEY=VALUE (Hydra overrides); of a wrong one the nearest right one is named.

    \b
    Examples:
      fedjoint simulate
      fedjoint simulate privacy=none training.rounds=5 seed=3 run.name=baseline
      fedjoint simulate privacy.epsilon=1 encryption=seeded
      fedjoint simulate privacy=joint run.budgets=budgets
      fedjoint simulate data=table data.path=patients.csv data.holder=hospital data.target=died
    """
    from rich.console import Console

    from fedjoint.config import load_config

    config = load_config(overrides)  # a wrong override is told before anything heavy is loaded
    console, notes = Console(), Console(stderr=True)
    with notes.status("Starting …") if not quiet else nullcontext():
        from fedjoint.cli.progress import ConsoleProgress
        from fedjoint.simulation.simulate import SilentProgress, simulate

    with ConsoleProgress(notes if as_json else console) if not quiet else nullcontext(SilentProgress()) as progress:
        done = simulate(config, progress=progress)
    if as_json:
        sys.stdout.write(done.report.to_bytes().decode() + "\n")
        return
    from fedjoint.runs.terminal import show_report

    show_report(done.report, console)
    console.print(f"Report: {done.folder / 'report.html'}", soft_wrap=True, highlight=False, markup=False)
    if config.run.budgets is not None:
        console.print(
            f"Lifetime budgets: fedjoint holder budget {config.run.budgets}/HOLDER.ledger",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    console.print(f"Check everything: fedjoint verify {done.folder}", soft_wrap=True, highlight=False, markup=False)
