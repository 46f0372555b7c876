"""How the books' database is reached (SQLAlchemy): URLs, connections, transactions, and what is tried again."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from fedjoint.errors import PoolError

__all__ = ["POOL_FILE", "Database", "database_url", "name_of"]

T = TypeVar("T")

#: A pool's SQLite database in its folder.
POOL_FILE = "pool.sqlite"
#: The environment variable that names the database where no option does.
URL_VARIABLE = "FEDJOINT_DATABASE_URL"
_BUSY_S = 30
_ATTEMPTS = 12
_FIRST_PAUSE_S = 0.005
#: A connection that was used within this time is believed to be there still.
_IDLE_S = 1.0
#: PostgreSQL: serialisation failure, deadlock, and a key that another transaction has just written.
_TRY_AGAIN = ("40001", "40P01", "23505")


def database_url(option: str | None, environment: Mapping[str, str], *, default: str) -> str:
    """Which database to use: the option, else the environment's ``FEDJOINT_DATABASE_URL``, else the default.

    Args:
        option: What the command line said; every user of the machine can read it, so it may hold no password.
        environment: Such as ``os.environ``.
        default: SQLAlchemy URL.

    Raises:
        PoolError: the option holds a password, or is malformed.

    Example:
        >>> database_url(None, {}, default="sqlite:////data/ledger.sqlite")
        'sqlite:////data/ledger.sqlite'
    """
    if option is not None and _parsed(option).password is not None:
        raise PoolError(
            "the database URL on the command line holds a password, which every user of this machine can read",
            remedy=f"Put the password into ~/.pgpass (mode 0600), or the URL into {URL_VARIABLE}.",
        )
    return option or environment.get(URL_VARIABLE) or default


def name_of(url: str) -> str:
    """A database's name for messages, without password, user or folder.

    Raises:
        PoolError: malformed.
    """
    parsed = _parsed(url)
    return Path(parsed.database).name if parsed.database else "ledger in memory"


class Database:
    """An engine whose transactions begin as money needs them, and whose errors are told in words.

    Args:
        engine: SQLAlchemy's.
        name: For messages.
        sleep: Waits so many seconds between attempts.
    """

    def __init__(self, engine: sa.Engine, name: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self.engine, self.name, self._sleep = engine, name, sleep
        self.is_sqlite = engine.dialect.name == "sqlite"
        # made once: SQLAlchemy takes a tenth of a posting's time to make an engine with options
        self._reading = self._engine_for(begin="DEFERRED", isolation="REPEATABLE READ")
        self._writing = self._engine_for(begin="IMMEDIATE", isolation="READ COMMITTED")

    @classmethod
    def open(cls, url: str) -> Database:
        """Reach a SQLite or PostgreSQL database; nothing is read yet.

        Raises:
            PoolError: a malformed URL, another kind of database, or no driver.
        """
        parsed = _parsed(url)
        kind = parsed.get_backend_name()
        if kind == "sqlite":
            engine = sa.create_engine(parsed, connect_args={"timeout": _BUSY_S})
            return cls(_with_transactions(engine, wal=bool(parsed.database)), name_of(url))
        if kind != "postgresql":
            raise PoolError(f"the ledger cannot be kept in '{kind}'", expected="a URL of sqlite or postgresql")
        try:
            engine = _asking_when_idle(sa.create_engine(parsed.set(drivername="postgresql+psycopg")))
        except ImportError:
            raise PoolError(
                "there is no driver for PostgreSQL", remedy="Install it: pip install 'fedjoint[postgresql]'."
            ) from None
        return cls(engine, name_of(url))

    @classmethod
    def open_file_readonly(cls, path: Path) -> Database:
        """Reach a SQLite file that nothing writes to meanwhile; neither it nor its folder is written to."""
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        engine = sa.create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(uri, uri=True, check_same_thread=False),
            poolclass=sa.StaticPool,
        )
        return cls(_with_transactions(engine, wal=False), path.name)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state of the books.

        Raises:
            PoolError: the database cannot be read.
        """
        try:
            with self._reading.begin() as connection:
                yield connection
        except (SQLAlchemyError, UnicodeDecodeError) as problem:  # the latter from a damaged file's text
            raise self._refusal(problem) from None

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Do some work in one transaction; from the start again, if another transaction got in its way.

        SQLite's takes the write lock before it reads (BEGIN IMMEDIATE); PostgreSQL's reads what is committed.

        Raises:
            PoolError: the database refuses, or others got in the way too often.
        """
        for attempt in range(_ATTEMPTS):
            try:
                with self._writing.begin() as connection:
                    return work(connection)
            except SQLAlchemyError as problem:
                if not _may_succeed_again(problem) or attempt + 1 == _ATTEMPTS:
                    raise self._refusal(problem) from None
                self._sleep(_FIRST_PAUSE_S * 2**attempt)
            except UnicodeDecodeError as problem:
                raise self._refusal(problem) from None
        raise AssertionError("unreachable")

    def _engine_for(self, *, begin: str, isolation: str) -> sa.Engine:
        if self.is_sqlite:
            return self.engine.execution_options(begin=begin)
        return self.engine.execution_options(isolation_level=isolation)

    def _refusal(self, problem: Exception) -> PoolError:
        reason = str(getattr(problem, "orig", None) or problem).partition("\n")[0]
        damaged = "If the file is damaged, take it from a backup." if self.is_sqlite else ""
        return PoolError(f"{self.name} refuses: {reason}", remedy=damaged)


def _asking_when_idle(engine: sa.Engine) -> sa.Engine:
    """Ask a connection that has waited a while whether it is still there; after one that is not, a new one is made.

    SQLAlchemy's own pre-ping asks before each transaction, which costs a posting a tenth of its time.
    """

    @sa.event.listens_for(engine, "checkin")
    def _on_checkin(_: object, record: sa.pool.ConnectionPoolEntry) -> None:
        record.info["since"] = time.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def _on_checkout(connection: Any, record: sa.pool.ConnectionPoolEntry, _: object) -> None:
        if time.monotonic() - record.info.get("since", float("inf")) < _IDLE_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.dbapi.Error as problem:  # type: ignore[union-attr]
            raise sa.exc.DisconnectionError(str(problem)) from None

    return engine


def _parsed(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except SQLAlchemyError:
        raise PoolError("the database URL is malformed", expected="such as sqlite:////data/ledger.sqlite") from None


def _may_succeed_again(problem: SQLAlchemyError) -> bool:
    """Whether only the moment was wrong."""
    orig = getattr(problem, "orig", None)
    if isinstance(orig, sqlite3.OperationalError):
        return orig.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    return getattr(orig, "sqlstate", None) in _TRY_AGAIN


def _with_transactions(engine: sa.Engine, *, wal: bool) -> sa.Engine:
    """Let SQLAlchemy begin SQLite's transactions; Python's driver would begin them late and leave tables outside.

    With a write-ahead log one commit is one write to disk, and readers wait for no writer. It is part of the file
    again when the last connection closes.
    """

    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        if wal:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")

    return engine
