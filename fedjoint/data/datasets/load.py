"""Which data a run uses, as configured, and the one function that fetches it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fedjoint.data.datasets.breast_cancer import load_breast_cancer
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.datasets.heart import find_heart_csv, load_heart
from fedjoint.data.datasets.table import load_table
from fedjoint.data.infer import Task
from fedjoint.errors import ConfigError
from fedjoint.strict import strict

__all__ = ["DataOptions", "load_dataset"]


@strict
@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which data, and how they are divided (configuration group ``data``).

    Args:
        kind: ``heart``: four hospitals; ``breast_cancer``: four made-up holders; ``table``: own CSV or Parquet file.
        path: Of the file, for ``table``.
        holder: Column that says whose each record is, for ``table``.
        target: Column to predict, for ``table``.
        patient: Column that says whose patient's each record is, for ``table``; None: every record is another patient.
        schema: File that declares the columns, for ``table``; without it they are inferred, which leaks.
        task: ``binary``, ``multiclass``, ``number`` or ``survival``, for ``table`` without ``schema``; None: guessed.
        reference_fraction: Of each holder's records, set aside to measure the model on; in (0, 0.9].
        minimum_examples: Training records below which a holder is left out, at least 1.
        standardise: ``public``: by the schema's constants; ``private``: by noisy statistics of all holders' records,
            released under encryption before round 1 and charged.

    Raises:
        ConfigError: an option is missing, does not belong to the kind, or is out of its range.
    """

    kind: Literal["heart", "breast_cancer", "table"]
    path: str | None = None
    holder: str | None = None
    target: str | None = None
    patient: str | None = None
    schema: str | None = None
    task: Task | None = None
    reference_fraction: float = 0.34
    minimum_examples: int = 10
    standardise: Literal["public", "private"] = "public"

    def __post_init__(self) -> None:
        for name in ("path", "holder", "target", "patient", "schema", "task"):
            given = getattr(self, name)
            if self.kind != "table" and given is not None:
                raise ConfigError(
                    f"data.{name} is set and the data are '{self.kind}'", remedy="Choose data=table for it."
                )
            if self.kind == "table" and not given and name in ("path", "holder", "target"):
                raise ConfigError(
                    f"data.{name} is not set",
                    expected="data.path=FILE data.holder=COLUMN data.target=COLUMN",
                    remedy=f"Add data.{name}=…",
                )
        if self.schema is not None and self.task is not None:
            raise ConfigError("data.task is set beside data.schema", remedy="Set target.task in the schema file.")
        if not 0 < self.reference_fraction <= 0.9:
            raise ConfigError(
                f"data.reference_fraction = {self.reference_fraction}", expected="more than 0, at most 0.9"
            )
        if self.minimum_examples < 1:
            raise ConfigError(f"data.minimum_examples = {self.minimum_examples}", expected="1 or more")


def load_dataset(options: DataOptions) -> Dataset:
    """Fetch the data set that the options name.

    Where ``heart`` is asked for and the package that holds it is not installed, the breast cancer data stand in and the
    first note says so; a heart file that is not the expected one is an error.

    Raises:
        DataError: the data cannot be read or are not what they should be.
    """
    if options.kind == "table":
        assert options.path and options.holder and options.target
        return load_table(
            Path(options.path).expanduser(),
            holder=options.holder,
            target=options.target,
            patient=options.patient,
            schema_path=Path(options.schema).expanduser() if options.schema else None,
            task=options.task,
        )
    if options.kind == "breast_cancer":
        return load_breast_cancer()
    path = find_heart_csv()
    return _stand_in() if path is None else load_heart(path)


def _stand_in() -> Dataset:
    dataset = load_breast_cancer()
    note = (
        "The four hospitals' heart disease data are not installed: breast cancer data over four made-up holders stand "
        "in. For the hospitals, run: pip install 'fedjoint[demo]'"
    )
    return dataclasses.replace(dataset, notes=(note, *dataset.notes))
