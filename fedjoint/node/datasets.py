"""A holder's data sets: where the records are, how they are read, and what their releases may cost in all."""

from __future__ import annotations

import dataclasses
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.agreement.release_terms import SIZE_NOISE
from fedjoint.agreement.schema import Schema
from fedjoint.data.encode import encode
from fedjoint.data.quality import QualityReport, check_quality
from fedjoint.data.records import Examples, Table
from fedjoint.data.sources import read_table
from fedjoint.errors import DataError
from fedjoint.files import replace_file
from fedjoint.node.home import Home
from fedjoint.privacy.ledger_file import LifetimeLedger
from fedjoint.privacy.noise import NoiseSource
from fedjoint.strict import build, strict
from fedjoint.training.size_release import ReleasedSize, load_size, release_size, save_size
from fedjoint.transport.services import exchange_pb2 as api

__all__ = [
    "DatasetNote",
    "Source",
    "add_dataset",
    "dataset",
    "datasets",
    "examples_of",
    "ledger_path",
    "lifetime_of",
    "registration",
    "size_of",
]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@strict
@dataclass(frozen=True, kw_only=True)
class Source:
    """Where records are: a file, or a table of a database.

    Args:
        file: Absolute path of a CSV or Parquet file.
        table: Of a database, ``schema.table`` where it is not in the default schema.
        url_file: Absolute path of the file of mode 0600 that holds the database's URL.

    Raises:
        DataError: both or neither is named.
    """

    file: str | None = None
    table: str | None = None
    url_file: str | None = None

    def __post_init__(self) -> None:
        if (self.file is None) == (self.table is None) or (self.table is None) != (self.url_file is None):
            raise DataError("a source that is neither a file nor a table with a URL file", expected="one of both")

    def read(self) -> Table:
        """All records, as text.

        Raises:
            DataError: they cannot be read.
        """
        if self.file is not None:
            return read_table(Path(self.file))
        assert self.table is not None and self.url_file is not None
        from fedjoint.data.sources_sql import read_sql_table, read_url

        return read_sql_table(read_url(Path(self.url_file)), self.table)


@strict
@dataclass(frozen=True, kw_only=True)
class DatasetNote:
    """What a node keeps of a data set; the records stay where they are.

    Args:
        name: The holder's own name for it, 1 to 63 of a-z, 0-9, ``_``, ``-``.
        source: Where the records are.
        schema: What the columns mean, as the holder declares them.
        patient: Column that says whose each record is; None: not known.
        size_noise: Standard deviation of the noise with which others are told how many units there are; None: as it is.
        added_at: When, ISO 8601 in UTC.

    Raises:
        DataError: the name is malformed, or the patient's column is an input.
    """

    name: str
    source: Source
    schema: Schema
    patient: str | None = None
    size_noise: float | None = SIZE_NOISE
    added_at: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DataError(f"data set '{self.name[:80]}'", expected="a name of 1 to 63 of a-z, 0-9, _ and -")
        if self.patient in [self.schema.target.name, *(column.name for column in self.schema.columns)]:
            raise DataError(f"the schema uses the patient column '{self.patient}'", remedy="Remove it from the schema.")

    @property
    def unit(self) -> Literal["record", "patient"]:
        """What privacy can be of."""
        return "record" if self.patient is None else "patient"


def add_dataset(home: Home, note: DatasetNote, *, make_ledger: Callable[[Path], None] | None = None) -> QualityReport:
    """Add records that fit their schema; a report that says otherwise is given back, and nothing is kept.

    The same again adds nothing and gives the report: an exchange that could not be told of it can be told now.

    Args:
        home: The holder's folder.
        note: The data set.
        make_ledger: Makes its lifetime ledger at the path given; None: it has none.

    Raises:
        DataError: there is another data set of that name, or the records cannot be read.
        PrivacyError: the ledger cannot be made.
    """
    path = _path(home, note.name)
    known = path.exists()
    if known and (make_ledger is not None or dataclasses.replace(_read(path), added_at=note.added_at) != note):
        raise DataError(
            f"there is a data set '{note.name}' already, of other records or with other options",
            remedy="Choose another name (--name); or, to tell the exchange of that one again, leave all as it was and "
            "--epsilon out.",
        )
    report = check_quality(note.source.read(), note.schema)
    if report.fits and not known:
        examples_of(note, note.schema)  # whatever stands against using them is said now
        if make_ledger is not None:
            make_ledger(ledger_path(home, note.name))
        replace_file(path, canonical_bytes(note), mode=0o600)
    return report


