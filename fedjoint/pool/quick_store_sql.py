"""The statements of every posting, handed to the driver as they are: to compose them each time would take most of it.

Their text never changes, whatever their parameters, so that the database prepares each once: ids come as one JSON list
(SQLite) or one array (PostgreSQL).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

__all__ = [
    "INSERT_ENTRIES",
    "INSERT_POSTINGS",
    "run_insert",
    "run_of_ids",
    "run_of_keys",
]

#: By name of the dialect.
Statement = Mapping[str, str]
_HEADER = "e.seq, e.id, e.at, e.kind, e.currency, e.memo, e.phase, e.resolves, e.details, e.num_postings"
_ENTRIES = "FROM entries AS e LEFT JOIN postings AS p ON p.entry_id = e.id WHERE"
_ORDER = "ORDER BY e.seq, p.line"
_SELECT = f"SELECT {_HEADER}, p.account, p.amount_minor {_ENTRIES} e.id"
_SELECTED: Statement = {
    "sqlite": f"{_SELECT} IN (SELECT value FROM json_each(?)) {_ORDER}",  # noqa: S608
    "postgresql": f"{_SELECT} = ANY(%s) {_ORDER}",
}
_BALANCE = "b.currency, b.account, b.posted_minor, b.pending_in_minor, b.pending_out_minor, b.version"
_BALANCES_OF: Statement = {
    "sqlite": f"SELECT {_BALANCE} FROM json_each(?) AS k CROSS JOIN balances AS b"  # noqa: S608
    " ON b.currency = json_extract(k.value, '$[0]') AND b.account = json_extract(k.value, '$[1]')",
    # locked in the order of the bytes, which every transaction keeps to
    "postgresql": f"SELECT {_BALANCE} FROM balances AS b JOIN unnest(CAST(%s AS text[]), CAST(%s AS text[])) AS k(c, a)"  # noqa: S608
    ' ON b.currency = k.c AND b.account = k.a ORDER BY b.currency COLLATE "C", b.account COLLATE "C" FOR UPDATE OF b',
}


#: So few rows are quicker as values than as arrays.
_FEW = 4


@dataclass(frozen=True, kw_only=True)
class _Insert:
    """Rows into a table: its name, and its columns with their types."""

    table: str
    kinds: Mapping[str, str]

    def text(self, dialect: str, num_rows: int) -> str:
        """The statement; on PostgreSQL of many rows as arrays, so that their trigger runs once in either case."""
        columns = ", ".join(self.kinds)
        if dialect == "postgresql" and num_rows > _FEW:
            arrays = ", ".join(f"CAST(%s AS {kind}[])" for kind in self.kinds.values())
            return f"INSERT INTO {self.table} ({columns}) SELECT * FROM unnest({arrays})"  # noqa: S608
        row = ", ".join(["%s" if dialect == "postgresql" else "?"] * len(self.kinds))
        return f"INSERT INTO {self.table} ({columns}) VALUES " + ", ".join([f"({row})"] * num_rows)  # noqa: S608


INSERT_POSTINGS = _Insert(
    table="postings", kinds={"entry_id": "text", "line": "bigint", "account": "text", "amount_minor": "bigint"}
)
INSERT_ENTRIES = _Insert(
    table="entries",
    kinds=dict.fromkeys(("id", "at", "kind", "currency", "memo", "phase", "resolves", "details"), "text")
    | {"num_postings": "bigint"},
)


def run_of_ids(connection: sa.Connection, ids: Sequence[str]) -> list[tuple[Any, ...]]:
    """The rows of some entries in the order they were posted, one for each posting, or one with none.

    Args:
        connection: In a transaction.
        ids: Of the entries.

    Returns:
        The ten columns of the entry, then account and amount of the posting.

    Raises:
        SQLAlchemyError: the database refuses.
    """
    dialect = connection.dialect.name
    return _run(connection, _SELECTED[dialect], (json.dumps(ids) if dialect == "sqlite" else list(ids),))


def run_of_keys(connection: sa.Connection, keys: Sequence[tuple[str, str]]) -> list[tuple[Any, ...]]:
    """The balances of some accounts, locked: currency, account, posted, pending in and out, version.

    Args:
        connection: In a transaction that writes.
        keys: Currency and account.

    Raises:
        SQLAlchemyError: the database refuses.
    """
    dialect = connection.dialect.name
    arrays = ([currency for currency, _ in keys], [account for _, account in keys])
    return _run(connection, _BALANCES_OF[dialect], (json.dumps(keys),) if dialect == "sqlite" else arrays)


def run_insert(connection: sa.Connection, insert: _Insert, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, none or many.

    Args:
        connection: In a transaction that writes.
        insert: :data:`INSERT_POSTINGS` or :data:`INSERT_ENTRIES`.
        rows: Their values in the order of the columns.

    Raises:
        SQLAlchemyError: the database refuses.
    """
    dialect = connection.dialect.name
    if dialect == "sqlite":
        for row in rows:
            _run(connection, insert.text(dialect, 1), row, fetch=False)
    elif rows:
        few = len(rows) <= _FEW
        values = itertools.chain(*rows) if few else (list(column) for column in zip(*rows, strict=True))
        _run(connection, insert.text(dialect, len(rows) if few else _FEW + 1), tuple(values), fetch=False)


def _run(
    connection: sa.Connection, statement: str, parameters: Sequence[Any], *, fetch: bool = True
) -> list[tuple[Any, ...]]:
    """By the driver's own connection, inside the transaction that SQLAlchemy began; its errors as SQLAlchemy's."""
    driver: Any = connection.connection.driver_connection
    dbapi: Any = connection.dialect.dbapi
    try:
        cursor = driver.execute(statement, parameters)
        return cursor.fetchall() if fetch else []
    except dbapi.Error as problem:
        raise sa.exc.DBAPIError(statement, None, problem) from None
