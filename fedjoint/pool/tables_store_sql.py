"""The tables as they are queried (SQLAlchemy), and entries as rows of them; the migrations make the tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from fedjoint.errors import PoolError
from fedjoint.pool.books import Balance, Key
from fedjoint.pool.ledger import Entry, Posting
from fedjoint.pool.quick_store_sql import INSERT_ENTRIES, INSERT_POSTINGS, run_insert, run_of_ids, run_of_keys

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
_NUMBERS = ("posted_minor", "pending_in_minor", "pending_out_minor", "version")
BALANCES = sa.Table(
    "balances",
    METADATA,
    sa.Column("currency", sa.String(3), primary_key=True),
    sa.Column("account", sa.String(80), primary_key=True),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in (*_NUMBERS, "last_seq")),
)
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
    headers = connection.execute(sa.select(ENTRIES.c.id).where(*conditions).order_by("seq").limit(PAGE)).scalars()
    return _entries(run_of_ids(connection, list(headers)), name)


def _entries(rows: Iterable[Sequence[Any]], name: str) -> list[tuple[int, Entry]]:
    """Entries with their numbers; the rows of each follow one another."""
    found: list[tuple[Sequence[Any], list[Posting]]] = []
    for row in rows:
        *header, account, amount = row
        if not found or found[-1][0][0] != header[0]:
            found.append((header, []))
        if account is not None or amount is not None:
            _require_types(name, (account,), (amount,))
            found[-1][1].append(Posting(account=account, amount_minor=amount))
    return [(header[0], _entry(header, tuple(lines), name)) for header, lines in found]


def by_ids(connection: sa.Connection, ids: Sequence[str], *, name: str) -> dict[str, Entry]:
    """The entries that are there, by id, in the order they were posted.

    Raises:
        PoolError: as :func:`load_page`.
    """
    found: dict[str, Entry] = {}
    for start in range(0, len(ids), PAGE):
        rows = run_of_ids(connection, ids[start : start + PAGE])
        found |= {entry.id: entry for _, entry in _entries(rows, name)}
    return found


def lock_balances(connection: sa.Connection, keys: Sequence[Key]) -> dict[Key, Balance]:
    """What accounts stand at, and nobody else may change it before this transaction ends.

    On PostgreSQL rows are locked in one order everywhere, so that two transactions seldom wait for each other; a
    SQLite transaction that writes has the whole file.

    Args:
        connection: In a transaction that writes.
        keys: Currency and account, sorted, each once.
    """
    standing = dict[Key, Balance]()
    for start in range(0, len(keys), PAGE):
        page = keys[start : start + PAGE]
        rows = run_of_keys(connection, page)
        if connection.dialect.name == "postgresql" and len(rows) < len(page):
            _make(connection, page)
            rows = run_of_keys(connection, page)
        for currency, account, *numbers in rows:
            standing[currency, account] = Balance(**dict(zip(_NUMBERS, numbers, strict=True)))
    return standing


def _make(connection: sa.Connection, keys: Sequence[Key]) -> None:
    """A row that is not there cannot be locked: make it, at zero."""
    from sqlalchemy.dialects.postgresql import insert

    zero = dict.fromkeys((*_NUMBERS, "last_seq"), 0)
    rows = [{"currency": currency, "account": account, **zero} for currency, account in keys]
    connection.execute(insert(BALANCES).on_conflict_do_nothing(), rows)


def balance_of_row(row: sa.Row[Any]) -> Balance:
    """A row of :data:`BALANCES` as a record."""
    return Balance(**{name: getattr(row, name) for name in _NUMBERS})


def insert_entries(connection: sa.Connection, entries: Sequence[Entry]) -> None:
    """Write entries: postings first, the entry's row then seals them."""
    postings = [
        (entry.id, line, posting.account, posting.amount_minor)
        for entry in entries
        for line, posting in enumerate(entry.postings)
    ]
    run_insert(connection, INSERT_POSTINGS, postings)
    run_insert(connection, INSERT_ENTRIES, [_header(entry) for entry in entries])


def _header(entry: Entry) -> tuple[Any, ...]:
    return (
        entry.id,
        entry.at,
        entry.kind,
        entry.currency,
        entry.memo,
        entry.phase,
        entry.resolves,
        _written(entry.details),
        len(entry.postings),
    )


def _written(details: Mapping[str, str]) -> str:
    return json.dumps(dict(details), sort_keys=True, ensure_ascii=False) if details else "{}"


def _entry(header: Sequence[Any], postings: tuple[Posting, ...], name: str) -> Entry:
    seq, entry_id, at, kind, currency, memo, phase, resolves, details, num_postings = header
    _require_types(name, (entry_id, at, kind, currency, memo, phase, details, resolves or ""), (seq, num_postings))
    if len(postings) != num_postings:
        raise PoolError(f"entry '{entry_id}' in {name} has {len(postings)} postings", expected=str(num_postings))
    return Entry(
        id=entry_id,
        at=at,
        kind=kind,
        currency=currency,
        memo=memo,
        postings=postings,
        phase=phase,
        resolves=resolves,
        details=_read_details(details, entry_id, name),
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
    if {*map(type, texts)} - {str} or {*map(type, numbers)} - {int}:
        raise PoolError(f"{name} is damaged: a value has the wrong type")
