"""Read a table from a CSV or Parquet file, as text, refusing whatever is not a plain table.

Everything is read as text first: what a column means is the schema's business, not a guess of the reader. Messages name
the file and the line, never what stands there.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedjoint.data.records import Cells, Table
from fedjoint.errors import DataError

__all__ = ["MAX_CELLS", "MAX_FILE_BYTES", "parse_csv", "read_table"]

MAX_FILE_BYTES = 2 * 10**9
MAX_CELLS = 20_000_000

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_PARQUET = {".parquet", ".pq"}


def read_table(path: Path) -> Table:
    r"""Read a CSV (``.csv``: comma, ``.tsv``: tab; UTF-8, with or without a byte-order mark) or a Parquet file.

    Args:
        path: A file of at most 2 GB and 20 million cells, with one header line.

    Returns:
        All columns as text without white space around it; ``""`` where a field is empty or null.

    Raises:
        DataError: the file is missing, a folder, empty, too large, of an unknown kind, not UTF-8, has two columns of
            one name, or a line with more or fewer fields than the header.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name, "patients.csv")
        >>> _ = path.write_text("age,died\n61,no\n,yes\n")
        >>> read_table(path).column("age").tolist()
        ['61', '']
        >>> folder.cleanup()
    """
    suffix = path.suffix.lower()
    if suffix not in _DELIMITERS and suffix not in _PARQUET:
        raise DataError(f"'{path}' is of an unknown kind", expected="a file ending in .csv, .tsv or .parquet")
    _check_file(path)
    return _read_parquet(path) if suffix in _PARQUET else parse_csv(path.read_bytes(), str(path), _DELIMITERS[suffix])


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise DataError(f"'{path}' is a folder", expected="one CSV or Parquet file")
    if not path.is_file():
        raise DataError(f"there is no file '{path}'", remedy="Check data.path; it is relative to the current folder.")
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"'{path}' is empty", expected="a header line and records")
    if size > MAX_FILE_BYTES:
        raise DataError(f"'{path}' has {size} bytes", expected=f"at most {MAX_FILE_BYTES}")


def parse_csv(data: bytes, name: str, delimiter: str = ",") -> Table:
    """Read a table from the bytes of a CSV file.

    Args:
        data: UTF-8; line ends may be LF or CRLF, fields may be quoted by ``"``.
        name: The file, for messages.
        delimiter: One character.

    Raises:
        DataError: as :func:`read_table`, naming the line.
    """
    # csv rather than pyarrow: it knows the line of every fault, and its messages do not repeat the line's content.
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    header: list[str] | None = None
    try:
        for fields in reader:
            if header is None:
                header = _check_header([field.strip() for field in fields], name)
            elif len(fields) == len(header):
                rows.append(fields)
                _check_cells(len(rows) * len(header), name)
            elif fields:  # a blank line has no field and is passed over
                raise DataError(
                    f"line {reader.line_num} of '{name}' has {len(fields)} fields",
                    expected=f"{len(header)} as in its header",
                )
    except csv.Error as problem:
        raise DataError(f"line {reader.line_num} of '{name}' is no CSV: {problem}") from None
    except UnicodeDecodeError:
        raise DataError(
            f"line {_undecodable_line(data)} of '{name}' is not UTF-8",
            remedy="Save the file as UTF-8 (in Excel: 'CSV UTF-8').",
        ) from None
    if not header or not rows:
        raise DataError(f"'{name}' has no record", expected="a header line and records")
    return Table(columns={column: _cells(cells) for column, cells in zip(header, zip(*rows, strict=True), strict=True)})


def _undecodable_line(data: bytes) -> int:
    """The first line, from 1, that is not UTF-8: the reader decodes ahead and cannot tell."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as problem:
        return data.count(b"\n", 0, problem.start) + 1
    return 1


def _check_header(header: Sequence[str], name: str) -> list[str]:
    for number, column in enumerate(header, 1):
        if not column:
            raise DataError(f"column {number} of '{name}' has no name", remedy="Name every column in the header.")
        if header.index(column) != number - 1:
            raise DataError(f"'{name}' has two columns named '{column}'", remedy="Rename or remove one.")
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        raise DataError(
            f"the header of '{name}' is a single column", expected="commas (.csv) or tabs (.tsv) between columns"
        )
    return list(header)


def _check_cells(count: int, name: str) -> None:
    if count > MAX_CELLS:
        raise DataError(f"'{name}' has more than {MAX_CELLS} cells", remedy="Remove columns or records not needed.")


def _cells(values: Sequence[str | None]) -> Cells:
    cells = np.empty(len(values), dtype=object)
    cells[:] = [(value or "").strip() for value in values]
    return cells


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check_cells(file.metadata.num_rows * max(1, file.metadata.num_columns), str(path))
            header = _check_header([str(column) for column in file.schema_arrow.names], str(path))
            table = file.read()
    except (pa.ArrowException, OSError) as problem:
        raise DataError(f"'{path}' is no Parquet file: {type(problem).__name__}") from None
    if table.num_rows == 0:
        raise DataError(f"'{path}' has no record", expected="at least one row")
    columns: dict[str, Cells] = {}
    for number, column in enumerate(header):
        try:
            columns[column] = _cells(table.column(number).cast(pa.string()).to_pylist())
        except pa.ArrowException:
            raise DataError(
                f"column '{column}' of '{path}' is of type {table.schema.types[number]}",
                expected="numbers, text, booleans or dates",
            ) from None
    return Table(columns=columns)
