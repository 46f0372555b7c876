"""``fedjoint holder data list``: what may take part."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fedjoint.cli.holder_home import home_option, json_option

__all__ = ["command"]


@click.command("list")
@home_option
@json_option
def command(folder: Path, as_json: bool) -> None:
    """List the data sets, where their records are, and whether they have a lifetime budget.

    \b
    Example:
      fedjoint holder data list --home bern
    """
    from fedjoint.cli.holder_home import now, opened, say
    from fedjoint.node.datasets import datasets, lifetime_of
    from fedjoint.node.registration import registration_of

    home, _ = opened(folder)
    rows = [
        {
            "name": note.name,
            "source": note.source.file or note.source.table,
            "unit": note.unit,
            "columns": len(note.schema.columns),
            "budget": None if (ledger := lifetime_of(home, note, now=now)) is None else str(ledger.path),
            "registered": None if (found := registration_of(home, note.name)) is None else found.dataset.id,
            "added_at": note.added_at,
        }
        for note in datasets(home)
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        budget = f"lifetime budget {row['budget']}" if row["budget"] else "no lifetime budget"
        registered = f", registered as '{row['registered']}'" if row["registered"] else ""
        say(f"{row['name']}: {row['source']}, {row['columns']} columns, by {row['unit']}, {budget}{registered}")
    if not rows:
        say("No data set yet: fedjoint holder data add FILE --schema FILE")
