"""A claim as those it names are shown it: how it stands, every signed step so far, and what waits to be signed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fedjoint.errors import PoolError
from fedjoint.pool.claim import Claim
from fedjoint.pool.claim_rules import Docket, clerks_of
from fedjoint.pool.claim_step import FIRST, SignedStep, Step, Verb, may_follow
from fedjoint.pool.money import format_minor
from fedjoint.strict import strict

__all__ = [
    "ClaimFile",
    "Waiting",
    "claim_lines",
    "file_of",
    "is_shown_to",
    "require_signed_by",
    "standing_lines",
    "step_words",
]


@strict
@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A step that some have signed, and how many signatures it still lacks."""

    signed: SignedStep
    missing: int


@strict
@dataclass(frozen=True, kw_only=True)
class ClaimFile:
    """A claim with its history.

    Args:
        claim: How it stands.
        next: What may be done now, whoever may do it.
        steps: All steps that were taken, in order.
        waiting: Next steps that lack signatures.

    Raises:
        PoolError: the steps are not those of one claim, each after the one before.
    """

    claim: Claim
    next: tuple[Verb, ...]
    steps: tuple[SignedStep, ...]
    waiting: tuple[Waiting, ...] = ()

    def __post_init__(self) -> None:
        head = FIRST
        for number, signed in enumerate(self.steps, start=1):
            if (signed.step.claim, signed.step.after) != (self.claim.filing.id, head):
                raise PoolError(
                    f"step {number} of claim '{self.claim.filing.id}' does not follow from the one before it",
                    remedy="Keep what you were shown: it is evidence against whoever showed it.",
                )
            head = signed.sha256
        if not self.steps or head != self.claim.head:
            raise PoolError(f"claim '{self.claim.filing.id}' does not stand where its last step left it")


def file_of(claim: Claim, steps: Iterable[SignedStep], waiting: Iterable[Waiting] = ()) -> ClaimFile:
    """A claim as it stands, with its history.

    Raises:
        PoolError: the steps are not the claim's.
    """
    return ClaimFile(claim=claim, next=may_follow(claim.state), steps=tuple(steps), waiting=tuple(waiting))


def is_shown_to(claim: Claim, party: str, docket: Docket) -> bool:
    """Whether a party may see a claim: its parties, its panels, and whoever keeps its docket."""
    filing = claim.filing
    named = {filing.claimant, filing.respondent, *claim.panel, *claim.appeal_panel}
    return party in named or party in clerks_of(filing, docket)


def standing_lines(claim: Claim) -> list[str]:
    """A claim in words: one line that says what it is, one that says how it stands, and one for its decision."""
    filing, currency, decision = claim.filing, claim.filing.currency, claim.decision
    lines = [
        f"{filing.id}: {filing.kind}, {filing.claimant} against {filing.respondent}, "
        f"{format_minor(filing.amount_minor, currency)}: {claim.state}",
        f"  held {format_minor(claim.held.frozen_minor, currency)} of the respondent's and "
        f"{format_minor(claim.held.reserve_minor, currency)} of the reserve; "
        f"paid {format_minor(claim.paid_minor, currency)}; owed {format_minor(claim.owed_minor, currency)}; "
        f"next: {', '.join(may_follow(claim.state)) or 'nothing'}",
    ]
    if decision is not None:
        said = f"upheld, {format_minor(decision.amount_minor, currency)}" if decision.upheld else "dismissed"
        until = f"; an appeal may come until {claim.window_ends}" if claim.state == "appeal_window" else ""
        lines.append(f"  decided: {said}: {decision.reasons}{until}")
    return lines


def claim_lines(found: ClaimFile) -> list[str]:
    """A claim in words, with what waits for signatures."""
    return [*standing_lines(found.claim), *(f"  waits: {_waits(one, found)}" for one in found.waiting)]


def _waits(one: Waiting, found: ClaimFile) -> str:
    by = ", ".join(sorted(one.signed.signatures))
    said = step_words(one.signed.step, found.claim.filing.currency)
    return f"{said}; signed by {by}, {one.missing} more must sign it"


def require_signed_by(found: ClaimFile, step: Step, party: str, *, taken: bool) -> None:
    """Refuse a claim that does not show a step where its signer was told that it stands.

    Args:
        found: As the exchange gave it after the step was signed.
        step: That was signed.
        party: By whom.
        taken: Whether the step is said to be taken; otherwise it waits.

    Raises:
        PoolError: it is not there, or without that signature.
    """
    steps = found.steps if taken else [one.signed for one in found.waiting]
    if not any(one.step == step and party in one.signatures for one in steps):
        raise PoolError(
            f"the exchange says that '{step.verb}' of claim '{step.claim}' is signed, and does not show it",
            remedy="Show the claim again, and tell the exchange's operator.",
        )


def step_words(step: Step, currency: str) -> str:
    """What a step says, in one line for whoever is to sign it."""
    body, words = step.body, [step.verb.replace("_", " ")]
    if step.verb == "file":
        filing = f"{body['kind']} against {body['respondent']}, {format_minor(body['amount_minor'], currency)}"
        return f"file: {filing}: {body['statement']}"
    if "upheld" in body:
        words.append("upheld" if body["upheld"] else "dismissed")
    if body.get("amount_minor"):
        words.append(format_minor(body["amount_minor"], currency))
    words += [f"documents with the hashes {', '.join(body['sha256'])}"] if "sha256" in body else []
    words += [", ".join(body["panel"])] if "panel" in body else []
    words += [body["reasons"]] if "reasons" in body else []
    return ": ".join(words)
