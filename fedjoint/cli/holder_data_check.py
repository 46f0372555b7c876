"""``fedjoint holder data check``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedjoint.errors import ConfigError

if TYPE_CHECKING:
    from fedjoint.agreement.schema import Schema
    from fedjoint.data.quality import QualityReport
    from fedjoint.data.records import Table

__all__ = ["checked", "command"]


@click.command("check")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--schema", type=click.Path(path_type=Path), metavar="SCHEMA", help="What the columns mean, as agreed.")
@click.option("--target", metavar="COLUMN", help="Instead of --schema: infer the columns, and predict this one.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON: exact, for your eyes alone.")
@click.option(
    "--share", type=click.Path(path_type=Path), metavar="OUT", help="Write what may leave: noisy, without small cells."
)
@click.option("--noise", type=float, metavar="M", help="With --share: in units of what one record can change.")
@click.option("--budget", type=click.Path(path_type=Path), metavar="LEDGER", help="With --share: what is charged.")
def command(
    file: Path,
    schema: Path | None,
    target: str | None,
    as_json: bool,
    share: Path | None,
    noise: float | None,
    budget: Path | None,
) -> int:
    """Check records against a schema: columns that are not there, missing and wrong values, ranges, small counts.

    The report is exact and costs no privacy as long as it stays here. What is to leave is written by --share: counts
    with noise, charged to the lifetime budget first; counts below 10, and ranges, are withheld. Exits with 1 if a run
    could not take the records.

    \b
    Examples:
      fedjoint holder data check patients.csv --schema schema.yaml
      fedjoint holder data check patients.csv --target died
      fedjoint holder data check patients.csv --schema schema.yaml --share out.json --noise 20 --budget patients.ledger
    """
    if len({share is None, noise is None, budget is None}) > 1:
        raise ConfigError("--share, --noise and --budget go together", expected="all three or none")
    from fedjoint.strict import plain

    schema_found, report = checked(file, schema, target=target)
    if as_json:
        click.echo(json.dumps(plain(report) | {"fits": report.fits}, indent=2))
    else:
        from rich.console import Console

        from fedjoint.cli.quality_table import quality_table

        Console().print(quality_table(report))
    if share is not None and noise is not None and budget is not None:
        _share(share, report, schema_found, noise_multiplier=noise, budget=budget)
    return 0 if report.fits else 1


def checked(file: Path, schema: Path | None, *, target: str | None = None) -> tuple[Schema, QualityReport]:
    """Read records and compare them with a schema, or with what can be inferred of them.

    Raises:
        ConfigError: both or neither of schema and target is given.
        DataError: the records or the schema cannot be read.
    """
    if (schema is None) == (target is None):
        raise ConfigError("--schema and --target", expected="one of them")
    from fedjoint.data.quality import check_quality
    from fedjoint.data.schema_file import load_schema
    from fedjoint.data.sources import read_table

    table = read_table(file.expanduser())
    found = load_schema(schema) if schema is not None else _inferred(table, target or "")
    return found, check_quality(table, found)


def _inferred(table: Table, target: str) -> Schema:
    """Inference leaves out the column that names the holder; one holder's file has none, so one is put in."""
    import dataclasses

    import numpy as np

    from fedjoint.data.infer import infer_schema

    here = "(this holder)"
    cells = np.full(table.num_rows, "", dtype=object)
    return infer_schema(dataclasses.replace(table, columns={**table.columns, here: cells}), target=target, holder=here)


def _share(out: Path, report: QualityReport, schema: Schema, *, noise_multiplier: float, budget: Path) -> None:
    import secrets

    from fedjoint.cli.holder_home import now, say
    from fedjoint.privacy.ledger_file import LifetimeLedger
    from fedjoint.privacy.noise import NoiseSource
    from fedjoint.training.quality_release import share_quality

    share_quality(
        out,
        report,
        schema,
        noise_multiplier=noise_multiplier,
        noise=NoiseSource.secure(),
        lifetime=LifetimeLedger(budget, now=now),
        name=f"quality {secrets.token_hex(8)}",
    )
    say(f"Written: {out}, which may leave. It is charged to {budget}.", "bold")
