"""Parties and signed steps for the tests of claims."""

from __future__ import annotations

from typing import Any

from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.identity.keys import Identity
from fedjoint.pool.claim import Claim, Filing
from fedjoint.pool.claim_rules import Docket
from fedjoint.pool.claim_step import FIRST, SignedStep, Step, sign_step

NAMES = ("exchange", "owner", "a", "b", "c", "p1", "p2", "p3", "q1", "q2", "q3")
PEOPLE = {name: Identity.create(name, name.upper()) for name in NAMES}
DOCKET = Docket(terms=ClaimTerms(), exchange="exchange", parties={name: one.public for name, one in PEOPLE.items()})
FILING = Filing(
    id="t-1",
    kind="quality misrepresentation",
    claimant="owner",
    respondent="a",
    currency="CNY",
    amount_minor=1_000,
    statement="the labels are not what the certificate says",
)
UPHELD = {"upheld": True, "amount_minor": 1_000, "reasons": "it is so"}
DISMISSED = {"upheld": False, "amount_minor": 0, "reasons": "it is not so"}


def at(day: int) -> str:
    """A day of 2026, counted from 1 January."""
    from datetime import UTC, datetime, timedelta

    return (datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=day)).isoformat().replace("+00:00", "Z")


def signed(
    claim: Claim | None, verb: Any, *signers: str, day: int = 0, body: Any = None, claim_id: str = "t-1"
) -> SignedStep:
    """The next step of a claim."""
    after = claim.head if claim is not None else FIRST
    step = Step(claim=claim_id, verb=verb, at=at(day), after=after, body=body or {})
    return SignedStep(step=step, signatures={name: sign_step(step, PEOPLE[name]) for name in signers})
