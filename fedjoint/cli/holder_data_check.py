"""``fedjoint holder data check``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedjoint.cli.holder_data_add import source_of
from fedjoint.cli.holder_home import home_option, opened
from fedjoint.errors import ConfigError

if TYPE_CHECKING:
    from fedjoint.agreement.schema import Schema
    from fedjoint.data.quality import QualityReport
    from fedjoint.data.records import Table

__all__ = ["command"]


@click.command("check")
@click.argument("source", required=False, metavar="[FILE|TABLE]")
@click.option("--schema", type=click.Path(path_type=Path), metavar="SCHEMA", help="What the columns mean, as agreed.")
@click.option("--target", metavar="COLUMN", help="Instead of --schema: infer the columns, and predict this one.")
@click.option(
    "--url-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The source is a table: a file of mode 0600 with the SQLAlchemy URL of its database, which is only read.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON: exact, for your eyes alone.")
@click.option(
    "--share", type=click.Path(path_type=Path), metavar="OUT", help="Write what may leave: noisy, without small cells."
)
@click.option("--noise", type=float, metavar="M", help="With --share: in units of what one record can change.")
@click.option("--budget", type=click.Path(path_type=Path), metavar="LEDGER", help="With --share: what is charged.")
@home_option
def command(source: str | None, *, as_json: bool, folder: Path, **how: Any) -> int:
    """Check records against a schema: columns that are not there, missing and wrong values, ranges, small counts.

    Without FILE or TABLE every data set that was added is checked against its own schema. The report is exact and costs
    no privacy as long as it stays here. What is to leave is written by --share: counts with noise, charged to the
    lifetime budget first; counts below 10, and ranges, are withheld. Exits with 1 if a run could not take the records.

    \b
    Examples:
      fedjoint holder data check --home bern
      fedjoint holder data check patients.csv --schema schema.yaml
      fedjoint holder data check clinic.patients --url-file clinic.url --target died
      fedjoint holder data check patients.csv --schema schema.yaml --share out.json --noise 20 --budget patients.ledger
    """
    sharing = [how.pop(name) for name in ("share", "noise", "budget")]
    if len({value is None for value in sharing}) > 1:
        raise ConfigError("--share, --noise and --budget go together", expected="all three or none")
    if source is None:
        if any(value is not None for value in (*how.values(), *sharing)):
            raise ConfigError("options for records that are not named", expected="FILE or TABLE, or --home alone")
        return _show(_all_checked(folder), as_json=as_json)
    schema_found, report = _checked(source, **how)
    code = _show({"": report}, as_json=as_json)
    share, noise, budget = sharing
    if share is not None:
        _share(share, report, schema_found, noise_multiplier=noise, budget=budget)
    return code


def _show(reports: dict[str, QualityReport], *, as_json: bool) -> int:
    """Print reports, by data set; 1 if one does not fit."""
    from fedjoint.strict import plain

    if as_json:
        facts = [{"name": name, **plain(one), "fits": one.fits} for name, one in reports.items()]
        unnamed = "" in reports
        click.echo(json.dumps({k: v for k, v in facts[0].items() if k != "name"} if unnamed else facts, indent=2))
    else:
        from rich.console import Console

        from fedjoint.cli.quality_table import quality_table

        for name, report in reports.items():
            Console().print(quality_table(report, name=name))
    return 0 if all(report.fits for report in reports.values()) else 1


def _all_checked(folder: Path) -> dict[str, QualityReport]:
    """Every data set of a holder's folder, by name."""
    from fedjoint.data.quality import check_quality
    from fedjoint.node.datasets import datasets

    home, _ = opened(folder)
    notes = datasets(home)
    if not notes:
        raise ConfigError(
            f"'{folder}' has no data set", remedy="Name a file to check, or add one: fedjoint holder data add FILE"
        )
    return {note.name: check_quality(note.source.read(), note.schema) for note in notes}


def _checked(
    source: str, *, schema: Path | None, target: str | None, url_file: Path | None
) -> tuple[Schema, QualityReport]:
    """Read records and compare them with a schema, or with what can be inferred of them.

    Raises:
        ConfigError: both or neither of schema and target is given.
        DataError: the records or the schema cannot be read.
    """
    if (schema is None) == (target is None):
        which = "neither" if schema is None else "both"
        raise ConfigError(f"{which} of --schema and --target", expected="one of them")
    from fedjoint.data.quality import check_quality
    from fedjoint.data.schema_file import load_schema

    table = source_of(source, url_file).read()
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
