"""The four hospitals' own files: each has its patients, the exchange the reference patients, as in a simulation."""

import csv
import dataclasses
from pathlib import Path

import numpy as np

from fedjoint.config import SimulationConfig
from fedjoint.data.datasets.heart import find_heart_csv, load_heart
from fedjoint.data.division import divide
from fedjoint.data.records import Index, Table
from fedjoint.data.schema_file import write_schema

__all__ = ["Hospital", "write_files"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hospital:
    """One hospital: its id, its name, and how many patients its table has."""

    id: str
    name: str
    num_patients: int


def write_files(config: SimulationConfig, folder: Path) -> tuple[list[Hospital], str] | None:
    """Write ``ID/heart.csv`` and ``ID/schema.yaml`` for each hospital and ``exchange/reference.csv``.

    Returns:
        The hospitals and the data's citation; None if the data are not installed.
    """
    path = find_heart_csv()
    if path is None:
        return None
    dataset = load_heart(path)
    # Every patient is marked by the number of its line, which comes back with whoever it was given to.
    lines = np.array([f"{number:06d}" for number in range(dataset.table.num_rows)], dtype=object)
    division = divide(
        dataclasses.replace(dataset, patient_of=lines),
        reference_fraction=config.data.reference_fraction,
        minimum_examples=config.data.minimum_examples,
        seed=config.seed,
    )
    found = []
    for records in division.holders:
        home = folder / records.id
        home.mkdir(parents=True)
        _write(dataset.table, records.examples.groups, home / "heart.csv")
        write_schema(dataset.schema, home / "schema.yaml")
        found.append(Hospital(id=records.id, name=records.name, num_patients=len(records.examples)))
    (folder / "exchange").mkdir()
    _write(dataset.table, division.reference.groups, folder / "exchange" / "reference.csv")
    return found, dataset.citation


def _write(table: Table, lines: Index | None, path: Path) -> None:
    assert lines is not None
    chosen = table.take(lines)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(chosen.names)
        writer.writerows(zip(*(chosen.column(name) for name in chosen.names), strict=True))
