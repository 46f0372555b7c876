"""A quality report as a table, for the holder's own eyes."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from fedjoint.agreement.release_terms import SMALL_CELL
from fedjoint.data.quality import ColumnQuality, QualityReport
from fedjoint.runs.notation import plain_text

__all__ = ["quality_table"]

_MOST_CATEGORIES = 6


def quality_table(report: QualityReport, *, name: str = "") -> Table:
    """One row a column: whether it fits, what is missing or wrong, its range or counts, and how many counts are small.

    A count below 10, of missing values or of a category, points at persons: it does not leave.
    It shows exact counts and single values: print it where the records are, and nowhere else.
    """
    title = (
        f"{plain_text(name)}: " * bool(name)
        + f"{report.num_records:,} records: {'fit the schema' if report.fits else 'do not fit the schema'}"
    )
    table = Table(title=title, box=None, pad_edge=False, header_style="bold")
    for heading in ("column", "fits", "missing", "wrong", "first wrong record", "range or counts", "small counts"):
        table.add_column(heading, overflow="fold")
    for column in report.columns:
        table.add_row(*(Text(plain_text(cell)) for cell in _row(column)), style="" if column.fits else "red")
    return table


def _row(column: ColumnQuality) -> tuple[str, ...]:
    if not column.is_there:
        return column.name, "not there", "", "", "", "", ""
    first = "" if column.first_wrong is None else str(column.first_wrong)
    fits = "yes" if column.fits else "no"
    return column.name, fits, f"{column.missing:,}", f"{column.wrong:,}", first, _values(column), _small(column)


def _values(column: ColumnQuality) -> str:
    if column.kind == "number":
        return "" if column.low is None or column.high is None else f"{column.low:g} to {column.high:g}"
    shown = [f"{value} {count:,}" for value, count in list(column.counts.items())[:_MOST_CATEGORIES]]
    more = len(column.counts) - len(shown)
    return ", ".join([*shown, f"... {more} more"] if more else shown)


def _small(column: ColumnQuality) -> str:
    small = sum(0 < count < SMALL_CELL for count in (column.missing, *column.counts.values()))
    return str(small) if small else ""
