"""The state machine of a claim: signed steps, and nothing else, take it from draft to closed.

Each step names the hash of the one before, so that a step signed once fits one place of one claim. What a step means in
money is :mod:`fedjoint.pool.claim_money`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Literal, get_args

from fedjoint.agreement.canonical import canonical_bytes, sha256_hex
from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.errors import IdentityError, PoolError
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.pool.claim import Claim, Decision, Filing, State, check_hashes, check_words
from fedjoint.pool.money import check_minor
from fedjoint.strict import build, plain, strict

__all__ = [
    "PANEL",
    "STEPS",
    "VERBS",
    "Docket",
    "SignedStep",
    "Step",
    "Verb",
    "advance",
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
#: Members of a panel; two of them decide.
PANEL = 3
_MAJORITY = 2
_PURPOSE = "claim"
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


@dataclass(frozen=True, kw_only=True)
class Docket:
    """What the rules need to know beyond the claim.

    Args:
        terms: The agreed rules.
        exchange: Party id of the coordinator.
        parties: Who may sign, by party id.
        interested: Who would gain or lose by this claim beside its parties: they judge nothing.
    """

    terms: ClaimTerms
    exchange: str
    parties: Mapping[str, PublicIdentity]
    interested: frozenset[str] = frozenset()


@strict
@dataclass(frozen=True, kw_only=True)
class _Reasons:
    reasons: str

    def __post_init__(self) -> None:
        check_words("the reasons", self.reasons)


@strict
@dataclass(frozen=True, kw_only=True)
class _Evidence:
    sha256: tuple[str, ...]

    def __post_init__(self) -> None:
        check_hashes("evidence hashes", self.sha256)
        if not self.sha256:
            raise PoolError("evidence without a document", expected="at least one SHA-256")


@strict
@dataclass(frozen=True, kw_only=True)
class _Panel:
    panel: tuple[str, ...]


@strict
@dataclass(frozen=True, kw_only=True)
class _Nothing:
    pass


@strict
@dataclass(frozen=True, kw_only=True)
class _Amount:
    amount_minor: int

    def __post_init__(self) -> None:
        check_minor("amount", self.amount_minor, low=1)


_BODIES: Mapping[Verb, type[Any]] = {
    "file": Filing,
    "admit": _Nothing,
    "reject": _Reasons,
    "evidence": _Evidence,
    "convene": _Panel,
    "decide": Decision,
    "serve": _Nothing,
    "appeal": _Reasons,
    "hear": _Panel,
    "decide_final": Decision,
    "conclude": _Nothing,
    "pay": _Nothing,
    "recover": _Amount,
    "close": _Reasons,
    "withdraw": _Reasons,
    "settle": _Amount,
}
_FIRST = "0" * 64


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
    return party.sign(_PURPOSE, canonical_bytes(step))


def may_follow(state: State) -> tuple[Verb, ...]:
    """What may be done with a claim in a state; nothing at the end.

    Example:
        >>> may_follow("adjudication"), may_follow("closed")
        (('decide', 'withdraw', 'settle'), ())
    """
    return tuple(verb for verb in VERBS if state in STEPS[verb][0])


def advance(claim: Claim | None, signed: SignedStep, docket: Docket) -> Claim:
    """The claim after a step.

    Args:
        claim: Before; None for the step that files it.
        signed: The step and its signatures.
        docket: Rules and parties.

    Raises:
        PoolError: the step does not follow from the claim's state, comes at the wrong time, is signed by the wrong
            parties, or its content does not fit.

    Guarantees:
        No state is reached but by :data:`STEPS`; no money is thought of here.
    """
    step = signed.step
    state: State = claim.state if claim is not None else "draft"
    sources, target = STEPS[step.verb]
    if state not in sources:
        then = ", ".join(may_follow(state)) or "nothing: it has ended"
        raise PoolError(f"'{step.verb}' of claim '{step.claim}', which is {state}", expected=then)
    if claim is None:
        claim = _draft(step)
    if step.claim != claim.filing.id or step.after != claim.head:
        raise PoolError(
            f"'{step.verb}' was signed for another place than after step {claim.count} of claim '{claim.filing.id}'",
            remedy="Show the claim, and sign the step that follows its last one.",
        )
    if moment_of(step.at) < moment_of(claim.moved_at):
        raise PoolError(f"'{step.verb}' at {step.at}", expected=f"after the step before, {claim.moved_at}")
    body = build(_BODIES[step.verb], step.body, error=PoolError, where=step.verb)
    changed = _apply(claim, step, body, docket)
    _require_signers(claim, signed, docket)
    return dataclasses.replace(changed, state=target, head=signed.sha256, count=claim.count + 1, moved_at=step.at)


def _draft(step: Step) -> Claim:
    if step.verb != "file":
        raise PoolError(f"'{step.verb}' of claim '{step.claim}', which was never filed", expected="file")
    filing = build(Filing, step.body, error=PoolError, where="filing")
    return Claim(filing=filing, state="draft", head=_FIRST, count=0, filed_at=step.at, moved_at=step.at)


def _apply(claim: Claim, step: Step, body: Any, docket: Docket) -> Claim:
    """What the step's content changes, once it is found right."""
    filing = claim.filing
    match step.verb:
        case "file":
            for party in (filing.claimant, filing.respondent):
                _require_party(party, docket)
            if (filing.respondent == docket.exchange) != (filing.kind == "coordinator failure"):
                raise PoolError(
                    f"a claim of {filing.kind} against '{filing.respondent}'",
                    expected="coordinator failure against the exchange, any other kind against a holder",
                )
        case "evidence":
            check_hashes("evidence hashes", (*filing.evidence, *body.sha256))
            return dataclasses.replace(
                claim, filing=dataclasses.replace(filing, evidence=(*filing.evidence, *body.sha256))
            )
        case "convene":
            return dataclasses.replace(claim, panel=_checked_panel(claim, body.panel, docket))
        case "hear":
            return dataclasses.replace(claim, appeal_panel=_checked_panel(claim, body.panel, docket))
        case "decide" | "decide_final":
            if body.amount_minor > filing.amount_minor:
                raise PoolError(
                    f"{body.amount_minor} minor units are decided",
                    expected=f"at most the {filing.amount_minor} claimed",
                )
            return dataclasses.replace(claim, decision=body)
        case "serve":
            ends = _day(step.at) + timedelta(days=docket.terms.appeal_days)
            return dataclasses.replace(claim, window_ends=ends.isoformat())
        case "appeal":
            if _day(step.at) > _window(claim):
                raise PoolError(f"an appeal on {_day(step.at)}", expected=f"by {claim.window_ends}")
        case "conclude" | "close":
            _require_ripe(claim, step)
        case "recover" | "settle":
            most = claim.owed_minor if step.verb == "recover" else claim.held.holdback_minor
            if body.amount_minor > most:
                raise PoolError(
                    f"'{step.verb}' of {body.amount_minor} minor units",
                    expected=f"at most {most}: "
                    + ("what is owed" if step.verb == "recover" else "the frozen holdback"),
                )
        case _:
            pass
    return claim


