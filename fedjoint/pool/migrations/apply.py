"""Brings a ledger database to this version, quietly and within the caller's transaction."""

from __future__ import annotations

import logging
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from fedjoint.errors import PoolError

__all__ = ["migrate", "schema_of"]

#: Any number that no other program on the database locks; the ASCII of "fedjoint".
_LOCK = 0x6665646A6F696E74


def migrate(connection: sa.Connection) -> None:
    """Apply the versions that are missing, all or none.

    Args:
        connection: Inside a transaction, which the caller commits.

    Raises:
        PoolError: the database was made by a later version of fedjoint.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if connection.dialect.name == "postgresql":  # of two that open a new database, one makes it and the other waits
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as problem:
        raise PoolError(
            f"the ledger is of a version that this fedjoint does not know: {problem}",
            remedy="Open it with the fedjoint that made it, or a later one.",
        ) from None


def schema_of(connection: sa.Connection) -> tuple[tuple[str, ...], ...]:
    """What a SQLite ledger is made of: its version, and the SQL of each table, index, view and trigger."""
    versions = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars()
    parts = connection.exec_driver_sql(
        "SELECT type, name, tbl_name, COALESCE(sql, '') FROM sqlite_master ORDER BY name"
    )
    return (tuple(versions), *(tuple(str(value) for value in part) for part in parts))
