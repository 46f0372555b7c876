"""``fedjoint value --method blocks``: opened sums of blocks of holders, beside what their members were paid by."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["show_blocks"]


def show_blocks(folder: Path, reference: Path | None, *, as_json: bool) -> None:
    """Value the blocks of a run and print them.

    Raises:
        FedjointError: it does not verify, has no opened blocks, or the reference records are missing.
    """
    from rich.console import Console
    from rich.table import Table

    from fedjoint.agreement.canonical import canonical_bytes
    from fedjoint.conduct.block_values import value_blocks
    from fedjoint.runs.notation import contribution_text, decimals_for
    from fedjoint.simulation.kept_updates import REFERENCE

    with Console(stderr=True).status("Reading and verifying the run, and valuing its blocks …"):
        found = value_blocks(folder, reference or folder / REFERENCE)
    if as_json:
        click.echo(canonical_bytes(list(found)).decode())
        return
    decimals = decimals_for([one.paid_by for one in found]) + 1
    table = Table("block", "rounds", "paid by", "opened sums, path", "difference", "opened sums, exact")
    for one in found:
        numbers = (one.paid_by, one.path, one.difference, one.exact)
        table.add_row(", ".join(one.members), f"{one.rounds}", *(contribution_text(x, decimals) for x in numbers))
    Console().print(table)
