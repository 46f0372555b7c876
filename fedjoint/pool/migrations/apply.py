"""Brings a ledger database to this version, quietly and within the caller's transaction."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from fedjoint.errors import PoolError
from fedjoint.pool.migrations import guards_postgresql, guards_sqlite

__all__ = ["migrate", "missing_guards", "schema_of", "upgrade"]

#: Any number that no other program on the database locks; the ASCII of "fedjoint".
_LOCK = 0x6665646A6F696E74
_TRIGGER = re.compile(r"CREATE (?:CONSTRAINT )?TRIGGER (\w+)")


def migrate(connection: sa.Connection, *, folder: Path | None = None, what: str = "the ledger") -> None:
    """Apply the versions that are missing, all or none.

    Args:
        connection: Inside a transaction, which the caller commits.
        folder: Of the migrations; None: the ledger's.
        what: Is kept in the database, for messages.

    Raises:
        PoolError: the database was made by a later version of fedjoint.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if connection.dialect.name == "postgresql":  # of two that open a new database, one makes it and the other waits
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    try:
        upgrade(connection, "head", folder=folder)
    except CommandError as problem:
        raise PoolError(
            f"{what} is of a version that this fedjoint does not know: {problem}",
            remedy="Open it with the fedjoint that made it, or a later one.",
        ) from None


def upgrade(connection: sa.Connection, version: str, *, folder: Path | None = None) -> None:
    """Apply the versions up to one of them, or to ``head``.

    Args:
        connection: Inside a transaction, which the caller commits.
        version: Its name.
        folder: Of the migrations; None: the ledger's.
    """
    config = Config()
    config.set_main_option("script_location", str(folder or Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, version)


def missing_guards(connection: sa.Connection) -> list[str]:
    """Names of the ledger's triggers that somebody took away or switched off."""
    if connection.dialect.name == "sqlite":
        made, query = guards_sqlite.GUARDS, "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    else:
        made = guards_postgresql.GUARDS
        query = (
            "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
            " WHERE tgenabled IN ('O', 'A') AND relnamespace = current_schema()::regnamespace"
        )
    there = set(connection.exec_driver_sql(query).scalars())
    names = [name for statement in made for name in _TRIGGER.findall(statement)]
    return [name for name in names if name not in there]


def schema_of(connection: sa.Connection) -> tuple[tuple[str, ...], ...]:
    """What a SQLite ledger is made of: its version, and the SQL of each table, index, view and trigger."""
    versions = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars()
    parts = connection.exec_driver_sql(
        "SELECT type, name, tbl_name, COALESCE(sql, '') FROM sqlite_master ORDER BY name"
    )
    return (tuple(versions), *(tuple(str(value) for value in part) for part in parts))
