"""The state machine of a claim: signed steps, and nothing else, take it from draft to closed.

What a step means in money is :mod:`fedjoint.pool.claim_money`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from fedjoint.agreement.canonical import canonical_bytes
from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.errors import IdentityError, PoolError
from fedjoint.identity.keys import PublicIdentity
from fedjoint.pool.claim import Claim, Filing, State
from fedjoint.pool.claim_step import (
    BODIES,
    FIRST,
    MAJORITY,
    PANEL,
    SIGNED_AS,
    STEPS,
    SignedStep,
    Step,
    Verb,
    may_follow,
    moment_of,
)
from fedjoint.strict import build

__all__ = ["Docket", "advance", "check_step", "clerks_of", "may_sign"]


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
    step, (_, target) = signed.step, STEPS[signed.step.verb]
    changed = check_step(claim, step, docket)
    _require_signers(changed, signed, docket)
    return dataclasses.replace(changed, state=target, head=signed.sha256, count=changed.count + 1, moved_at=step.at)


def check_step(claim: Claim | None, step: Step, docket: Docket) -> Claim:
    """Refuse a step that does not follow from a claim, whoever may sign it.

    Args:
        claim: Before; None for the step that files it.
        step: Not signed yet, or not by enough.
        docket: Rules and parties.

    Returns:
        The claim with what the step's content changes; its state is still the one before.

    Raises:
        PoolError: as :func:`advance`, signatures apart.
    """
    state: State = claim.state if claim is not None else "draft"
    sources, _ = STEPS[step.verb]
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
    body = build(BODIES[step.verb], step.body, error=PoolError, where=step.verb)
    return _apply(claim, step, body, docket)


def _draft(step: Step) -> Claim:
    if step.verb != "file":
        raise PoolError(f"'{step.verb}' of claim '{step.claim}', which was never filed", expected="file")
    filing = build(Filing, step.body, error=PoolError, where="filing")
    return Claim(filing=filing, state="draft", head=FIRST, count=0, filed_at=step.at, moved_at=step.at)


def _apply(claim: Claim, step: Step, body: Any, docket: Docket) -> Claim:
    """What the step's content changes, once it is found right."""
    match step.verb:
        case "file":
            _check_filing(claim.filing, docket)
        case "evidence":
            evidence = (*claim.filing.evidence, *body.sha256)
            return dataclasses.replace(claim, filing=dataclasses.replace(claim.filing, evidence=evidence))
        case "convene":
            return dataclasses.replace(claim, panel=_checked_panel(claim, body.panel, docket))
        case "hear":
            return dataclasses.replace(claim, appeal_panel=_checked_panel(claim, body.panel, docket))
        case "decide" | "decide_final":
            _require_at_most(step, body.amount_minor, claim.filing.amount_minor, "what was claimed")
            return dataclasses.replace(claim, decision=body)
        case "serve":
            ends = _day(step.at) + timedelta(days=docket.terms.appeal_days)
            return dataclasses.replace(claim, window_ends=ends.isoformat())
        case "appeal":
            if _day(step.at) > _window(claim):
                raise PoolError(f"an appeal on {_day(step.at)}", expected=f"one by {claim.window_ends}")
        case "conclude" | "close":
            _require_ripe(claim, step)
        case "recover":
            _require_at_most(step, body.amount_minor, claim.owed_minor, "what is owed")
        case "settle":
            _require_at_most(step, body.amount_minor, claim.held.holdback_minor, "the respondent's frozen holdback")
    return claim


def _check_filing(filing: Filing, docket: Docket) -> None:
    for party in (filing.claimant, filing.respondent):
        _require_party(party, docket)
    if (filing.respondent == docket.exchange) != (filing.kind == "coordinator failure"):
        raise PoolError(
            f"a claim of {filing.kind} against '{filing.respondent}'",
            expected="coordinator failure against the exchange, any other kind against a holder",
        )


def _require_at_most(step: Step, amount_minor: int, most: int, what: str) -> None:
    if amount_minor > most:
        raise PoolError(f"'{step.verb}' of {amount_minor} minor units", expected=f"at most {most}, {what}")


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


def may_sign(claim: Claim, verb: Verb, docket: Docket) -> tuple[frozenset[str], int]:
    """Who may sign a step of a claim, and how many of them must.

    Args:
        claim: Before the step.
        verb: The step's.
        docket: Rules and parties.
    """
    filing = claim.filing
    parties = frozenset({filing.claimant, filing.respondent})
    return {
        "file": (frozenset({filing.claimant}), 1),
        "withdraw": (frozenset({filing.claimant}), 1),
        "evidence": (parties, 1),
        "appeal": (parties, 1),
        "settle": (parties, 2),
        "decide": (frozenset(claim.panel), MAJORITY),
        "decide_final": (frozenset(claim.appeal_panel), MAJORITY),
    }.get(verb, (clerks_of(filing, docket), 1))


def _require_signers(claim: Claim, signed: SignedStep, docket: Docket) -> None:
    """The right parties signed, enough of them, and nobody else."""
    verb, filing, signers = signed.step.verb, claim.filing, set(signed.signatures)
    allowed, minimum = may_sign(claim, verb, docket)
    if not signers <= allowed or len(signers) < minimum:
        raise PoolError(
            f"'{verb}' of claim '{filing.id}' is signed by {', '.join(sorted(signers)) or 'nobody'}",
            expected=f"{minimum} or more of: {', '.join(sorted(allowed)) or 'a panel, which is not named yet'}",
        )
    payload = canonical_bytes(signed.step)
    for party, signature in signed.signatures.items():
        _require_party(party, docket)
        try:
            docket.parties[party].verify(SIGNED_AS, payload, signature)
        except IdentityError as problem:
            raise PoolError(str(problem)) from None


def clerks_of(filing: Filing, docket: Docket) -> frozenset[str]:
    """Who keeps a claim's docket: the exchange; where it is a party itself, any party without an interest."""
    parties = {filing.claimant, filing.respondent}
    if docket.exchange not in parties:
        return frozenset({docket.exchange})
    return frozenset(docket.parties) - parties - docket.interested


def _require_party(party: str, docket: Docket) -> None:
    if party not in docket.parties:
        raise PoolError(f"'{party}' is no registered party", remedy="Register it first: fedjoint registry party add.")


def _day(at: str) -> date:
    return moment_of(at).date()


def _window(claim: Claim) -> date:
    assert claim.window_ends is not None  # 'serve' set it
    return date.fromisoformat(claim.window_ends)
