"""What a pool's record comes to: its rules, parties, datasets, settlements and claims, by folding the events in order.

Whoever has the record folds it again and must come to the same: every claim step is checked as when it was taken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.agreement.terms import MoneyTerms
from fedjoint.errors import PoolError
from fedjoint.identity.keys import PublicIdentity
from fedjoint.pool.claim import Claim, Debt, Held
from fedjoint.pool.claim_money import Setting
from fedjoint.pool.claim_rules import Docket, advance
from fedjoint.pool.claim_step import SignedStep, moment_of
from fedjoint.pool.registered import Dataset, DatasetEvent, Party
from fedjoint.pool.registry import Registry
from fedjoint.record.log import Event
from fedjoint.strict import build, strict

__all__ = ["ClaimMoved", "Opened", "PartyRevoked", "PoolState", "Settled", "docket_of", "fold", "setting_of"]

_YEAR = timedelta(days=365)
_WHOLE_BP = 10_000


@strict
@dataclass(frozen=True, kw_only=True)
class Opened:
    """Body of ``pool.opened``: the exchange, its own tranche and the rules, which nothing changes later."""

    pool_id: str
    exchange: PublicIdentity
    money: MoneyTerms
    claims: ClaimTerms
    tranche_minor: int = 0


@strict
@dataclass(frozen=True, kw_only=True)
class PartyRevoked:
    """Body of ``party.revoked``."""

    party: str
    effective: str
    reason: str


@strict
@dataclass(frozen=True, kw_only=True)
class Settled:
    """Body of ``revenue.settled``: what a settlement needs later.

    Args:
        id: Of the settlement; its ledger entries begin with it.
        gross_minor: What was divided, in minor units.
        currency: ISO 4217 code.
        contributions: By holder, in units of the utility, as they were handed in.
        datasets: The dataset of each holder.
        sizes: Certified examples by holder, where the base part goes by size.
        payouts_minor: By holder.
        premiums_minor: By holder: its part of the reserve premium.
        carried: Rounding remainders by holder, ``numerator/denominator``.
    """

    id: str
    gross_minor: int
    currency: str
    contributions: dict[str, float]
    datasets: dict[str, str]
    sizes: dict[str, int]
    payouts_minor: dict[str, int]
    premiums_minor: dict[str, int]
    carried: dict[str, str]


@strict
@dataclass(frozen=True, kw_only=True)
class ClaimMoved:
    """Body of ``claim.moved``: the signed step, and what its money came to."""

    signed: SignedStep
    held: Held
    paid_minor: int
    debts: tuple[Debt, ...]
    premiums_used_minor: int = 0
    mutual_used_minor: int = 0
    assessed_minor: int = 0
    cover: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class PoolState:
    """All that the record says.

    Args:
        opened: The rules; None before the first event.
        registry: Parties and datasets.
        claims: By id.
        settlements: By id, with their times, in order.
        used: Time, respondent and minor units of own premiums and of others' that claims used.
        assessed_at: When the other holders were assessed last.
        size: Number of events.
    """

    opened: Opened | None = None
    registry: Registry = field(default_factory=Registry)
    claims: Mapping[str, Claim] = field(default_factory=dict)
    settlements: Mapping[str, tuple[str, Settled]] = field(default_factory=dict)
    used: tuple[tuple[str, str, int, int], ...] = ()
    assessed_at: str | None = None
    size: int = 0

    @property
    def rules(self) -> Opened:
        """The pool's rules.

        Raises:
            PoolError: the pool was never opened.
        """
        if self.opened is None:
            raise PoolError("this pool has no rules yet", remedy="Open it first: fedjoint pool open.")
        return self.opened

    def claim(self, claim_id: str) -> Claim:
        """A claim.

        Raises:
            PoolError: there is none of that id.
        """
        if claim_id not in self.claims:
            raise PoolError(f"there is no claim '{claim_id[:80]}'", expected=f"one of: {', '.join(self.claims) or '-'}")
        return self.claims[claim_id]


def fold(events: Iterable[Event], state: PoolState | None = None) -> PoolState:
    """What a record comes to.

    Args:
        events: In order, from where ``state`` ends.
        state: Before them.

    Raises:
        PoolError: an event that does not follow from those before it.
    """
    state = state or PoolState()
    for event in events:
        if event.seq != state.size:
            raise PoolError(f"event {event.seq} of the record", expected=f"event {state.size}")
        state = dataclasses.replace(_applied(state, event), size=state.size + 1)
    return state


def _applied(state: PoolState, event: Event) -> PoolState:
    where = f"event {event.seq} ({event.type})"

    def body(kind: type[Any]) -> Any:
        return build(kind, event.body, error=PoolError, where=where)

    match event.type:
        case "pool.opened":
            if state.size:
                raise PoolError(f"{where}: the pool is open already")
            return dataclasses.replace(state, opened=body(Opened))
        case "party.added":
            return dataclasses.replace(state, registry=state.registry.with_party(body(Party)))
        case "party.revoked":
            gone = body(PartyRevoked)
            return dataclasses.replace(state, registry=state.registry.without_party(gone.party, gone.effective))
        case "dataset.added":
            return dataclasses.replace(state, registry=state.registry.with_dataset(body(Dataset)))
        case "dataset.event":
            return dataclasses.replace(state, registry=state.registry.with_event(body(DatasetEvent)))
        case "revenue.settled":
            settled = body(Settled)
            if settled.id in state.settlements:
                raise PoolError(f"{where}: '{settled.id}' is settled already")
            settlements = {**state.settlements, settled.id: (event.at, settled)}
            return dataclasses.replace(state, settlements=settlements)
        case "claim.moved":
            return _moved(state, body(ClaimMoved))
        case _:
            return state  # told for people and statements; nothing follows from it


def _moved(state: PoolState, moved: ClaimMoved) -> PoolState:
    step = moved.signed.step
    before = state.claims.get(step.claim)
    claim = advance(before, moved.signed, docket_of(state, before))
    claim = dataclasses.replace(claim, held=moved.held, paid_minor=moved.paid_minor, debts=moved.debts)
    used = state.used
    if moved.premiums_used_minor or moved.mutual_used_minor:
        used = (*used, (step.at, claim.filing.respondent, moved.premiums_used_minor, moved.mutual_used_minor))
    return dataclasses.replace(
        state,
        claims={**state.claims, claim.filing.id: claim},
        used=used,
        assessed_at=step.at if moved.assessed_minor else state.assessed_at,
    )


def docket_of(state: PoolState, claim: Claim | None) -> Docket:
    """The rules and parties by which a claim's next step is judged."""
    contested = claim.filing.settlements if claim is not None else ()
    holders = {holder for name in contested if name in state.settlements for holder in _payouts(state, name)}
    parties = {name: party.identity for name, party in state.registry.parties.items()}
    return Docket(
        terms=state.rules.claims,
        exchange=state.rules.exchange.id,
        parties={**parties, state.rules.exchange.id: state.rules.exchange},
        interested=frozenset(holders),
    )


