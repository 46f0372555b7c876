"""The steps of a claim: what may be done in which state, and what is signed when it is done.

Each step names the hash of the one before, so that a step signed once fits one place of one claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from fedjoint.agreement.canonical import canonical_bytes, sha256_hex
from fedjoint.errors import PoolError
from fedjoint.identity.keys import Identity
from fedjoint.pool.claim import Decision, Filing, State, check_hashes, check_words
from fedjoint.pool.money import check_minor
from fedjoint.strict import plain, strict

__all__ = [
    "BODIES",
    "FIRST",
    "MAJORITY",
    "PANEL",
    "SIGNED_AS",
    "STEPS",
    "VERBS",
    "Amount",
    "Evidence",
    "Nothing",
    "Panel",
    "Reasons",
    "SignedStep",
    "Step",
    "Verb",
    "file_step",
    "may_follow",
    "moment_of",
    "sign_step",
]

Verb = Literal[
    "file",
    "admit",
    "reject",
    "evidence",
    "convene",
    "decide",
    "serve",
    "appeal",
    "hear",
    "decide_final",
    "conclude",
    "pay",
    "recover",
    "close",
    "withdraw",
    "settle",
]
VERBS: tuple[Verb, ...] = get_args(Verb)
#: Members of a panel, and how many of them decide.
PANEL = 3
MAJORITY = 2
SIGNED_AS = "claim"
_BEFORE_DECIDED: tuple[State, ...] = ("filed", "admitted", "evidence", "adjudication")
#: Verb to the states it may be done in, and the state it leads to.
STEPS: Mapping[Verb, tuple[tuple[State, ...], State]] = {
    "file": (("draft",), "filed"),
    "admit": (("filed",), "admitted"),
    "reject": (("filed",), "rejected_formal"),
    "evidence": (("admitted", "evidence"), "evidence"),
    "convene": (("evidence",), "adjudication"),
    "decide": (("adjudication",), "decided"),
    "serve": (("decided",), "appeal_window"),
    "appeal": (("appeal_window",), "appealed"),
    "hear": (("appealed",), "appealed"),
    "decide_final": (("appealed",), "decided_final"),
    "conclude": (("appeal_window", "decided_final"), "payable"),
    "pay": (("payable",), "paid"),
    "recover": (("paid", "recovery"), "recovery"),
    "close": (("appeal_window", "decided_final", "paid", "recovery"), "closed"),
    "withdraw": (("draft", *_BEFORE_DECIDED), "withdrawn"),
    "settle": (_BEFORE_DECIDED, "settled"),
}


@strict
@dataclass(frozen=True, kw_only=True)
class Step:
    """One transition, as its signers see it.

    Args:
        claim: Its id.
        verb: What is done.
        at: When, ISO 8601 in UTC.
        after: SHA-256 of the signed step before; 64 zeros for the first.
        body: What the verb needs: the filing, reasons, hashes, a panel, a decision, an amount.
    """

    claim: str
    verb: Verb
    at: str
    after: str
    body: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        moment_of(self.at)
        check_hashes("the hash of the step before", (self.after,))


@strict
@dataclass(frozen=True, kw_only=True)
class SignedStep:
    """A step with the signatures of those who make it, by party id."""

    step: Step
    signatures: dict[str, str]

    @property
    def sha256(self) -> str:
        """What the next step names."""
        return sha256_hex(canonical_bytes(self))


@strict
@dataclass(frozen=True, kw_only=True)
class Reasons:
    """Why, in words."""

    reasons: str

    def __post_init__(self) -> None:
        check_words("the reasons", self.reasons)


@strict
@dataclass(frozen=True, kw_only=True)
class Evidence:
    """SHA-256 of documents that stay with the parties."""

    sha256: tuple[str, ...]

    def __post_init__(self) -> None:
        check_hashes("evidence hashes", self.sha256)
        if not self.sha256:
            raise PoolError("evidence without a document", expected="at least one SHA-256")


@strict
@dataclass(frozen=True, kw_only=True)
class Panel:
    """Party ids of three."""

    panel: tuple[str, ...]


@strict
@dataclass(frozen=True, kw_only=True)
class Nothing:
    """The verb says it all."""


@strict
@dataclass(frozen=True, kw_only=True)
class Amount:
    """Minor units, at least 1."""

    amount_minor: int

    def __post_init__(self) -> None:
        check_minor("amount", self.amount_minor, low=1)


BODIES: Mapping[Verb, type[Any]] = {
    "file": Filing,
    "admit": Nothing,
    "reject": Reasons,
    "evidence": Evidence,
    "convene": Panel,
    "decide": Decision,
    "serve": Nothing,
    "appeal": Reasons,
    "hear": Panel,
    "decide_final": Decision,
    "conclude": Nothing,
    "pay": Nothing,
    "recover": Amount,
    "close": Reasons,
    "withdraw": Reasons,
    "settle": Amount,
}
FIRST = "0" * 64


def moment_of(at: str) -> datetime:
    """The moment that an ISO 8601 time in UTC names.

    Raises:
        PoolError: it names none.
    """
    try:
        moment = datetime.fromisoformat(at)
        if moment.utcoffset() == timedelta(0):
            return moment
    except ValueError:
        pass
    raise PoolError(f"'{at[:40]}' is no time", expected="ISO 8601 in UTC, such as 2026-11-30T12:00:00Z")


def sign_step(step: Step, party: Identity) -> str:
    """A party's signature of a step, for :attr:`SignedStep.signatures`."""
    return party.sign(SIGNED_AS, canonical_bytes(step))


def may_follow(state: State) -> tuple[Verb, ...]:
    """What may be done with a claim in a state; nothing at the end.

    Example:
        >>> may_follow("adjudication"), may_follow("closed")
        (('decide', 'withdraw', 'settle'), ())
    """
    return tuple(verb for verb in VERBS if state in STEPS[verb][0])


def file_step(filing: Filing, at: str) -> Step:
    """The step that files a claim, to be signed by the claimant."""
    return Step(claim=filing.id, verb="file", at=at, after=FIRST, body=plain(filing))
