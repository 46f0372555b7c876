"""``fedjoint value``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from fedjoint.runs.valued import ValuedRun

__all__ = ["command"]


@click.command("value")
@click.argument("folder", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--method", default="shapley", show_default=True, help="How to value: --method help lists all.")
@click.option("--evaluations", default=10_000, show_default=True, help="Coalitions that a sampling method may try.")
@click.option("--seed", default=0, show_default=True, help="Of methods that sample.")
@click.option("--page", type=click.Path(path_type=Path), help="Where the page goes; else beside the run's folder.")
@click.option(
    "--reference", type=click.Path(path_type=Path), metavar="FILE", help="With --method blocks: the reference records."
)
@click.option("--json", "as_json", is_flag=True, help="Print the values as JSON.")
def command(
    folder: Path,
    method: str,
    evaluations: int,
    seed: int,
    page: Path | None,
    reference: Path | None,
    as_json: bool,
) -> None:
    """Value a finished run by another method, beside what was paid by; nothing that was paid changes.

    The agreement must have kept the updates in the clear (valuation.keep_updates=true, under privacy=local or none),
    by the consent of every holder. The run is verified first.

    Where updates stay encrypted, an agreement can have sums of blocks of holders opened (valuation.audit_blocks, under
    privacy=local): --method blocks values them in the clear, beside what their members were paid by together.

    \b
    Examples:
      fedjoint simulate valuation.keep_updates=true run.name=audited
      fedjoint value runs/audited --method shapley
      fedjoint value runs/audited --method gtg --json
      fedjoint simulate privacy=local valuation.audit_blocks=2 run.name=blocks
      fedjoint value runs/blocks --method blocks
    """
    from rich.console import Console
    from rich.progress import Progress

    from fedjoint.agreement.canonical import canonical_bytes
    from fedjoint.runs.valued import render_valued_run
    from fedjoint.simulation.revalue import read_kept_run, revalue
    from fedjoint.simulation.valuing import as_valued_run
    from fedjoint.valuation.estimate import Sampling
    from fedjoint.valuation.methods import METHODS

    console = Console()
    if method == "help":
        for name, one in METHODS.items():
            console.print(f"{name}: {one.summary}", soft_wrap=True, highlight=False, markup=False)
        console.print("blocks: opened sums of agreed blocks of holders, beside what their members were paid by")
        return
    if method == "blocks":
        from fedjoint.cli.value_blocks import show_blocks

        show_blocks(folder, reference, as_json=as_json)
        return
    with Console(stderr=True).status("Reading and verifying the run …"):
        run = read_kept_run(folder)
    sampling = Sampling(maximum_evaluations=evaluations, seed=(seed,))
    is_exact = method in METHODS and METHODS[method].maximum_players is not None
    most = sum(1 << len(steps) for steps in run.steps) if is_exact else evaluations
    with Progress(*Progress.get_default_columns(), console=Console(stderr=True), transient=True) as bar:
        models = bar.add_task(f"models of coalitions, for {method}", total=most)
        found = revalue(run, method, sampling, progress=lambda done: bar.advance(models, done))
    valued = as_valued_run(folder.resolve().name, run, found)
    written = page or folder.resolve().parent / f"{folder.resolve().name}-value-{method}.html"
    partial = written.with_suffix(".partial")
    partial.write_bytes(render_valued_run(valued))
    partial.replace(written)
    if as_json:
        sys.stdout.write(canonical_bytes(valued).decode() + "\n")
        return
    _show(valued, console)
    console.print(f"Page: {written}", soft_wrap=True, highlight=False, markup=False)


def _show(valued: ValuedRun, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from fedjoint.runs.notation import contribution_text, decimals_for, plain_text

    decimals = decimals_for([holder.paid_by for holder in valued.holders])
    table = Table("holder", "path value", "±", valued.method, "±", title=f"{valued.run}: {valued.summary}")
    for holder in valued.holders:
        numbers = (holder.paid_by, holder.standard_error, holder.value, holder.sampling_error)
        cells = (contribution_text(value, decimals) for value in numbers)
        table.add_row(Text(plain_text(holder.name)), *cells)
    console.print(table)
    moved = f"{100 * valued.misallocated:.2f} % of the money would go to others"
    console.print(f"{valued.evaluations:,} coalitions evaluated; {moved}")
