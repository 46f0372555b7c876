"""Read one table of a SQL database as text, by a connection that cannot write.

The URL is a secret (it may hold a password): it comes from a file, and no message repeats any of it.
"""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from fedjoint.data.records import Cells, Table
from fedjoint.data.sources import MAX_CELLS
from fedjoint.errors import DataError
from fedjoint.files import read_secret

__all__ = ["read_sql_table", "read_url"]

_MAX_URL_BYTES = 4 << 10
_BATCH_ROWS = 10_000


def read_url(path: Path) -> str:
    """A database's URL from a file that only its owner can read.

    Raises:
        IdentityError: the file is missing, or readable by others.
        DataError: it holds no URL of one line.
    """
    text = read_secret(path, most_bytes=_MAX_URL_BYTES).decode(errors="replace").strip()
    if not text or "\n" in text:
        raise DataError(
            f"'{path}' holds no database URL", expected="one line, such as postgresql+psycopg://user@host/db"
        )
    return text


def read_sql_table(url: str, name: str) -> Table:
    """Read a table or view whole.

    Args:
        url: As SQLAlchemy takes it. SQLite is opened read-only; elsewhere the transaction is declared so: give the
            user of the URL no right to write either.
        name: Of the table or view, ``schema.table`` where it is not in the default schema.

    Returns:
        All columns as text; ``""`` for NULL, ``true`` and ``false`` for truth values, ISO 8601 for times.

    Raises:
        DataError: the database cannot be reached, has no such table, the table is empty, too large, or has a column
            that is no text, number, truth value or time.
    """
    try:
        with _connected(url) as connection:
            schema, _, bare = name.rpartition(".")
            found = sa.inspect(connection)
            names = {*found.get_table_names(schema or None), *found.get_view_names(schema or None)}
            if bare not in names:
                raise DataError(f"the database has no table '{name}'", remedy="Check its name and the user's rights.")
            columns = [str(column["name"]) for column in found.get_columns(bare, schema or None)]
            return _read(connection, sa.table(bare, *map(sa.column, columns), schema=schema or None), columns, name)
    except sa.exc.SQLAlchemyError as problem:
        raise DataError(
            f"the database cannot be read ({type(problem).__name__})",
            remedy="Check the URL, the network and the user's rights.",
        ) from None
    except ImportError as problem:
        raise DataError(f"the database needs the package '{problem.name}'", remedy="Install it.") from None


@contextmanager
def _connected(url: str) -> Iterator[sa.Connection]:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        # SQLite itself refuses to write; a file that is not there is an error, not a new database
        file = Path(parsed.database or "").resolve()
        parsed = parsed.set(database=f"{file.as_uri()}", query={"mode": "ro", "uri": "true"})
    engine = sa.create_engine(parsed, poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            if parsed.get_backend_name() == "postgresql":
                connection.execute(sa.text("SET TRANSACTION READ ONLY"))
            yield connection
            connection.rollback()
    finally:
        engine.dispose()


def _read(connection: sa.Connection, table: sa.TableClause, columns: list[str], name: str) -> Table:
    rows = connection.execution_options(yield_per=_BATCH_ROWS).execute(sa.select(table))
    cells: list[list[str]] = [[] for _ in columns]
    for row in rows:
        for place, value in enumerate(row):
            cells[place].append(_text(value, columns[place], name))
        if len(cells[0]) * len(columns) > MAX_CELLS:
            raise DataError(f"'{name}' has more than {MAX_CELLS} cells", remedy="Make a view of what is needed.")
    if not cells or not cells[0]:
        raise DataError(f"'{name}' has no record", expected="at least one row")
    return Table(columns={column: _cells(values) for column, values in zip(columns, cells, strict=True)})


def _text(value: Any, column: str, name: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float, decimal.Decimal)):
        return str(value).strip()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    raise DataError(
        f"column '{column}' of '{name}' holds {type(value).__name__}", expected="numbers, text, truth values or times"
    )


def _cells(values: list[str]) -> Cells:
    cells = np.empty(len(values), dtype=object)
    cells[:] = values
    return cells
