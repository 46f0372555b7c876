"""The tables as they are queried (SQLAlchemy), and entries as rows of them; the migrations make the tables."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from fedjoint.errors import PoolError
from fedjoint.pool.books import Balance, Key
from fedjoint.pool.ledger import Entry, Posting

__all__ = [
    "BALANCES",
    "CHECKPOINTS",
    "ENTRIES",
    "EVENTS",
    "METADATA",
    "PAGE",
    "POSTINGS",
    "balance_of_row",
    "by_ids",
    "insert_entries",
    "load_page",
    "lock_balances",
]

#: Entries read or looked up at a time: bounds memory and the parameters of one statement.
PAGE = 500
METADATA = sa.MetaData()
_PENDING = sa.text("phase = 'pending'")
ENTRIES = sa.Table(
    "entries",
    METADATA,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("id", sa.String(127), nullable=False, unique=True),
    *(sa.Column(name, sa.String(size), nullable=False) for name, size in (("at", 32), ("kind", 32), ("currency", 3))),
    sa.Column("memo", sa.String(500), nullable=False),
    sa.Column("phase", sa.String(8), nullable=False),
    sa.Column("resolves", sa.String(127), sa.ForeignKey("entries.id"), unique=True),
    sa.Column("details", sa.Text, nullable=False),
    sa.Column("num_postings", sa.Integer, nullable=False),
    sa.Index("entries_pending", "seq", sqlite_where=_PENDING, postgresql_where=_PENDING),
)
POSTINGS = sa.Table(
    "postings",
    METADATA,
    sa.Column(
        "entry_id", sa.String(127), sa.ForeignKey("entries.id", deferrable=True, initially="DEFERRED"), primary_key=True
    ),
    sa.Column("line", sa.Integer, primary_key=True),
    sa.Column("account", sa.String(80), nullable=False),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("entry_id", "account"),
)
_NUMBERS = ("posted_minor", "pending_in_minor", "pending_out_minor", "version", "last_seq")
BALANCES = sa.Table(
    "balances",
    METADATA,
    sa.Column("currency", sa.String(3), primary_key=True),
    sa.Column("account", sa.String(80), primary_key=True),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in _NUMBERS),
)
_IDS: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
#: Made once: to make a statement takes longer than to run it.
_HEADERS_OF = sa.select(ENTRIES).where(ENTRIES.c.id.in_(_IDS)).order_by("seq")
_LINES_OF = sa.select(POSTINGS).where(POSTINGS.c.entry_id.in_(_IDS)).order_by("entry_id", "line")
_KEY = sa.tuple_(BALANCES.c.currency, BALANCES.c.account)
_STANDING = sa.select(BALANCES).where(_KEY.in_(sa.bindparam("keys", expanding=True)))
_STANDING_LOCKED = _STANDING.order_by(*(sa.collate(column, "C") for column in _KEY)).with_for_update()

#: The pool's record: an event's number is its place in the Merkle tree.
EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("line", sa.Text, nullable=False),
    sa.Column("type", sa.String(64), nullable=False),
    sa.Index("events_of_type", "type", "seq"),
)
CHECKPOINTS = sa.Table(
    "checkpoints",
    METADATA,
    sa.Column("size", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("line", sa.Text, nullable=False),
)


def load_page(connection: sa.Connection, *conditions: sa.ColumnElement[bool], name: str) -> list[tuple[int, Entry]]:
    """At most a page of entries with their numbers, in order.

    Args:
        connection: In a transaction.
        conditions: On the columns of :data:`ENTRIES`.
        name: Of the database, for messages.

    Raises:
        PoolError: damaged, or a row that is no valid entry.
    """
    headers = connection.execute(sa.select(ENTRIES).where(*conditions).order_by("seq").limit(PAGE)).all()
    return _with_lines(connection, headers, name)


def _with_lines(connection: sa.Connection, headers: Sequence[sa.Row[Any]], name: str) -> list[tuple[int, Entry]]:
    lines: dict[str, list[Posting]] = {header.id: [] for header in headers}
    for row in connection.execute(_LINES_OF, {"ids": list(lines)}) if lines else ():
        _require_types(name, (row.account,), (row.amount_minor,))
        lines[row.entry_id].append(Posting(account=row.account, amount_minor=row.amount_minor))
    return [(header.seq, _entry(header, tuple(lines[header.id]), name)) for header in headers]


def by_ids(connection: sa.Connection, ids: Sequence[str], *, name: str) -> dict[str, Entry]:
    """The entries that are there, by id, in the order they were posted.

    Raises:
        PoolError: as :func:`load_page`.
    """
    found: dict[str, Entry] = {}
    for start in range(0, len(ids), PAGE):
        headers = connection.execute(_HEADERS_OF, {"ids": ids[start : start + PAGE]}).all()
        found |= {entry.id: entry for _, entry in _with_lines(connection, headers, name)}
    return found


def lock_balances(connection: sa.Connection, keys: Sequence[Key]) -> dict[Key, Balance]:
    """What accounts stand at, and nobody else may change it before this transaction ends.

    On PostgreSQL rows are locked in one order everywhere, so that two transactions seldom wait for each other; a
    SQLite transaction that writes has the whole file.

    Args:
        connection: In a transaction that writes.
        keys: Currency and account, sorted, each once.
    """
    postgresql, standing = connection.dialect.name == "postgresql", dict[Key, Balance]()
    for start in range(0, len(keys), PAGE):
        page = keys[start : start + PAGE]
        query = _STANDING_LOCKED if postgresql else _STANDING
        rows = connection.execute(query, {"keys": page}).all()
        if postgresql and len(rows) < len(page):
            _make(connection, page)
            rows = connection.execute(query, {"keys": page}).all()
        standing |= {(row.currency, row.account): balance_of_row(row) for row in rows}
    return standing


def _make(connection: sa.Connection, keys: Sequence[Key]) -> None:
    """A row that is not there cannot be locked: make it, at zero."""
    from sqlalchemy.dialects.postgresql import insert

    zero = dict.fromkeys(_NUMBERS, 0)
    rows = [{"currency": currency, "account": account, **zero} for currency, account in keys]
    connection.execute(insert(BALANCES).on_conflict_do_nothing(), rows)


def balance_of_row(row: sa.Row[Any]) -> Balance:
    """A row of :data:`BALANCES` as a record."""
    return Balance(
        posted_minor=row.posted_minor,
        pending_in_minor=row.pending_in_minor,
        pending_out_minor=row.pending_out_minor,
        version=row.version,
    )


def insert_entries(connection: sa.Connection, entries: Sequence[Entry]) -> None:
    """Write entries: postings first, the entry's row then seals them."""
    postings = [
        {"entry_id": entry.id, "line": line, "account": posting.account, "amount_minor": posting.amount_minor}
        for entry in entries
        for line, posting in enumerate(entry.postings)
    ]
    for table, rows in ((POSTINGS, postings), (ENTRIES, [_header(entry) for entry in entries])):
        if rows and connection.dialect.name == "postgresql":
            connection.execute(_from_arrays(table, tuple(rows[0])), {k: [row[k] for row in rows] for k in rows[0]})
        elif rows:
            connection.execute(sa.insert(table), rows)


