"""Entries, their postings and the balances they make, which the database itself keeps balanced and unchanged.

Postings are written first and the entry's row seals them: a trigger refuses the row unless its postings are all there
and sum to zero, and another refuses postings to a sealed entry. So every entry in the table is complete and balanced,
whoever wrote it. Sealing moves the balances, and no other statement can. Postings without an entry count for nothing
and a deferred foreign key refuses them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fedjoint.pool.migrations import guards_postgresql, guards_sqlite

revision = "ledger_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    sqlite = connection.dialect.name == "sqlite"
    _create_entries(sqlite=sqlite)
    _create_postings(sqlite=sqlite)
    _create_balances(sqlite=sqlite)
    for statement in (guards_sqlite if sqlite else guards_postgresql).GUARDS:
        connection.exec_driver_sql(statement)


def _create_entries(*, sqlite: bool) -> None:
    op.create_table(
        "entries",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(127), nullable=False, unique=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("memo", sa.String(500), nullable=False),
        sa.Column("phase", sa.String(8), nullable=False),
        sa.Column("resolves", sa.String(127), sa.ForeignKey("entries.id"), unique=True),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("num_postings", sa.Integer, nullable=False),
        sa.CheckConstraint("num_postings >= 2 OR (phase = 'voided' AND num_postings = 0)", name="two_postings"),
        sa.CheckConstraint(
            "phase = 'posted' OR (phase = 'pending' AND resolves IS NULL)"
            " OR (phase = 'voided' AND resolves IS NOT NULL AND num_postings = 0)",
            name="known_phase",
        ),
        *_sqlite_types(
            sqlite, text=("id", "at", "kind", "currency", "memo", "phase", "details"), integer=("num_postings",)
        ),
        *([sa.CheckConstraint("typeof(resolves) IN ('null', 'text')", name="resolves_type")] if sqlite else []),
        sqlite_autoincrement=True,
    )
    pending = sa.text("phase = 'pending'")
    op.create_index("entries_pending", "entries", ["seq"], sqlite_where=pending, postgresql_where=pending)


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


def _create_balances(*, sqlite: bool) -> None:
    numbers = ("posted_minor", "pending_in_minor", "pending_out_minor", "version", "last_seq")
    op.create_table(
        "balances",
        sa.Column("currency", sa.String(3), primary_key=True),
        sa.Column("account", sa.String(80), primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in numbers),
        *_sqlite_types(sqlite, text=("currency", "account"), integer=numbers),
        sqlite_with_rowid=False,
    )


def _sqlite_types(sqlite: bool, *, text: tuple[str, ...], integer: tuple[str, ...]) -> tuple[sa.CheckConstraint, ...]:
    """SQLite stores any type in any column, a float among the amounts, unless it is told not to."""
    kinds = [*((name, "text") for name in text), *((name, "integer") for name in integer)]
    return tuple(
        sa.CheckConstraint(f"typeof({name}) = '{kind}'", name=f"{name}_type") for name, kind in kinds if sqlite
    )
