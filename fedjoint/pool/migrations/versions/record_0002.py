"""The pool's record: events in the order they happened, and the signed checkpoints of their Merkle tree.

An event's number is its place in the tree: a trigger refuses a gap, and others refuse every change.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "record_0002"
down_revision = "ledger_0001"
branch_labels = None
depends_on = None

_TABLES = ("events", "checkpoints")
_SQLITE = (
    """
    CREATE TRIGGER event_next BEFORE INSERT ON events
    WHEN NEW.seq <> (SELECT COUNT(*) FROM events)
    BEGIN SELECT RAISE(ABORT, 'an event is not the next one'); END
    """,
    *(
        f"""
        CREATE TRIGGER {table}_refuse_{verb.lower()} BEFORE {verb} ON {table}
        BEGIN SELECT RAISE(ABORT, 'what is recorded never changes'); END
        """
        for table in _TABLES
        for verb in ("UPDATE", "DELETE")
    ),
)
_POSTGRESQL = (
    """
    CREATE FUNCTION record_next() RETURNS trigger LANGUAGE plpgsql AS $guard$
    BEGIN
        IF NEW.seq <> (SELECT COALESCE(MAX(seq) + 1, 0) FROM events) THEN
            RAISE EXCEPTION 'an event is not the next one' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END
    $guard$
    """,
    "CREATE TRIGGER event_next BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION record_next()",
    *(
        f"CREATE TRIGGER {table}_refuse_change BEFORE UPDATE OR DELETE ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION ledger_refuse()"
        for table in _TABLES
    ),
    *(
        f"CREATE TRIGGER {table}_refuse_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION ledger_refuse()"
        for table in _TABLES
    ),
)


def upgrade() -> None:
    connection = op.get_bind()
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("line", sa.Text, nullable=False),
    )
    op.create_table(
        "checkpoints",
        sa.Column("size", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("line", sa.Text, nullable=False),
    )
    for statement in _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL:
        connection.exec_driver_sql(statement)