def setting_of(state: PoolState, claim: Claim, at: str) -> Setting:
    """What a claim's money depends on, from the record alone."""
    filing, rules = claim.filing, state.rules
    others = [c for c in state.claims.values() if c.filing.respondent == filing.respondent and c.filing.id != filing.id]
    since = moment_of(at) - _YEAR
    recent = [use for use in state.used if use[1] == filing.respondent and moment_of(use[0]) > since]
    paid_in = sum(
        settled.premiums_minor.get(filing.respondent, 0)
        for _, settled in state.settlements.values()
        if settled.currency == filing.currency
    )
    own = paid_in - sum(use[2] for use in state.used if use[1] == filing.respondent)
    drawn = sum(use[3] for use in recent) + sum(other.held.mutual_minor for other in others)
    return Setting(
        terms=rules.claims,
        exchange=rules.exchange.id,
        premiums_minor=max(own - sum(other.held.premiums_minor for other in others), 0),
        drawn_minor=drawn,
        assessable_minor=_assessable(state, claim, at),
        tranche_part_bp=_tranche_part(state, claim),
        unright_minor=_unright(state, claim),
        others_minor=_others(state, claim),
    )


def _payouts(state: PoolState, settlement: str) -> Mapping[str, int]:
    found = state.settlements.get(settlement)
    return found[1].payouts_minor if found is not None else {}


def _assessable(state: PoolState, claim: Claim, at: str) -> dict[str, int]:
    """A part of what each other holder was paid in a year, unless the others were assessed within it."""
    since = moment_of(at) - _YEAR
    if state.assessed_at is not None and moment_of(state.assessed_at) > since:
        return {}
    received: dict[str, int] = {}
    for when, settled in state.settlements.values():
        if moment_of(when) > since and settled.currency == claim.filing.currency:
            for holder, amount in settled.payouts_minor.items():
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
    paid = sum(max(_payouts(state, name).get(claim.filing.respondent, 0), 0) for name in claim.filing.settlements)
    return paid * claim.filing.share_bp // _WHOLE_BP


def _others(state: PoolState, claim: Claim) -> dict[str, int]:
    """What the other holders were paid in the contested settlements: by these weights they share what is freed."""
    weights: dict[str, int] = {}
    for name in claim.filing.settlements:
        for holder, amount in _payouts(state, name).items():
            if holder not in (claim.filing.respondent, claim.filing.claimant) and amount > 0:
                weights[holder] = weights.get(holder, 0) + amount
    return weights
