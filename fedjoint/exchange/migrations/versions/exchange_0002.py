"""Signatures of claim steps that wait for more, and statements of the pool."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "exchange_0002"
down_revision = "exchange_0001"
branch_labels = None
depends_on = None


_SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "pool_statements",
        sa.Column("seq", _SEQ, primary_key=True),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column("party", sa.String(63), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "claim_signatures",
        sa.Column("step_sha256", sa.String(64), primary_key=True),
        sa.Column("party", sa.String(63), primary_key=True),
        sa.Column("claim", sa.String(41), nullable=False),
        sa.Column("after", sa.String(64), nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("signature", sa.String(128), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
    )
