"""The books in a database (SQLAlchemy, Alembic): written once, refused ever after.

The database's own triggers refuse an unbalanced or incomplete entry and every update or delete, whichever program
asks. They guard against mistakes; against somebody who rewrites the file itself, the signed run record does.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from fedjoint.errors import PoolError
from fedjoint.pool.ledger import Entry, Posting, balances, check_entries
from fedjoint.pool.migrations.apply import migrate, schema_of

__all__ = ["LedgerStore", "Posted"]

#: Entries read or looked up at a time: bounds memory and the parameters of one statement.
_PAGE = 500
_BUSY_S = 30
_METADATA = sa.MetaData()
_ENTRIES = sa.Table(
    "entries",
    _METADATA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("id", sa.String(127), nullable=False, unique=True),
    *(sa.Column(name, sa.String(size), nullable=False) for name, size in (("at", 32), ("kind", 32), ("currency", 3))),
    sa.Column("memo", sa.String(500), nullable=False),
    sa.Column("num_postings", sa.Integer, nullable=False),
)
_POSTINGS = sa.Table(
    "postings",
    _METADATA,
    sa.Column(
        "entry_id", sa.String(127), sa.ForeignKey("entries.id", deferrable=True, initially="DEFERRED"), primary_key=True
    ),
    sa.Column("line", sa.Integer, primary_key=True),
    sa.Column("account", sa.String(80), nullable=False),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("entry_id", "account"),
)
_BALANCES = sa.table("balances", sa.column("currency"), sa.column("account"), sa.column("amount_minor"))


@dataclass(frozen=True, kw_only=True)
class Posted:
    """What :meth:`LedgerStore.post` did.

    Args:
        new: Ids of the entries written.
        known: Ids of those that were there already, with the same content: nothing changed.
    """

    new: tuple[str, ...]
    known: tuple[str, ...]


class LedgerStore:
    """Books in a database, appended to and read, never changed. Open with :meth:`open` or :meth:`open_readonly`.

    Guarantees:
        Entries posted together are all there or none is, after a crash too.
        After :meth:`close` a SQLite database is one file.

    Example:
        >>> entry = Entry(id="demo/1", at="2026-11-30T12:00:00Z", kind="invoice", currency="CNY", memo="", postings=(
        ...     Posting(account="receivable:buyer", amount_minor=-5), Posting(account="escrow", amount_minor=5)))
        >>> with LedgerStore.open("sqlite://") as store:
        ...     store.post([entry]), store.post([entry]), store.balances()[("CNY", "escrow")]
        (Posted(new=('demo/1',), known=()), Posted(new=(), known=('demo/1',)), 5)
    """

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self._engine, self._name = engine, name

    @classmethod
    def open(cls, url: str) -> LedgerStore:
        """Open a database for reading and posting; make it, or bring it to this version, where needed.

        Args:
            url: SQLAlchemy's, such as ``sqlite:////data/ledger.sqlite``; in memory: ``sqlite://``.

        Raises:
            PoolError: no such kind of database, not readable, no ledger, or made by a later version.
        """
        try:
            parsed = sa.make_url(url)
        except SQLAlchemyError:
            raise PoolError("the database URL is malformed", expected="such as sqlite:////data/ledger.sqlite") from None
        if parsed.get_backend_name() != "sqlite":
            raise PoolError(
                f"the ledger cannot be kept in '{parsed.get_backend_name()}'", expected="a URL that starts with sqlite:"
            )
        name = Path(parsed.database).name if parsed.database else "ledger in memory"
        store = cls(_with_transactions(sa.create_engine(parsed, connect_args={"timeout": _BUSY_S})), name)
        with store._closing_on_error(), store._transaction("IMMEDIATE") as connection:
            migrate(connection)
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
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        engine = sa.create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(uri, uri=True, check_same_thread=False),
            poolclass=sa.StaticPool,
        )
        store = cls(_with_transactions(engine), path.name)
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
            PoolError: an id that is there with other content (nothing is written), or the database refuses.
        """
        given: dict[str, Entry] = {}
        for entry in entries:
            _require_same(given.setdefault(entry.id, entry), entry)
        with self._transaction("IMMEDIATE") as connection:
            stored = {entry.id: entry for _, entry in self._by_ids(connection, list(given))}
            for entry_id, entry in stored.items():
                _require_same(entry, given[entry_id])
            new = [entry for entry in given.values() if entry.id not in stored]
            _insert(connection, new)
            # Read back, through the constructor's checks, before anything is committed.
            if [entry for _, entry in self._by_ids(connection, [entry.id for entry in new])] != new:
                raise PoolError(f"{self._name} did not keep what was posted", remedy="Nothing was written.")
        return Posted(new=tuple(entry.id for entry in new), known=tuple(stored))

    def entries(self) -> Iterator[Entry]:
        """All entries in the order they were posted, read page by page.

        Raises:
            PoolError: while iterating: damaged, or a row that is no valid entry.
        """
        last = 0
        while True:
            with self._transaction() as connection:
                page = self._load(connection, _ENTRIES.c.seq > last)
            yield from (entry for _, entry in page)
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    def balances(self) -> dict[tuple[str, str], int]:
        """What every account stands at, added up by the database.

        Returns:
            As :func:`fedjoint.pool.ledger.balances`: minor units by (currency, account).

        Raises:
            PoolError: damaged.
        """
        with self._transaction() as connection:
            rows = connection.execute(sa.select(_BALANCES).order_by("currency", "account")).all()
        return {(currency, account): amount for currency, account, amount in rows}

    def check(self) -> list[str]:
        """Everything that is wrong with the books: one sentence per problem, none if all is well.

        Looks at the rows as :func:`fedjoint.pool.ledger.check_entries` does, and that the database adds up alike.

        Raises:
            PoolError: damaged so far that the entries cannot be read.
        """
        entries = list(self.entries())
        problems = check_entries(entries)
        if self.balances() != balances(entries):
            problems.append(f"the balances in {self._name} differ from the sums of its entries")
        with self._transaction() as connection:
            lost = connection.scalars(
                sa.select(_POSTINGS.c.entry_id).distinct().where(_POSTINGS.c.entry_id.not_in(sa.select(_ENTRIES.c.id)))
            ).all()
        return problems + [f"postings of '{entry_id}' have no entry" for entry_id in lost]

    def close(self) -> None:
        """Let go of the file. What was posted was on disk before."""
        self._engine.dispose()

    def __enter__(self) -> LedgerStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _transaction(self, mode: str = "DEFERRED") -> Iterator[sa.Connection]:
        """A transaction whose errors are told in words; IMMEDIATE takes the write lock before it reads."""
        try:
            with self._engine.execution_options(begin=mode).begin() as connection:
                yield connection
        except (SQLAlchemyError, UnicodeDecodeError) as problem:  # the latter from a damaged file's text
            reason = getattr(problem, "orig", None) or problem
            raise PoolError(
                f"{self._name} refuses: {reason}", remedy="If the file is damaged, take it from the run's copy."
            ) from None

    @contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _load(self, connection: sa.Connection, condition: sa.ColumnElement[bool]) -> list[tuple[int, Entry]]:
        """At most a page of entries with their numbers, in order."""
        headers = connection.execute(sa.select(_ENTRIES).where(condition).order_by("seq").limit(_PAGE)).all()
        lines: dict[str, list[Posting]] = {header.id: [] for header in headers}
        query = sa.select(_POSTINGS).where(_POSTINGS.c.entry_id.in_(list(lines))).order_by("entry_id", "line")
        for row in connection.execute(query):
            _require_types(self._name, (row.account,), (row.amount_minor,))
            lines[row.entry_id].append(Posting(account=row.account, amount_minor=row.amount_minor))
        return [(header.seq, self._entry(header, tuple(lines[header.id]))) for header in headers]

    def _entry(self, header: sa.Row[Any], postings: tuple[Posting, ...]) -> Entry:
        texts = (header.id, header.at, header.kind, header.currency, header.memo)
        _require_types(self._name, texts, (header.seq, header.num_postings))
        if len(postings) != header.num_postings:
            raise PoolError(
                f"entry '{header.id}' in {self._name} has {len(postings)} postings", expected=str(header.num_postings)
            )
        return Entry(
            id=header.id,
            at=header.at,
            kind=header.kind,
            currency=header.currency,
            memo=header.memo,
            postings=postings,
        )

    def _by_ids(self, connection: sa.Connection, ids: Sequence[str]) -> Iterator[tuple[int, Entry]]:
        for start in range(0, len(ids), _PAGE):
            yield from self._load(connection, _ENTRIES.c.id.in_(ids[start : start + _PAGE]))

    def _require_sound(self) -> None:
        """Refuse a file that is damaged, or whose tables and guards are not those that this version makes."""
        with self._transaction() as connection:
            damage = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
            if damage != ["ok"]:
                raise PoolError(f"{self._name} is damaged: {damage[0]}")
            found = schema_of(connection)
        if found != _expected_schema():
            raise PoolError(
                f"the tables or guards of {self._name} are not a ledger's of this version",
                remedy="If an older version made it, open it once for posting; if not, somebody altered it.",
            )