def _require_ripe(claim: Claim, step: Step) -> None:
    """An upheld claim becomes payable and a dismissed one is closed, neither before the time for an appeal is over."""
    if claim.state == "appeal_window" and _day(step.at) <= _window(claim):
        raise PoolError(
            f"'{step.verb}' on {_day(step.at)}", expected=f"after {claim.window_ends}, the last day for an appeal"
        )
    upheld = claim.decision is not None and claim.decision.upheld
    if claim.state in ("appeal_window", "decided_final") and upheld != (step.verb == "conclude"):
        raise PoolError(
            f"'{step.verb}' of a claim that was {'upheld' if upheld else 'dismissed'}",
            expected="conclude" if upheld else "close",
        )
    if claim.state == "paid" and claim.owed_minor:
        raise PoolError(
            f"claim '{claim.filing.id}' is closed and {claim.owed_minor} are owed", expected="recover first"
        )


def _checked_panel(claim: Claim, panel: tuple[str, ...], docket: Docket) -> tuple[str, ...]:
    """Three parties who have nothing to gain, and did not judge before."""
    if len(panel) != PANEL or len(set(panel)) != PANEL:
        raise PoolError(f"a panel of {', '.join(panel)}", expected="three different parties")
    for member in panel:
        _require_party(member, docket)
        if member in (claim.filing.claimant, claim.filing.respondent, docket.exchange) or member in docket.interested:
            raise PoolError(
                f"'{member}' has an interest in claim '{claim.filing.id}'", remedy="It is recused: name another."
            )
        if member in claim.panel:
            raise PoolError(f"'{member}' decided this claim already", remedy="An appeal is heard by others.")
    return panel


def _require_signers(claim: Claim, signed: SignedStep, docket: Docket) -> None:
    """The right parties signed, enough of them, and nobody else."""
    verb, filing, signers = signed.step.verb, claim.filing, set(signed.signatures)
    parties = {filing.claimant, filing.respondent}
    allowed, minimum = {
        "file": ({filing.claimant}, 1),
        "withdraw": ({filing.claimant}, 1),
        "evidence": (parties, 1),
        "appeal": (parties, 1),
        "settle": (parties, 2),
        "decide": (set(claim.panel), _MAJORITY),
        "decide_final": (set(claim.appeal_panel), _MAJORITY),
    }.get(verb, (_clerks(claim, docket), 1))
    if not signers <= allowed or len(signers) < minimum:
        raise PoolError(
            f"'{verb}' of claim '{filing.id}' is signed by {', '.join(sorted(signers)) or 'nobody'}",
            expected=f"{minimum} or more of: {', '.join(sorted(allowed)) or 'a panel, which is not named yet'}",
        )
    payload = canonical_bytes(signed.step)
    for party, signature in signed.signatures.items():
        _require_party(party, docket)
        try:
            docket.parties[party].verify(_PURPOSE, payload, signature)
        except IdentityError as problem:
            raise PoolError(str(problem)) from None


def _clerks(claim: Claim, docket: Docket) -> set[str]:
    """Who keeps the docket: the exchange; where it is a party itself, any party without an interest."""
    parties = {claim.filing.claimant, claim.filing.respondent}
    if docket.exchange not in parties:
        return {docket.exchange}
    return set(docket.parties) - parties - docket.interested


def _require_party(party: str, docket: Docket) -> None:
    if party not in docket.parties:
        raise PoolError(f"'{party}' is no registered party", remedy="Register it first: fedjoint registry party add.")


def _day(at: str) -> date:
    return moment_of(at).date()


def _window(claim: Claim) -> date:
    assert claim.window_ends is not None  # 'serve' set it
    return date.fromisoformat(claim.window_ends)


def file_step(filing: Filing, at: str) -> Step:
    """The step that files a claim, to be signed by the claimant."""
    return Step(claim=filing.id, verb="file", at=at, after=_FIRST, body=plain(filing))
