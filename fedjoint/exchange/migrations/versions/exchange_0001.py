"""Parties, invitations, certificates, datasets, agreements with their signatures, runs, statements, wishes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "exchange_0001"
down_revision = None
branch_labels = None
depends_on = None

_SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _make_members()
    _make_agreements()
    _make_runs()
    op.create_table(
        "wishes",
        sa.Column("name", sa.String(20), primary_key=True),
        sa.Column("at", sa.String(32), nullable=False),
    )


def _make_members() -> None:
    op.create_table(
        "parties",
        sa.Column("id", sa.String(63), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("signing_key", sa.String(64), nullable=False),
        sa.Column("sealing_key", sa.String(64), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("changed_at", sa.String(32), nullable=False),
    )
    op.create_table(
        "invitations",
        sa.Column("serial", sa.String(40), primary_key=True),
        sa.Column("party", sa.String(63), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("token_sha256", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.String(32), nullable=False),
        sa.Column("used_at", sa.String(32), nullable=True),
        sa.Column("request_sha256", sa.String(64), nullable=True),
        sa.Column("certificate", sa.Text, nullable=True),
        sa.Column("revoked_at", sa.String(32), nullable=True),
    )
    op.create_table(
        "certificates",
        sa.Column("serial", sa.String(40), primary_key=True),
        sa.Column("party", sa.String(63), nullable=False),
        sa.Column("issued_at", sa.String(32), nullable=False),
        sa.Column("expires_at", sa.String(32), nullable=False),
        sa.Column("request_sha256", sa.String(64), nullable=False),
        sa.Column("pem", sa.Text, nullable=False),
        sa.Column("revoked_at", sa.String(32), nullable=True),
        sa.Column("reason", sa.String(500), nullable=False, server_default=""),
        sa.UniqueConstraint("party", "request_sha256"),
    )
    op.create_table(
        "datasets",
        sa.Column("party", sa.String(63), primary_key=True),
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("schema", sa.Text, nullable=False),
        sa.Column("num_examples", _SEQ, nullable=False),
        sa.Column("unit", sa.String(8), nullable=False),
        sa.Column("fits", sa.Boolean, nullable=False),
        sa.Column("columns", sa.Integer, nullable=False),
        sa.Column("present", sa.Integer, nullable=False),
        sa.Column("registered_at", sa.String(32), nullable=False),
    )


def _make_agreements() -> None:
    op.create_table(
        "agreements",
        sa.Column("seq", _SEQ, primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("proposed_at", sa.String(32), nullable=False),
    )
    op.create_table(
        "signatures",
        sa.Column("agreement", sa.String(64), sa.ForeignKey("agreements.sha256"), primary_key=True),
        sa.Column("party", sa.String(63), primary_key=True),
        sa.Column("signature", sa.String(128), nullable=True),
        sa.Column("said_at", sa.String(32), nullable=True),
        sa.Column("declined", sa.String(500), nullable=True),
    )


def _make_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("seq", _SEQ, primary_key=True),
        sa.Column("run_id", sa.String(32), nullable=False, unique=True),
        sa.Column("agreement", sa.String(64), sa.ForeignKey("agreements.sha256"), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("gross_minor", _SEQ, nullable=False),
        sa.Column("buyer", sa.String(63), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("queued_at", sa.String(32), nullable=False),
        sa.Column("started_at", sa.String(32), nullable=True),
        sa.Column("ended_at", sa.String(32), nullable=True),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("rounds", sa.Integer, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("model_sha256", sa.String(64), nullable=True),
        sa.Column("stragglers", sa.Text, nullable=False),
    )
    op.create_table(
        "statements",
        sa.Column("seq", _SEQ, primary_key=True),
        sa.Column("run_id", sa.String(32), sa.ForeignKey("runs.run_id"), nullable=False),
        sa.Column("party", sa.String(63), nullable=False),
        sa.Column("agreement", sa.String(64), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.UniqueConstraint("run_id", "party"),
    )
