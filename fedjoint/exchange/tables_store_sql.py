"""The exchange's tables as they are queried (SQLAlchemy); the migrations make them."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = [
    "AGREEMENTS",
    "CERTIFICATES",
    "CLAIM_SIGNATURES",
    "DATASETS",
    "INVITATIONS",
    "METADATA",
    "PARTIES",
    "POOL_STATEMENTS",
    "RUNS",
    "SIGNATURES",
    "STATEMENTS",
    "WISHES",
]

METADATA = sa.MetaData()


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _party() -> sa.Column[str]:
    return sa.Column("party", sa.String(63), nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[str]:
    """ISO 8601 in UTC, so that text sorts as time does."""
    return sa.Column(name, sa.String(32), nullable=nullable)


def _sha256(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(64), nullable=nullable)


#: Who is or was let in; keys are empty until the party has enrolled.
PARTIES = sa.Table(
    "parties",
    METADATA,
    sa.Column("id", sa.String(63), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("signing_key", sa.String(64), nullable=False),
    sa.Column("sealing_key", sa.String(64), nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    _time("changed_at"),
)
#: By the serial number of the bootstrap certificate. Of the token only its hash is kept.
INVITATIONS = sa.Table(
    "invitations",
    METADATA,
    sa.Column("serial", sa.String(40), primary_key=True),
    _party(),
    sa.Column("name", sa.String(200), nullable=False),
    _sha256("token_sha256"),
    _time("expires_at"),
    _time("used_at", nullable=True),
    _sha256("request_sha256", nullable=True),
    sa.Column("certificate", sa.Text, nullable=True),
    _time("revoked_at", nullable=True),
)
#: Every certificate of a holder; one that is not here is good for nothing.
CERTIFICATES = sa.Table(
    "certificates",
    METADATA,
    sa.Column("serial", sa.String(40), primary_key=True),
    _party(),
    _time("issued_at"),
    _time("expires_at"),
    _sha256("request_sha256"),
    sa.Column("pem", sa.Text, nullable=False),
    _time("revoked_at", nullable=True),
    sa.Column("reason", sa.String(500), nullable=False, server_default=""),
    sa.UniqueConstraint("party", "request_sha256"),
)
DATASETS = sa.Table(
    "datasets",
    METADATA,
    sa.Column("party", sa.String(63), primary_key=True),
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("schema", sa.Text, nullable=False),
    sa.Column("num_examples", _number(), nullable=False),
    sa.Column("unit", sa.String(8), nullable=False),
    sa.Column("fits", sa.Boolean, nullable=False),
    sa.Column("columns", sa.Integer, nullable=False),
    sa.Column("present", sa.Integer, nullable=False),
    _time("registered_at"),
)
AGREEMENTS = sa.Table(
    "agreements",
    METADATA,
    sa.Column("seq", _number(), primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("document", sa.Text, nullable=False),
    _time("proposed_at"),
)
#: One row for each holder of an agreement: what it said to it.
SIGNATURES = sa.Table(
    "signatures",
    METADATA,
    sa.Column("agreement", sa.String(64), sa.ForeignKey("agreements.sha256"), primary_key=True),
    sa.Column("party", sa.String(63), primary_key=True),
    sa.Column("signature", sa.String(128), nullable=True),
    _time("said_at", nullable=True),
    sa.Column("declined", sa.String(500), nullable=True),
)
RUNS = sa.Table(
    "runs",
    METADATA,
    sa.Column("seq", _number(), primary_key=True),
    sa.Column("run_id", sa.String(32), nullable=False, unique=True),
    sa.Column("agreement", sa.String(64), sa.ForeignKey("agreements.sha256"), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("gross_minor", _number(), nullable=False),
    sa.Column("buyer", sa.String(63), nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    _time("queued_at"),
    _time("started_at", nullable=True),
    _time("ended_at", nullable=True),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("rounds", sa.Integer, nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    _sha256("model_sha256", nullable=True),
    sa.Column("stragglers", sa.Text, nullable=False),
)
STATEMENTS = sa.Table(
    "statements",
    METADATA,
    sa.Column("seq", _number(), primary_key=True),
    sa.Column("run_id", sa.String(32), sa.ForeignKey("runs.run_id"), nullable=False),
    _party(),
    _sha256("agreement"),
    _time("at"),
    sa.Column("document", sa.Text, nullable=False),
    sa.UniqueConstraint("run_id", "party"),
)
#: Statements of the pool that the exchange keeps, for their holders to fetch.
POOL_STATEMENTS = sa.Table(
    "pool_statements",
    METADATA,
    sa.Column("seq", _number(), primary_key=True),
    sa.Column("id", sa.String(40), nullable=False, unique=True),
    _party(),
    _time("at"),
    sa.Column("document", sa.Text, nullable=False),
)
#: Signatures of a claim's next step while there are too few of them, by the step's hash.
CLAIM_SIGNATURES = sa.Table(
    "claim_signatures",
    METADATA,
    sa.Column("step_sha256", sa.String(64), primary_key=True),
    sa.Column("party", sa.String(63), primary_key=True),
    sa.Column("claim", sa.String(41), nullable=False),
    _sha256("after"),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("signature", sa.String(128), nullable=False),
    _time("at"),
)
#: What an operator asked of the process that serves, such as to stop.
WISHES = sa.Table("wishes", METADATA, sa.Column("name", sa.String(20), primary_key=True), _time("at"))
