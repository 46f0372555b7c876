"""Own data: any CSV or Parquet file with a column that says whose each record is, and one to predict."""

from __future__ import annotations

from pathlib import Path

from fedjoint.agreement.schema import Schema
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.infer import Task, infer_schema
from fedjoint.data.records import Table
from fedjoint.data.schema_file import load_schema
from fedjoint.data.sources import read_table
from fedjoint.errors import DataError

__all__ = ["load_table"]


def load_table(
    path: Path,
    *,
    holder: str,
    target: str,
    patient: str | None = None,
    schema_path: Path | None = None,
    task: Task | None = None,
) -> Dataset:
    """Read a table, with a schema from a file or inferred from its records.

    Args:
        path: CSV or Parquet file.
        holder: Column of the holder's name.
        target: Column to predict.
        patient: Column of the patient's id, which is no input; None: every record is another patient.
        schema_path: Replaces inference as a whole.
        task: Overrides the guess of the target's task; not together with ``schema_path``.

    Raises:
        DataError: the file or a column is not as it should be, or the schema is for another target.
    """
    table = read_table(path)
    holder_of = table.column(holder)
    patient_of = None if patient is None else table.column(patient)
    if patient in (holder, target):
        raise DataError(f"data.patient is '{patient}' too", expected="a column beside holder and target")
    table = Table(columns={name: cells for name, cells in table.columns.items() if name != patient})
    if schema_path is None:
        schema = infer_schema(table, target=target, holder=holder, task=task)
        notes: tuple[str, ...] = (
            "Types, scaling, ranges and categories were inferred from all holders' records, which gives them away: "
            "write them to a file (fedjoint plan --write-schema FILE), correct them, and pass data.schema=FILE.",
        )
    else:
        if task is not None:
            raise DataError(f"task '{task}' is given beside a schema file", remedy="Set target.task in that file.")
        schema = load_schema(schema_path)
        _check_fits(schema, table, holder, target, patient)
        notes = (f"The schema is {schema_path.name}, not inferred.",)
    return Dataset(name=path.stem, table=table, holder_of=holder_of, schema=schema, patient_of=patient_of, notes=notes)


def _check_fits(schema: Schema, table: Table, holder: str, target: str, patient: str | None) -> None:
    if schema.target.name != target:
        raise DataError(f"the schema's target is '{schema.target.name}'", expected=f"'{target}' as data.target says")
    for name in (target, *(column.name for column in schema.columns)):
        if name == patient:
            raise DataError(f"the schema uses the patient column '{patient}'", remedy="Remove it from the schema.")
        table.column(name)
        if name == holder:
            raise DataError(f"the schema uses the holder column '{holder}'", remedy="Remove it from the schema.")