@functools.cache
def _from_arrays(table: sa.Table, columns: tuple[str, ...]) -> sa.TextClause:
    """PostgreSQL's INSERT of many rows as one statement, so that their trigger runs once."""
    kinds = {column.name: "bigint" if isinstance(column.type, sa.Integer) else "text" for column in table.columns}
    arrays = ", ".join(f"CAST(:{name} AS {kinds[name]}[])" for name in columns)
    return sa.text(f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT * FROM unnest({arrays})")  # noqa: S608


def _header(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "at": entry.at,
        "kind": entry.kind,
        "currency": entry.currency,
        "memo": entry.memo,
        "phase": entry.phase,
        "resolves": entry.resolves,
        "details": _written(entry.details),
        "num_postings": len(entry.postings),
    }


def _written(details: Mapping[str, str]) -> str:
    return json.dumps(dict(details), sort_keys=True, ensure_ascii=False) if details else "{}"


def _entry(header: sa.Row[Any], postings: tuple[Posting, ...], name: str) -> Entry:
    texts = (header.id, header.at, header.kind, header.currency, header.memo, header.phase, header.details)
    _require_types(name, (*texts, header.resolves or ""), (header.seq, header.num_postings))
    if len(postings) != header.num_postings:
        raise PoolError(
            f"entry '{header.id}' in {name} has {len(postings)} postings", expected=str(header.num_postings)
        )
    return Entry(
        id=header.id,
        at=header.at,
        kind=header.kind,
        currency=header.currency,
        memo=header.memo,
        postings=postings,
        phase=header.phase,
        resolves=header.resolves,
        details=_read_details(header.details, header.id, name),
    )


def _read_details(text: str, entry_id: str, name: str) -> dict[str, str]:
    if text == "{}":
        return {}
    try:
        details = json.loads(text)
    except (ValueError, RecursionError):
        details = None
    if not isinstance(details, dict) or _written(details) != text:
        raise PoolError(f"{name} is damaged: the details of entry '{entry_id}' are not as they were written")
    return details


def _require_types(name: str, texts: tuple[Any, ...], numbers: tuple[Any, ...]) -> None:
    """A damaged SQLite row can hold anything anywhere."""
    if not (all(type(text) is str for text in texts) and all(type(number) is int for number in numbers)):
        raise PoolError(f"{name} is damaged: a value has the wrong type")
