"""The pool's database (SQLAlchemy): books and record side by side, so that an event and its money are one step.

One writer at a time decides: it reads the record and the books, and what it then records and posts is committed
together or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlalchemy as sa

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.errors import PoolError
from fedjoint.pool.books import Balance, unique
from fedjoint.pool.ledger import Entry
from fedjoint.pool.record_change import Change
from fedjoint.pool.state import DECIDING, PoolState, fold
from fedjoint.pool.store_sql import LedgerStore
from fedjoint.pool.tables_store_sql import BALANCES, CHECKPOINTS, EVENTS, balance_of_row, by_ids
from fedjoint.record.checkpoint import SignedCheckpoint
from fedjoint.record.log import Event
from fedjoint.strict import build

__all__ = ["Inside", "PoolStore"]

#: Events read at a time: one may name 500 revenues, and takes 40 kB then.
_PAGE_EVENTS = 16
#: Of PostgreSQL's advisory locks; the ASCII of "fedjpool".
_LOCK = 0x6665646A706F6F6C


class Inside:
    """Record and books as one writing transaction sees them, while no other may write."""

    def __init__(self, connection: sa.Connection, ledger: LedgerStore, known: PoolState) -> None:
        self._connection, self._ledger, self._known = connection, ledger, known

    def state(self) -> PoolState:
        """What the record comes to; only events that were not known before are read."""
        self._known = _state_of(self._connection, self._known)
        return self._known

    def balance(self, account: str, currency: str) -> Balance:
        """What one account stands at; zero if it was never touched."""
        query = sa.select(BALANCES).where(BALANCES.c.currency == currency, BALANCES.c.account == account)
        row = self._connection.execute(query).one_or_none()
        return Balance() if row is None else balance_of_row(row)

    def entry(self, entry_id: str) -> Entry | None:
        """One entry, if it is there."""
        return self.found([entry_id]).get(entry_id)

    def found(self, entry_ids: Sequence[str]) -> dict[str, Entry]:
        """Those of some entries that are there, by id."""
        return by_ids(self._connection, entry_ids, name=self._ledger.name)

    def pending(self, account: str | None = None) -> Iterator[Entry]:
        """The pending entries that nothing resolved yet: all, or those with a posting to one account."""
        return self._ledger.pending_in(self._connection, account)

    @property
    def known(self) -> PoolState:
        """The state as far as it was read."""
        return self._known

    def events(self, first: int = 0) -> Iterator[Event]:
        """The events from a number on."""
        return _read_events(self._connection, first)


class PoolStore:
    """A pool's database. Open with :meth:`open` or :meth:`open_readonly`.

    Guarantees:
        Events and the entries that belong to them are there together or not at all, after a crash too.
        Events are numbered without a gap and never change.
    """

    def __init__(self, ledger: LedgerStore) -> None:
        self.ledger = ledger
        self._known = PoolState()  # of committed events only: a transaction that fails leaves it as it was

    @classmethod
    def open(cls, url: str) -> PoolStore:
        """Open a database for reading and writing; make it where needed.

        Raises:
            PoolError: as :meth:`fedjoint.pool.store_sql.LedgerStore.open`.
        """
        return cls(LedgerStore.open(url))

    @classmethod
    def open_readonly(cls, path: Path) -> PoolStore:
        """Open a SQLite file to verify it.

        Raises:
            PoolError: as :meth:`fedjoint.pool.store_sql.LedgerStore.open_readonly`.
        """
        return cls(LedgerStore.open_readonly(path))

    def act(self, decide: Callable[[Inside], Change]) -> Change:
        """Take one step.

        Args:
            decide: Gives what to record and post; it may be called again if another writer got in the way, so it must
                have no effect of its own.

        Raises:
            PoolError: the step or the database refuses; nothing is written then.
        """

        def work(connection: sa.Connection) -> tuple[Change, PoolState]:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            inside = Inside(connection, self.ledger, self._known)
            change, first = decide(inside), _size_of(connection)
            events = [
                Event(seq=first + place, type=kind, at=change.at, body=body)
                for place, (kind, body) in enumerate(change.events)
            ]
            rows = [{"seq": event.seq, "line": canonical_bytes(event).decode(), "type": event.type} for event in events]
            if rows:
                connection.execute(sa.insert(EVENTS), rows)
            self.ledger.post_in(connection, unique(change.entries))
            ends = change.after is not None and change.after.size == first + len(rows)
            return change, change.after if ends and change.after is not None else inside.known

        change, self._known = self.ledger.database.write(work)
        return change

    def state(self) -> PoolState:
        """What the record comes to; only events that were not known before are read.

        Raises:
            PoolError: damaged, or an event that does not follow from those before it.
        """
        with self.ledger.database.read() as connection:
            self._known = _state_of(connection, self._known)
        return self._known

    def events(self, first: int = 0) -> Iterator[Event]:
        """The events from a number on, read page by page.

        Raises:
            PoolError: while iterating: damaged.
        """
        with self.ledger.database.read() as connection:
            yield from _read_events(connection, first)

    def events_of(self, *types: str, first: int = 0) -> Iterator[Event]:
        """The events of some types, from a number on, read page by page.

        Raises:
            PoolError: while iterating: damaged.
        """
        with self.ledger.database.read() as connection:
            yield from _read_events(connection, first, types)

    def keep_checkpoint(self, signed: SignedCheckpoint) -> None:
        """Keep a signed checkpoint of the record.

        Raises:
            PoolError: one of that size is kept already.
        """
        row = {"size": signed.checkpoint.size, "line": canonical_bytes(signed).decode()}
        self.ledger.database.write(lambda connection: connection.execute(sa.insert(CHECKPOINTS), [row]))

    def checkpoints(self) -> Sequence[SignedCheckpoint]:
        """All checkpoints, the oldest first.

        Raises:
            PoolError: damaged.
        """
        with self.ledger.database.read() as connection:
            rows = connection.execute(sa.select(CHECKPOINTS).order_by("size")).all()
        found = [_parse(SignedCheckpoint, row.line, f"checkpoint {row.size}") for row in rows]
        if [signed.checkpoint.size for signed in found] != [row.size for row in rows]:
            raise PoolError("a checkpoint stands under another size than its own")
        return found

    def close(self) -> None:
        """Let go of the database."""
        self.ledger.close()

    def __enter__(self) -> PoolStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _size_of(connection: sa.Connection) -> int:
    last = connection.scalar(sa.select(sa.func.max(EVENTS.c.seq)))
    return 0 if last is None else int(last) + 1


def _state_of(connection: sa.Connection, known: PoolState) -> PoolState:
    size = _size_of(connection)
    return known if size == known.size else fold(_read_events(connection, known.size, DECIDING), known, size=size)


def _read_events(connection: sa.Connection, first: int, types: tuple[str, ...] = ()) -> Iterator[Event]:
    """Events in order: all, and then none may be missing, or those of some types."""
    expected = first
    chosen = [EVENTS.c.type.in_(types)] if types else []
    while True:
        query = sa.select(EVENTS).where(EVENTS.c.seq >= expected, *chosen).order_by("seq").limit(_PAGE_EVENTS)
        rows = connection.execute(query).all()
        for row in rows:
            event = _parse(Event, row.line, f"event {row.seq}")
            if (row.seq, row.type) != (event.seq, event.type) or (row.seq != expected and not types):
                raise PoolError(f"event {expected} is missing or out of place")
            expected = row.seq + 1
            yield event
        if len(rows) < _PAGE_EVENTS:
            return


def _parse(kind: type[Any], line: object, where: str) -> Any:
    if not isinstance(line, str):
        raise PoolError(f"{where} is damaged: it is no text")
    return build(kind, parse_canonical(line.encode(), error=PoolError, where=where), error=PoolError, where=where)
