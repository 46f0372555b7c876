"""``fedjoint holder data add``: records that may take part from now on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedjoint.agreement.release_terms import SIZE_NOISE
from fedjoint.cli.holder_home import home_option
from fedjoint.errors import ConfigError

if TYPE_CHECKING:
    from fedjoint.node.datasets import DatasetNote, Source
    from fedjoint.node.home import Home

__all__ = ["command", "source_of"]


@click.command("add")
@click.argument("source", metavar="FILE|TABLE")
@click.option("--schema", type=click.Path(path_type=Path), required=True, metavar="FILE", help="What the columns mean.")
@click.option("--name", metavar="NAME", help="Your name for it; default: that of the file or table.")
@click.option("--patient", metavar="COLUMN", help="Says whose each record is; it is no input.")
@click.option(
    "--url-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The source is a table: a file of mode 0600 with the SQLAlchemy URL of its database, which is only read.",
)
@click.option("--epsilon", type=float, metavar="E", help="Make a lifetime budget: the most all runs may ever cost.")
@click.option("--delta", type=float, metavar="D", help="With --epsilon: below 1 / number of records.")
@click.option(
    "--size-noise",
    type=click.FloatRange(0, 1e6),
    default=SIZE_NOISE,
    show_default=True,
    metavar="SD",
    help="Noise with which the exchange is told how many there are; 0: as it is, if the number is public anyway.",
)
@home_option
def command(
    source: str,
    schema: Path,
    url_file: Path | None,
    epsilon: float | None,
    delta: float | None,
    size_noise: float,
    folder: Path,
    **named: str | None,
) -> int:
    """Check records against their schema, keep where they are, and tell the exchange how many there are.

    The report is for your eyes: the exchange learns the columns' meaning, about how many records (or patients) there
    are, and that they fit. Exits with 1, and adds nothing, if they do not.

    \b
    Examples:
      fedjoint holder data add patients.csv --schema schema.yaml --epsilon 8 --delta 1e-5
      fedjoint holder data add clinic.patients --schema schema.yaml --url-file clinic.url --patient mrn
    """
    from rich.console import Console

    from fedjoint.cli.holder_home import now, opened, say
    from fedjoint.cli.quality_table import quality_table
    from fedjoint.data.schema_file import load_schema
    from fedjoint.node.credentials import connect
    from fedjoint.node.datasets import DatasetNote, add_dataset, datasets, registration
    from fedjoint.runs.sentences import counted

    home, settings = opened(folder)
    place = source_of(source, url_file)
    note = DatasetNote(
        name=named["name"] or _slug(source, place),
        source=place,
        schema=load_schema(schema),
        patient=named["patient"],
        size_noise=size_noise or None,
        added_at=now(),
    )
    before = [one.name for one in datasets(home)]
    report = add_dataset(home, note, make_ledger=_ledger_maker(home, note, epsilon, delta))
    Console().print(quality_table(report))
    if not report.fits:
        say("Nothing was added: correct the records or the schema.", "bold red")
        return 1
    say(f"'{note.name}' was added before." if note.name in before else f"Added '{note.name}'.", "bold")
    if home.joined.exists():
        with connect(home, settings) as client:
            told = registration(home, note, now=now)
            known_as = client.register_dataset(told).dataset
        exactly = "about " if note.size_noise is not None else ""
        noisy = ", a number with noise" if note.size_noise is not None else ""
        say(
            f"The exchange knows it as '{known_as}': what its columns mean, that the records fit, and that there are "
            f"{exactly}{counted(told.num_examples, note.unit)}{noisy}. Nothing else left."
        )
    else:
        say("The exchange hears of it when you join.")
    return 0


def source_of(source: str, url_file: Path | None) -> Source:
    """Where records are: a file, or with the file of a database's URL a table."""
    from fedjoint.node.datasets import Source

    if url_file is None:
        return Source(file=str(Path(source).expanduser().resolve()))
    return Source(table=source, url_file=str(url_file.expanduser().resolve()))


def _slug(source: str, place: Source) -> str:
    import re

    name = Path(source).stem if place.table is None else source
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")


def _ledger_maker(
    home: Home, note: DatasetNote, epsilon: float | None, delta: float | None
) -> Callable[[Path], None] | None:
    if epsilon is None and delta is None:
        return None
    if epsilon is None or delta is None:
        raise ConfigError("a lifetime budget needs both --epsilon and --delta")
    from fedjoint.cli.holder_budget import create_budget

    def make(path: Path) -> None:
        create_budget(
            path, epsilon=epsilon, delta=delta, cohort=f"{note.name} of {home.load_identity().id}", unit=note.unit
        )

    return make
