"""The money that a claim's next step may count on beside the claim itself, as record and rules allow."""

from __future__ import annotations

from datetime import timedelta

from fedjoint.pool.claim import Claim
from fedjoint.pool.claim_money import Setting
from fedjoint.pool.claim_step import moment_of
from fedjoint.pool.state import PoolState

__all__ = ["setting_of"]

_YEAR = timedelta(days=365)
_WHOLE_BP = 10_000


def setting_of(state: PoolState, claim: Claim, at: str) -> Setting:
    """What a claim's money depends on, from the record alone.

    Args:
        state: Before the step.
        claim: As after the step.
        at: Of the step, ISO 8601 in UTC.
    """
    filing, rules = claim.filing, state.rules
    others = [c for c in state.claims.values() if c.filing.respondent == filing.respondent and c.filing.id != filing.id]
    since = moment_of(at) - _YEAR
    recent = [use for use in state.used if use[1] == filing.respondent and moment_of(use[0]) > since]
    own = state.paid_in_of(filing.respondent)
    drawn = sum(use[3] for use in recent) + sum(other.held.mutual_minor for other in others)
    return Setting(
        terms=rules.claims,
        exchange=rules.exchange.id,
        premiums_minor=max(own - sum(other.held.premiums_minor for other in others), 0),
        drawn_minor=drawn,
        assessable_minor=_assessable(state, at),
        tranche_part_bp=_tranche_part(state, claim),
        unright_minor=_unright(state, claim),
        others_minor=_others(state, claim),
    )


def _assessable(state: PoolState, at: str) -> dict[str, int]:
    """A part of what each other holder was paid in a year, unless the others were assessed within it."""
    since = moment_of(at) - _YEAR
    if state.assessed_at is not None and moment_of(state.assessed_at) > since:
        return {}
    received: dict[str, int] = {}
    for name, (when, _) in state.settlements.items():
        if moment_of(when) > since:
            for holder, amount in state.payouts_of(name).items():
                received[holder] = received.get(holder, 0) + amount
    part = state.rules.claims.assessment_bp
    return {holder: amount * part // _WHOLE_BP for holder, amount in received.items() if amount > 0}


def _tranche_part(state: PoolState, claim: Claim) -> int:
    """Claims that are ripe together share the exchange's tranche by what each is due."""
    ripe = [
        one.decision.amount_minor
        for one in state.claims.values()
        if one.filing.id != claim.filing.id
        and one.state in ("appeal_window", "decided_final")
        and one.decision is not None
        and one.filing.currency == claim.filing.currency
    ]
    due = claim.decision.amount_minor if claim.decision is not None else 0
    return due * _WHOLE_BP // (due + sum(ripe)) if due else _WHOLE_BP


def _unright(state: PoolState, claim: Claim) -> int:
    """What the respondent was paid for data whose title failed, in the contested settlements."""
    if claim.filing.share_bp is None:
        return 0
    paid = sum(max(state.payouts_of(name).get(claim.filing.respondent, 0), 0) for name in claim.filing.settlements)
    return paid * claim.filing.share_bp // _WHOLE_BP


def _others(state: PoolState, claim: Claim) -> dict[str, int]:
    """What the other holders were paid in the contested settlements: by these weights they share what is freed."""
    weights: dict[str, int] = {}
    for name in claim.filing.settlements:
        for holder, amount in state.payouts_of(name).items():
            if holder not in (claim.filing.respondent, claim.filing.claimant) and amount > 0:
                weights[holder] = weights.get(holder, 0) + amount
    return weights
