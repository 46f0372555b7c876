"""Whether a holder's records fit the agreed schema, column by column: for its own eyes, and what of it may leave.

The report itself is exact and stays with the holder. What is to leave is :func:`cell_counts` with noise
(:mod:`fedjoint.training.quality_release`), and of that no small cell: see :func:`suppress`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedjoint.agreement.release_terms import SMALL_CELL
from fedjoint.agreement.schema import Column, Schema
from fedjoint.data.encode import parse_numbers, present_cells
from fedjoint.data.records import Cells, Table
from fedjoint.strict import strict

__all__ = [
    "ColumnQuality",
    "QualityReport",
    "cell_counts",
    "cell_names",
    "check_quality",
    "counts_sensitivity",
    "suppress",
]


@strict
@dataclass(frozen=True, kw_only=True)
class ColumnQuality:
    """One column of one holder, exactly.

    Args:
        name: Its header.
        kind: As agreed.
        is_there: Whether the table has it.
        present: Cells with a value.
        missing: Cells without.
        wrong: Values that the schema refuses: unreadable, outside the range, or of no agreed category.
        first_wrong: The first record with one, from 1; None if there is none.
        low: Least value of a number.
        high: Greatest value of a number.
        counts: Of a category or a class, records by agreed value.
    """

    name: str
    kind: str
    is_there: bool
    present: int = 0
    missing: int = 0
    wrong: int = 0
    first_wrong: int | None = None
    low: float | None = None
    high: float | None = None
    counts: dict[str, int]

    @property
    def fits(self) -> bool:
        """Whether the column can be used as it is."""
        return self.is_there and not self.wrong


@strict
@dataclass(frozen=True, kw_only=True)
class QualityReport:
    """All columns, the target last.

    Args:
        num_records: Of the table.
        columns: In the schema's order.
        unused: Columns of the table that the schema does not name.
    """

    num_records: int
    columns: tuple[ColumnQuality, ...]
    unused: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether a run under the schema could take these records."""
        return all(column.fits for column in self.columns) and not self.columns[-1].missing


def check_quality(table: Table, schema: Schema) -> QualityReport:
    """Compare records with a schema; unlike encoding, every column is looked at and nothing is refused.

    Args:
        table: The holder's records.
        schema: As agreed or proposed.

    Example:
        >>> from fedjoint.agreement.schema import Target
        >>> schema = Schema(
        ...     columns=(Column(name="age", kind="number", low=0.0, high=120.0),),
        ...     target=Target(name="ill", task="binary", classes=("no", "yes")),
        ... )
        >>> cells = {"age": np.array(["61", "610", ""], object), "ill": np.array(["no", "yes", "no"], object)}
        >>> report = check_quality(Table(columns=cells), schema)
        >>> (report.columns[0].wrong, report.columns[0].first_wrong, report.columns[0].missing, report.fits)
        (1, 2, 1, False)
    """
    target = schema.target
    if not target.classes:
        last = Column(name=target.name, kind="number", scale=target.scale)
    else:
        last = Column(name=target.name, kind="category", categories=target.classes)
    columns = tuple(_column(table, column) for column in (*schema.columns, last))
    named = {column.name for column in columns}
    return QualityReport(
        num_records=table.num_rows,
        columns=columns,
        unused=tuple(name for name in table.names if name not in named),
    )


def cell_names(schema: Schema) -> tuple[str, ...]:
    """The cells of :func:`cell_counts`: of each column its values that are missing, and by category."""
    return tuple(name for column in schema.columns for name in _cells_of(column))


def cell_counts(report: QualityReport, schema: Schema) -> NDArray[np.float64]:
    """What of a report can be released with noise: float64, one number for each of :func:`cell_names`.

    Each record is one cell of a column at most: its missing value, or its category. Ranges are single records' values
    and are never released.
    """
    by_name: Mapping[str, ColumnQuality] = {column.name: column for column in report.columns}
    counts: list[int] = []
    for column in schema.columns:
        found = by_name[column.name]
        counts += [found.missing, *(found.counts.get(category, 0) for category in column.categories)]
    return np.array(counts, dtype=np.float64)


def counts_sensitivity(schema: Schema) -> float:
    """The most that one record changes :func:`cell_counts` by, L2: by one in every column."""
    return math.sqrt(len(schema.columns))


def suppress(counts: Sequence[float], *, least: int = SMALL_CELL) -> tuple[int | None, ...]:
    """The cells of one column as they may leave: no small one, and none from which a small one could be worked out.

    Args:
        counts: All cells of one column, whose sum may be known to whoever reads them.
        least: A cell below it, noise included, is not shown; 0 is.

    Returns:
        Rounded counts; None where a cell is withheld.

    Guarantees:
        No shown cell is between 1 and ``least - 1``. If any is withheld, at least two are, so that none is the total
        less the others; where there is no second one with anything in it, one with none is withheld.

    Example:
        >>> suppress([120, 4, 30]), suppress([120, 0, 30]), suppress([4])
        ((120, None, None), (120, 0, 30), (None,))
    """
    rounded = [max(0, round(count)) for count in counts]
    hidden = {place for place, count in enumerate(rounded) if 0 < count < least}
    if len(hidden) == 1 and len(rounded) > 1:
        others = [place for place in range(len(rounded)) if place not in hidden]
        hidden.add(min(others, key=lambda place: (rounded[place] == 0, rounded[place])))
    return tuple(None if place in hidden else count for place, count in enumerate(rounded))


def _cells_of(column: Column) -> tuple[str, ...]:
    return (f"{column.name} missing", *(f"{column.name}={category}" for category in column.categories))


def _column(table: Table, column: Column) -> ColumnQuality:
    if column.name not in table.columns:
        return ColumnQuality(name=column.name, kind=column.kind, is_there=False, counts={})
    cells = table.columns[column.name]
    present = present_cells(cells, column.missing_values)
    found = _number(cells, present, column) if column.kind == "number" else _category(cells, present, column)
    wrong, low, high, counts = found
    places = np.flatnonzero(wrong)
    return ColumnQuality(
        name=column.name,
        kind=column.kind,
        is_there=True,
        present=int(present.sum()),
        missing=int((~present).sum()),
        wrong=len(places),
        first_wrong=int(places[0]) + 1 if len(places) else None,
        low=low,
        high=high,
        counts=counts,
    )


def _number(
    cells: Cells, present: NDArray[np.bool_], column: Column
) -> tuple[NDArray[np.bool_], float | None, float | None, dict[str, int]]:
    values = np.array([_value(cell) if there else math.nan for cell, there in zip(cells, present, strict=True)])
    known = values[np.isfinite(values)]
    low = -math.inf if column.low is None else column.low
    high = math.inf if column.high is None else column.high
    wrong = present & ~(np.isfinite(values) & (values >= low) & (values <= high))
    if not known.size:
        return wrong, None, None, {}
    return wrong, float(known.min()), float(known.max()), {}


def _value(cell: str) -> float:
    numbers = parse_numbers(np.array([cell], dtype=object))
    return math.nan if numbers is None else float(numbers[0])


def _category(
    cells: Cells, present: NDArray[np.bool_], column: Column
) -> tuple[NDArray[np.bool_], None, None, dict[str, int]]:
    agreed = set(column.categories)
    wrong = present & np.fromiter((cell not in agreed for cell in cells), dtype=bool, count=len(cells))
    counts = {category: int((present & (cells == category)).sum()) for category in column.categories}
    return wrong, None, None, counts
