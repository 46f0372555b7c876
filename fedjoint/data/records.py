"""Records before and after encoding: a table of text cells, and the numbers a model is trained on."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedjoint.errors import DataError

__all__ = ["Cells", "Examples", "Index", "Table"]

#: A column as it was read: text, ``""`` where the value is missing.
Cells = NDArray[np.object_]
#: Numbers of records, 0-based.
Index = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Columns of text, all of one length, in the order of the file.

    Args:
        columns: Header to cells; every cell is a ``str`` without white space around it, ``""`` where missing.

    Raises:
        DataError: no column, no record, columns of different lengths, or a cell that is no text.

    Example:
        >>> table = Table(columns={"age": np.array(["61", ""], dtype=object)})
        >>> table.num_rows, table.names
        (2, ('age',))
    """

    columns: Mapping[str, Cells]

    def __post_init__(self) -> None:
        if not self.columns:
            raise DataError("the table has no column", remedy="Check that it has a header line.")
        for name, cells in self.columns.items():
            if cells.ndim != 1 or len(cells) != self.num_rows:
                raise DataError(
                    f"column '{name}' has shape {cells.shape}", expected=f"({self.num_rows},) as the first column"
                )
            if not all(type(cell) is str for cell in cells):
                raise DataError(f"column '{name}' has cells that are no text", expected="str, '' where missing")
        if self.num_rows == 0:
            raise DataError("the table has no record", remedy="Check that lines follow its header.")

    @property
    def names(self) -> tuple[str, ...]:
        """Headers in order."""
        return tuple(self.columns)

    @property
    def num_rows(self) -> int:
        """Number of records."""
        return len(next(iter(self.columns.values())))

    def column(self, name: str) -> Cells:
        """The cells of one column.

        Raises:
            DataError: there is no such column; the nearest name is given.
        """
        if name in self.columns:
            return self.columns[name]
        nearest = difflib.get_close_matches(name, self.names, 1, 0.0)
        listed = ", ".join(self.names[:20]) + (", …" if len(self.names) > 20 else "")
        raise DataError(
            f"the table has no column '{name}'", expected=f"one of: {listed}", remedy=f"Did you mean '{nearest[0]}'?"
        )

    def take(self, index: Index) -> Table:
        """The records of that index, in its order."""
        return Table(columns={name: cells[index] for name, cells in self.columns.items()})


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Records as a model sees them.

    Args:
        features: ``float32 [n, width]``, finite.
        targets: ``float32 [n]`` for a binary target (0 or 1) and for a number (scaled); ``int64 [n]``, the class's
            place in the schema, for a multi-class target. Finite.
        groups: ``int64 [n]``: equal numbers mark the records of one patient; None: where that is not known.

    Raises:
        DataError: another shape or type, or a number that is not finite.
    """

    features: NDArray[np.float32]
    targets: NDArray[Any]
    groups: Index | None = None

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.features.shape[1] == 0 or self.features.dtype != np.float32:
            raise DataError(
                f"features of shape {self.features.shape} and type {self.features.dtype}",
                expected="float32 of shape (number of records, width)",
            )
        if self.targets.shape != self.features.shape[:1] or self.targets.dtype not in (np.float32, np.int64):
            raise DataError(
                f"targets of shape {self.targets.shape} and type {self.targets.dtype}",
                expected=f"float32 or int64 of shape ({len(self.features)},)",
            )
        if self.groups is not None and (self.groups.shape != self.targets.shape or self.groups.dtype != np.int64):
            raise DataError(
                f"groups of shape {self.groups.shape} and type {self.groups.dtype}",
                expected=f"int64 of shape ({len(self.features)},)",
            )
        if not (np.isfinite(self.features).all() and np.isfinite(self.targets).all()):
            raise DataError("a feature or target is not finite", remedy="Give the column a low and a high bound.")

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def width(self) -> int:
        """How many numbers a record is."""
        return int(self.features.shape[1])

    def take(self, index: Index) -> Examples:
        """The records of that index, in its order, as a copy."""
        groups = None if self.groups is None else self.groups[index]
        return Examples(features=self.features[index], targets=self.targets[index], groups=groups)

    def num_units(self, unit: Literal["record", "patient"]) -> int:
        """How many records, or patients, these are.

        Raises:
            DataError: patients are asked for, and whose the records are is not known.
        """
        if unit == "record":
            return len(self)
        if self.groups is None:
            raise DataError(
                "privacy.unit is patient and no column names the patient",
                remedy="Set data.patient=COLUMN, or privacy.unit=record.",
            )
        return len(np.unique(self.groups))

    def sha256(self) -> str:
        """A commitment to these records in this order: 64 hex digits over shape, types and little-endian values."""
        digest = hashlib.sha256(f"fedjoint-examples-1 {self.features.shape} {self.targets.dtype.kind}".encode())
        for array in (self.features, self.targets):
            digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()
