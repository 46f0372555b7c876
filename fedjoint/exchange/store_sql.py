"""The exchange's database: SQLite in its folder, or PostgreSQL by URL."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from fedjoint.exchange.agreements_store_sql import Agreements
from fedjoint.exchange.claims_store_sql import ClaimSignatures
from fedjoint.exchange.members_store_sql import Members
from fedjoint.exchange.runs_store_sql import PoolStatements, Runs, Wishes
from fedjoint.pool.engine_store_sql import Database
from fedjoint.pool.migrations.apply import migrate

__all__ = ["ExchangeStore"]

_MIGRATIONS = Path(__file__).parent / "migrations"


class ExchangeStore:
    """What an exchange must not forget; a context manager. Several processes may have it open.

    Args:
        database: Reached already.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.members, self.agreements = Members(database), Agreements(database)
        self.runs, self.wishes = Runs(database), Wishes(database)
        self.pool_statements = PoolStatements(database)
        self.claim_signatures = ClaimSignatures(database)

    @classmethod
    def open(cls, url: str) -> ExchangeStore:
        """Open a database; make it, or bring it to this version, where needed.

        Args:
            url: SQLAlchemy's, of SQLite or PostgreSQL.

        Raises:
            PoolError: no such kind of database, not readable, or made by a later version.
        """
        store = cls(Database.open(url))
        try:
            store.database.write(
                lambda connection: migrate(connection, folder=_MIGRATIONS, what="the exchange's database")
            )
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Let go of every connection."""
        self.database.engine.dispose()

    def __enter__(self) -> ExchangeStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