@functools.cache
def _expected_schema() -> tuple[tuple[str, ...], ...]:
    """What a ledger of this version is made of, by making one in memory."""
    with LedgerStore.open("sqlite://") as fresh, fresh._transaction() as connection:
        return schema_of(connection)


def _with_transactions(engine: sa.Engine) -> sa.Engine:
    """Let SQLAlchemy begin SQLite's transactions; Python's driver would begin them late and leave tables outside."""

    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")

    return engine


def _insert(connection: sa.Connection, entries: Sequence[Entry]) -> None:
    """Postings first: the entry's row then seals them."""
    postings = [
        {"entry_id": entry.id, "line": line, "account": posting.account, "amount_minor": posting.amount_minor}
        for entry in entries
        for line, posting in enumerate(entry.postings)
    ]
    headers = [
        {
            "id": entry.id,
            "at": entry.at,
            "kind": entry.kind,
            "currency": entry.currency,
            "memo": entry.memo,
            "num_postings": len(entry.postings),
        }
        for entry in entries
    ]
    if entries:
        connection.execute(sa.insert(_POSTINGS), postings)
        connection.execute(sa.insert(_ENTRIES), headers)


def _require_same(there: Entry, given: Entry) -> None:
    if there != given:
        raise PoolError(
            f"entry '{given.id}' is there already with other content",
            remedy="An entry never changes: post a correcting entry under an id of its own.",
        )


def _require_types(name: str, texts: tuple[Any, ...], numbers: tuple[Any, ...]) -> None:
    """A damaged SQLite row can hold anything anywhere."""
    if not (all(type(text) is str for text in texts) and all(type(number) is int for number in numbers)):
        raise PoolError(f"{name} is damaged: a value has the wrong type")
