"""The books in a database (SQLAlchemy, Alembic), SQLite or PostgreSQL: written once, refused ever after.

The database's own triggers refuse an unbalanced or incomplete entry, a balance below its limit and every update or
delete, whichever program asks. They guard against mistakes; against somebody who rewrites the file itself, the signed
record does.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import sqlalchemy as sa

from fedjoint.errors import PoolError
from fedjoint.pool.books import Balance, Key, Posted, Replay, require_fit, require_same, resolved_by, touched, unique
from fedjoint.pool.engine_store_sql import Database
from fedjoint.pool.ledger import Entry
from fedjoint.pool.migrations.apply import migrate, missing_guards, schema_of
from fedjoint.pool.tables_store_sql import (
    BALANCES,
    ENTRIES,
    PAGE,
    POSTINGS,
    balance_of_row,
    by_ids,
    insert_entries,
    load_page,
    lock_balances,
)

__all__ = ["LedgerStore", "Posted"]

_RESOLVING = ENTRIES.alias("resolving")
_IS_OPEN = sa.and_(ENTRIES.c.phase == "pending", ~sa.exists().where(_RESOLVING.c.resolves == ENTRIES.c.id))


class LedgerStore:
    """Books in a database, appended to and read, never changed. Open with :meth:`open` or :meth:`open_readonly`.

    Guarantees:
        Entries posted together are all there or none is, after a crash too.
        Whatever writers do at the same time, each entry is posted once and every limit holds after each entry.
        After :meth:`close` a SQLite database is one file.

    Example:
        >>> from fedjoint.pool.ledger import move
        >>> entry = Entry(id="demo/1", at="2026-11-30T12:00:00Z", kind="invoice", currency="CNY",
        ...               postings=move({"receivable:buyer": -5, "escrow": 5}))
        >>> with LedgerStore.open("sqlite://") as store:
        ...     store.post([entry]), store.post([entry]), store.balance("escrow", "CNY").posted_minor
        (Posted(new=('demo/1',), known=()), Posted(new=(), known=('demo/1',)), 5)
    """

    def __init__(self, database: Database) -> None:
        self.database, self.name = database, database.name

    @classmethod
    def open(cls, url: str) -> LedgerStore:
        """Open a database for reading and posting; make it, or bring it to this version, where needed.

        Args:
            url: SQLAlchemy's, such as ``sqlite:////data/ledger.sqlite``, ``postgresql://user@host/db`` (the password
                comes from ``~/.pgpass``); in memory: ``sqlite://``.

        Raises:
            PoolError: no such kind of database, not readable, no ledger, or made by a later version.
        """
        store = cls(Database.open(url))
        with store._closing_on_error():
            store.database.write(migrate)
        return store

    @classmethod
    def open_readonly(cls, path: Path) -> LedgerStore:
        """Open a SQLite file to verify it; neither it nor its folder is written to, and nothing may write meanwhile.

        Raises:
            PoolError: no file, no ledger, damaged, of another version, or left in the middle of a posting.
        """
        if not path.is_file():
            raise PoolError(f"there is no ledger {path}", remedy="Name the file ledger.sqlite of a run.")
        for leftover in ("-journal", "-wal"):
            if path.with_name(path.name + leftover).exists():
                raise PoolError(
                    f"{path.name}{leftover} stands beside the ledger: a posting was cut off",
                    remedy="Open the ledger once for posting, which completes or undoes it.",
                )
        store = cls(Database.open_file_readonly(path))
        with store._closing_on_error():
            store._require_sound()
        return store

    def post(self, entries: Iterable[Entry]) -> Posted:
        """Write entries that belong together, in one transaction.

        Args:
            entries: In order. One that is there already with the same content is left alone, so that a command that
                was cut off can be repeated.

        Returns:
            Which ids are new and which were known.

        Raises:
            PoolError: an id that is there with other content, a pending entry that is not there or was resolved, a
                limit, or the database refuses; nothing is written.
        """
        given = unique(entries)
        return self.database.write(lambda connection: self.post_in(connection, given))

    def post_in(self, connection: sa.Connection, given: dict[str, Entry]) -> Posted:
        """Write entries as :meth:`post` does, in a transaction that the caller ends: with whatever belongs to them.

        Args:
            connection: In a writing transaction of :attr:`database`.
            given: Entries by id, in order (:func:`fedjoint.pool.books.unique`).

        Raises:
            PoolError: as :meth:`post`.
        """
        waiting = by_ids(connection, resolved_by(given.values()), name=self.name)
        # Locks first: what is read after them stays as it is until this transaction ends.
        standing = lock_balances(connection, sorted(touched(list(given.values()), waiting)))
        stored = by_ids(connection, list(given), name=self.name)
        for entry_id, entry in stored.items():
            require_same(entry, given[entry_id])
        new = [entry for entry in given.values() if entry.id not in stored]
        still = self._still_open(connection, [i for i in resolved_by(new) if i in waiting])
        require_fit(new, balances=standing, waiting={pending: waiting[pending] for pending in still})
        insert_entries(connection, new)
        # Read back, through the constructor's checks, before anything is committed.
        if list(by_ids(connection, [entry.id for entry in new], name=self.name).values()) != new:
            raise PoolError(f"{self.name} did not keep what was posted", remedy="Nothing was written.")
        return Posted(new=tuple(entry.id for entry in new), known=tuple(stored))

    def _still_open(self, connection: sa.Connection, pending: list[str]) -> list[str]:
        done: set[str] = set()
        for start in range(0, len(pending), PAGE):
            query = sa.select(ENTRIES.c.resolves).where(ENTRIES.c.resolves.in_(pending[start : start + PAGE]))
            done.update(connection.scalars(query))
        return [entry_id for entry_id in pending if entry_id not in done]

    def entry(self, entry_id: str) -> Entry | None:
        """One entry, if it is there.

        Raises:
            PoolError: damaged.
        """
        return self.found([entry_id]).get(entry_id)

    def found(self, entry_ids: Sequence[str]) -> dict[str, Entry]:
        """Those of some entries that are there, by id.

        Raises:
            PoolError: damaged.
        """
        with self.database.read() as connection:
            return by_ids(connection, entry_ids, name=self.name)

    def entries(self, *accounts: str) -> Iterator[Entry]:
        """Entries in the order they were posted, read page by page: memory does not grow with their number.

        On PostgreSQL all pages show one state of the books; on SQLite posting may go on between pages.

        Args:
            accounts: Only entries with a posting to one of them; all by default.

        Raises:
            PoolError: while iterating: damaged, or a row that is no valid entry.
        """
        return self._pages(*_of_accounts(accounts))

    def pending(self, account: str | None = None) -> Iterator[Entry]:
        """Pending entries that nothing resolved yet, in the order they were posted.

        Args:
            account: Only entries with a posting to it; all by default.

        Raises:
            PoolError: as :meth:`entries`.
        """
        return self._pages(_IS_OPEN, *_of_accounts((account,) if account else ()))

    def pending_in(self, connection: sa.Connection, account: str | None = None) -> Iterator[Entry]:
        """As :meth:`pending`, in a transaction that is open already.

        Args:
            connection: In a transaction of :attr:`database`.
            account: Only entries with a posting to it; all by default.

        Raises:
            PoolError: as :meth:`entries`.
        """
        return self._pages_of(connection, _IS_OPEN, *_of_accounts((account,) if account else ()))

    def _pages(self, *conditions: sa.ColumnElement[bool]) -> Iterator[Entry]:
        if self.database.is_sqlite:
            yield from self._pages_apart(*conditions)
        else:
            with self.database.read() as connection:
                yield from self._pages_of(connection, *conditions)

    def _pages_apart(self, *conditions: sa.ColumnElement[bool]) -> Iterator[Entry]:
        """A transaction for each page: SQLite numbers entries in the order of commits, so that none is missed."""
        last, page = 0, None
        while page is None or len(page) == PAGE:
            with self.database.read() as connection:
                page = load_page(connection, ENTRIES.c.seq > last, *conditions, name=self.name)
            yield from (entry for _, entry in page)
            last = page[-1][0] if page else last

    def _pages_of(self, connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> Iterator[Entry]:
        last, page = 0, None
        while page is None or len(page) == PAGE:
            page = load_page(connection, ENTRIES.c.seq > last, *conditions, name=self.name)
            yield from (entry for _, entry in page)
            last = page[-1][0] if page else last

    def balance(self, account: str, currency: str) -> Balance:
        """What one account stands at; zero if it was never touched. One row is read, however long the books.

        Raises:
            PoolError: damaged.
        """
        query = sa.select(BALANCES).where(BALANCES.c.currency == currency, BALANCES.c.account == account)
        with self.database.read() as connection:
            row = connection.execute(query).one_or_none()
        return Balance() if row is None else balance_of_row(row)

    def standings(self) -> dict[Key, Balance]:
        """Every account that was ever touched, by (currency, account) in that order.

        Raises:
            PoolError: damaged.
        """
        with self.database.read() as connection:
            return self._standings(connection)

    def _standings(self, connection: sa.Connection) -> dict[Key, Balance]:
        rows = connection.execute(sa.select(BALANCES)).all()
        standing = {(row.currency, row.account): balance_of_row(row) for row in rows}
        return {key: standing[key] for key in sorted(standing) if standing[key].version}

    def balances(self) -> dict[Key, int]:
        """What is posted to every account, in minor units by (currency, account).

        Raises:
            PoolError: damaged.
        """
        return {key: balance.posted_minor for key, balance in self.standings().items()}

    def check(self) -> list[str]:
        """Everything that is wrong with the books: one sentence per problem, none if all is well.

        Replays the entries as :class:`fedjoint.pool.books.Replay` does, in memory that does not grow with their
        number, and compares the balances that the database keeps.

        Raises:
            PoolError: damaged so far that the entries cannot be read.
        """
        replay, problems = Replay(), list[str]()
        with self.database.read() as connection:
            for entry in self._pages_of(connection):
                problems += replay.add(entry)
            problems += replay.sum_problems()
            if self._standings(connection) != dict(sorted(replay.balances.items())):
                problems.append(f"the balances in {self.name} differ from the sums of its entries")
            problems += _row_and_guard_problems(connection)
        return problems

    def close(self) -> None:
        """Let go of the database. What was posted was on disk before."""
        self.database.engine.dispose()

    def __enter__(self) -> LedgerStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _require_sound(self) -> None:
        """Refuse a file that is damaged, or whose tables and guards are not those that this version makes."""
        with self.database.read() as connection:
            damage = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
            if damage != ["ok"]:
                raise PoolError(f"{self.name} is damaged: {damage[0]}")
            found = schema_of(connection)
        if found != _expected_schema():
            raise PoolError(
                f"the tables or guards of {self.name} are not a ledger's of this version",
                remedy="If an older version made it, open it once for posting; if not, somebody altered it.",
            )


def _of_accounts(accounts: tuple[str, ...]) -> tuple[sa.ColumnElement[bool], ...]:
    if not accounts:
        return ()
    return (sa.exists().where(POSTINGS.c.entry_id == ENTRIES.c.id, POSTINGS.c.account.in_(accounts)),)


def _row_and_guard_problems(connection: sa.Connection) -> list[str]:
    """Rows that no entry accounts for, and guards that are gone."""
    # NOT IN would have PostgreSQL go through all entries for each posting, once they outgrow its working memory.
    lost = sa.select(POSTINGS.c.entry_id).distinct().where(~sa.exists().where(ENTRIES.c.id == POSTINGS.c.entry_id))
    twice = sa.select(ENTRIES.c.id).group_by(ENTRIES.c.id).having(sa.func.count() > 1)
    return [
        *(f"postings of '{entry_id}' have no entry" for entry_id in connection.scalars(lost)),
        *(f"entry '{entry_id}' stands twice" for entry_id in connection.scalars(twice)),
        *(f"the guard '{guard}' is missing or switched off" for guard in missing_guards(connection)),
    ]


@functools.cache
def _expected_schema() -> tuple[tuple[str, ...], ...]:
    """What a ledger of this version is made of, by making one in memory."""
    with LedgerStore.open("sqlite://") as fresh, fresh.database.read() as connection:
        return schema_of(connection)
