"""Entries and their postings, which the database itself keeps balanced and unchanged.

Postings are written first and the entry's row seals them: a trigger refuses the row unless its postings are all there
and sum to zero, and another refuses postings to a sealed entry. So every entry in the table is complete and balanced,
whoever wrote it. Postings without an entry count for nothing (see the view) and a deferred foreign key refuses them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "ledger_0001"
down_revision = None
branch_labels = None
depends_on = None

#: OR REPLACE deletes rows without firing delete triggers: hence the look at both keys, and postings without a rowid.
SQLITE_GUARDS = (
    """
    CREATE TRIGGER postings_of_a_sealed_entry BEFORE INSERT ON postings
    WHEN EXISTS (SELECT 1 FROM entries WHERE id = NEW.entry_id)
    BEGIN SELECT RAISE(ABORT, 'the entry is sealed and takes no more postings'); END
    """,
    """
    CREATE TRIGGER entry_once BEFORE INSERT ON entries
    WHEN EXISTS (SELECT 1 FROM entries WHERE id = NEW.id OR seq = NEW.seq)
    BEGIN SELECT RAISE(ABORT, 'the entry is there already'); END
    """,
    """
    CREATE TRIGGER entry_complete BEFORE INSERT ON entries
    WHEN (SELECT COUNT(*) FROM postings WHERE entry_id = NEW.id) <> NEW.num_postings
    BEGIN SELECT RAISE(ABORT, 'the entry lacks postings, or has more than it says'); END
    """,
    """
    CREATE TRIGGER entry_balanced BEFORE INSERT ON entries
    WHEN (SELECT COALESCE(SUM(amount_minor), 1) FROM postings WHERE entry_id = NEW.id) <> 0
    BEGIN SELECT RAISE(ABORT, 'the entry is unbalanced'); END
    """,
    *(
        f"""
        CREATE TRIGGER {table}_refuse_{verb.lower()} BEFORE {verb} ON {table}
        BEGIN SELECT RAISE(ABORT, 'a posted row never changes: post a correcting entry'); END
        """
        for table in ("entries", "postings")
        for verb in ("UPDATE", "DELETE")
    ),
)


def upgrade() -> None:
    connection = op.get_bind()
    sqlite = connection.dialect.name == "sqlite"
    _create_entries(sqlite=sqlite)
    _create_postings(sqlite=sqlite)
    connection.exec_driver_sql(
        """
        CREATE VIEW balances AS
        SELECT entries.currency, postings.account, SUM(postings.amount_minor) AS amount_minor
        FROM postings JOIN entries ON entries.id = postings.entry_id
        GROUP BY entries.currency, postings.account
        """
    )
    if sqlite:
        for statement in SQLITE_GUARDS:
            connection.exec_driver_sql(statement)


def _create_entries(*, sqlite: bool) -> None:
    op.create_table(
        "entries",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(127), nullable=False, unique=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("memo", sa.String(500), nullable=False),
        sa.Column("num_postings", sa.Integer, nullable=False),
        sa.CheckConstraint("num_postings >= 2", name="two_postings"),
        *_sqlite_types(sqlite, text=("id", "at", "kind", "currency", "memo"), integer=("num_postings",)),
        sqlite_autoincrement=True,
    )


def _create_postings(*, sqlite: bool) -> None:
    op.create_table(
        "postings",
        sa.Column(
            "entry_id",
            sa.String(127),
            sa.ForeignKey("entries.id", deferrable=True, initially="DEFERRED"),
            primary_key=True,
        ),
        sa.Column("line", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("account", sa.String(80), nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("entry_id", "account"),
        sa.CheckConstraint(
            "amount_minor BETWEEN -1000000000000000 AND 1000000000000000 AND amount_minor <> 0", name="amount_bounds"
        ),
        *_sqlite_types(sqlite, text=("entry_id", "account"), integer=("line", "amount_minor")),
        sqlite_with_rowid=False,
    )


def _sqlite_types(sqlite: bool, *, text: tuple[str, ...], integer: tuple[str, ...]) -> tuple[sa.CheckConstraint, ...]:
    """SQLite stores any type in any column, a float among the amounts, unless it is told not to."""
    kinds = [*((name, "text") for name in text), *((name, "integer") for name in integer)]
    return tuple(
        sa.CheckConstraint(f"typeof({name}) = '{kind}'", name=f"{name}_type") for name, kind in kinds if sqlite
    )
