"""``fedjoint plan``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from fedjoint.agreement.schema import Column, Schema

__all__ = ["command"]


@click.command("plan")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option(
    "--write-schema",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the columns, as declared or inferred, to a new YAML file: correct it, then pass data.schema=FILE.",
)
def command(overrides: tuple[str, ...], as_json: bool, write_schema: Path | None) -> None:
    """Say what `fedjoint simulate` with the same settings will cost: bytes, seconds on this machine, epsilon.

    Nothing is trained or spent. Columns that were inferred from a table are shown.

    \b
    Examples:
      fedjoint plan
      fedjoint plan privacy.epsilon=1 training.rounds=200 encryption=seeded
      fedjoint plan data=table data.path=patients.csv data.holder=hospital data.target=died --write-schema schema.yaml
    """
    from fedjoint.config import load_config

    config = load_config(overrides)
    from fedjoint.simulation.simulate import prepare
    from fedjoint.strict import plain
    from fedjoint.training.preview import preview_costs

    prepared = prepare(config)
    schema = prepared.terms.data.schema
    if write_schema is not None:
        from fedjoint.data import schema_file

        schema_file.write_schema(schema, write_schema)
    costs = preview_costs(prepared.terms)
    if as_json:
        click.echo(json.dumps(plain(costs), indent=2))
        return
    from rich.console import Console

    from fedjoint.cli.progress import ConsoleProgress, in_words

    console = Console()
    ConsoleProgress(console).data(prepared.dataset, prepared.division)
    if schema.origin == "inferred":
        console.print(_columns(schema))
    for line in in_words(costs):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if write_schema is not None:
        console.print(f"Columns written to {write_schema}", soft_wrap=True, highlight=False, markup=False)


def _columns(schema: Schema) -> Table:
    """What was inferred of each column."""
    from rich.markup import escape
    from rich.table import Table

    target = schema.target
    table = Table("column", "kind", "center", "scale", "range or categories", "missing", box=None)
    table.title = escape(f"Inferred from the records; target '{target.name}' is {target.task} {list(target.classes)}")
    for column in schema.columns:
        table.add_row(*map(escape, _row(column)))
    return table


def _row(column: Column) -> tuple[str, ...]:
    missing = "flag" if column.missing_flag else ""
    if column.kind == "category":
        return column.name, column.kind, "", "", ", ".join(column.categories), missing
    low, high = ("" if bound is None else f"{bound:g}" for bound in (column.low, column.high))
    return column.name, column.kind, f"{column.center:g}", f"{column.scale:g}", f"{low} to {high}", missing