def datasets(home: Home) -> tuple[DatasetNote, ...]:
    """All data sets in alphabetical order."""
    paths = sorted(home.data.glob("*.json"))
    return tuple(_read(path) for path in paths if "." not in path.stem)  # no size, no registration


def dataset(home: Home, name: str) -> DatasetNote:
    """One data set.

    Raises:
        DataError: there is none of that name.
    """
    names = [note.name for note in datasets(home)]
    if name not in names:
        raise DataError(
            f"there is no data set '{name}'",
            expected="one of: " + ", ".join(names) if names else "",
            remedy="Add it: fedjoint holder data add FILE --schema FILE",
        )
    return _read(_path(home, name))


def examples_of(note: DatasetNote, schema: Schema) -> Examples:
    """The records as an agreed schema encodes them.

    Raises:
        DataError: they cannot be read, or do not fit it.
    """
    table = note.source.read()
    examples = encode(table, schema)
    if note.patient is None:
        return examples
    patients = table.column(note.patient)
    if not all(patients):
        raise DataError(f"column '{note.patient}' is empty somewhere", remedy="Say of every record whose it is.")
    groups = np.unique(patients.astype(str), return_inverse=True)[1].astype(np.int64)
    return Examples(features=examples.features, targets=examples.targets, groups=groups)


def lifetime_of(home: Home, note: DatasetNote, *, now: Callable[[], str]) -> LifetimeLedger | None:
    """The data set's lifetime ledger, if it has one."""
    path = ledger_path(home, note.name)
    return LifetimeLedger(path, now=now) if path.exists() else None


def size_of(home: Home, note: DatasetNote) -> ReleasedSize | None:
    """What others were told of how many records, or patients, there are; None: nothing yet, or the number as it is."""
    return load_size(home.data / f"{note.name}.size.json")


def registration(home: Home, note: DatasetNote, *, now: Callable[[], str]) -> api.RegisterDatasetRequest:
    """What the exchange is told of a data set: how many units of privacy, with noise, and that they fit.

    Args:
        home: Where the number is kept: it is told again whenever it is asked for.
        note: The data set. Its lifetime budget, if it has one, is charged before the records are first counted.
        now: Gives the time, ISO 8601 in UTC.

    Raises:
        DataError: the records cannot be read.
        BudgetExhausted: nothing is left for it.
    """
    report = check_quality(note.source.read(), note.schema)
    told = _told(home, note, now=now)
    return api.RegisterDatasetRequest(
        name=note.name,
        schema=canonical_bytes(note.schema),
        num_examples=told,
        num_patients=0 if note.patient is None else told,
        unit=note.unit,
        quality=api.Quality(
            fits=report.fits,
            columns=len(report.columns),
            present=sum(column.is_there for column in report.columns),
        ),
    )


def _told(home: Home, note: DatasetNote, *, now: Callable[[], str]) -> int:
    examples = examples_of(note, note.schema)
    if note.size_noise is None:
        return examples.num_units(note.unit)
    size = size_of(home, note)
    if size is None:
        size = release_size(
            examples,
            note.unit,
            noise_multiplier=note.size_noise,
            noise=NoiseSource.secure(),
            lifetime=lifetime_of(home, note, now=now),
            name=f"size {secrets.token_hex(8)}",
        )
        save_size(home.data / f"{note.name}.size.json", size)
    return size.num_examples


def _path(home: Home, name: str) -> Path:
    return home.data / f"{name}.json"


def ledger_path(home: Home, name: str) -> Path:
    """Where a data set's lifetime ledger is, if it has one."""
    return home.data / f"{name}.ledger"


def _read(path: Path) -> DatasetNote:
    value = parse_canonical(path.read_bytes(), error=DataError, where=path.name)
    return build(DatasetNote, value, error=DataError, where=path.name)
