"""What a pool's record comes to: its rules, parties, datasets, settlements and claims, by folding the events in order.

Whoever has the record folds it again and must come to the same: every claim step is checked as when it was taken.
Most events of a busy year, such as revenue that came in, change nothing here: only the books know them. So the state
is folded from the events of :data:`DECIDING` types alone, however many others stand between them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedjoint.errors import PoolError
from fedjoint.pool.claim import Claim
from fedjoint.pool.claim_rules import Docket, advance
from fedjoint.pool.facts import ClaimMoved, GivenBack, Opened, PaidOut, PartyRevoked, Returned, Settled
from fedjoint.pool.registered import Dataset, DatasetEvent, Party
from fedjoint.pool.registry import Registry
from fedjoint.pool.revenue import Subscription
from fedjoint.pool.vouchers import Voucher
from fedjoint.record.log import Event
from fedjoint.strict import build

__all__ = ["DECIDING", "PoolState", "docket_of", "fold"]


@dataclass(frozen=True, kw_only=True)
class PoolState:
    """All that the record says.

    Args:
        opened: The rules; None before the first event.
        registry: Parties and datasets.
        claims: By id.
        settlements: By id, with their times, in order.
        given_back: By settlement id, what was refunded or credited of it, in order.
        returned_minor: By holder, what of its premiums came back to it.
        subscriptions: By id.
        vouchers: By id.
        batches: Ids of the payouts made.
        used: Time, respondent and minor units of own premiums and of others' that claims used.
        assessed_at: When the other holders were assessed last.
        size: Number of events.
    """

    opened: Opened | None = None
    registry: Registry = field(default_factory=Registry)
    claims: Mapping[str, Claim] = field(default_factory=dict)
    settlements: dict[str, tuple[str, Settled]] = field(default_factory=dict)
    given_back: Mapping[str, tuple[GivenBack, ...]] = field(default_factory=dict)
    returned_minor: Mapping[str, int] = field(default_factory=dict)
    subscriptions: Mapping[str, Subscription] = field(default_factory=dict)
    vouchers: Mapping[str, Voucher] = field(default_factory=dict)
    batches: frozenset[str] = frozenset()
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

    def settled(self, settlement: str) -> Settled:
        """A settlement.

        Raises:
            PoolError: there is none of that id.
        """
        if settlement not in self.settlements:
            last = ", ".join(list(self.settlements)[-5:]) or "none yet"
            raise PoolError(f"there is no settlement '{settlement[:80]}'", expected=f"such as: {last}")
        return self.settlements[settlement][1]

    def payouts_of(self, settlement: str) -> dict[str, int]:
        """What holders keep of a settlement after what was given back of it, in minor units; empty if there is none."""
        found = self.settlements.get(settlement)
        kept = dict(found[1].payouts_minor) if found is not None else {}
        for one in self.given_back.get(settlement, ()):
            for holder, amount in one.taken_minor.items():
                kept[holder] = kept.get(holder, 0) - amount
        return kept

    def gross_of(self, settlement: str) -> int:
        """What buyers paid for a settlement after what was given back, in minor units."""
        given = sum(one.amount_minor for one in self.given_back.get(settlement, ()))
        return self.settled(settlement).gross_minor - given

    def paid_in_of(self, holder: str) -> int:
        """A holder's premiums, less its part of what the reserve gave back, returned or used for claims against it."""
        paid_in = 0
        for name, (_, settled) in self.settlements.items():
            own = settled.premiums_minor.get(holder, 0)
            whole = sum(settled.premiums_minor.values()) if own else 0
            given = sum(one.premium_minor for one in self.given_back.get(name, ())) if own else 0
            paid_in += own - (-(-own * given // whole) if given else 0)
        used = sum(use[2] for use in self.used if use[1] == holder)
        return max(paid_in - used - self.returned_minor.get(holder, 0), 0)


def fold(events: Iterable[Event], state: PoolState | None = None, *, size: int | None = None) -> PoolState:
    """What a record comes to.

    Args:
        events: In order, from where ``state`` ends.
        state: Before them.
        size: Number of events of the record; then those of other types than :data:`DECIDING` may be left out.

    Raises:
        PoolError: an event that does not follow from those before it.
    """
    state = state or PoolState()
    for event in events:
        if event.seq != state.size and (size is None or not state.size < event.seq < size):
            raise PoolError(f"event {event.seq} of the record", expected=f"event {state.size}")
        state = dataclasses.replace(_applied(state, event), size=event.seq + 1)
    return state if size is None else dataclasses.replace(state, size=size)


def _applied(state: PoolState, event: Event) -> PoolState:
    if event.type not in _FOLDED:
        return state  # told for the books, people and statements; nothing follows from it here
    where = f"event {event.seq} ({event.type})"
    kind, apply = _FOLDED[event.type]
    return apply(state, build(kind, event.body, error=PoolError, where=where), event)


def _opened(state: PoolState, opened: Opened, event: Event) -> PoolState:
    if event.seq:
        raise PoolError(f"event {event.seq} (pool.opened): the pool is open already")
    return dataclasses.replace(state, opened=opened)


def _settled(state: PoolState, settled: Settled, event: Event) -> PoolState:
    if settled.id in state.settlements:
        raise PoolError(f"'{settled.id}' is settled already", remedy="Nothing was changed.")
    return dataclasses.replace(state, settlements={**state.settlements, settled.id: (event.at, settled)})


def _given_back(state: PoolState, given: GivenBack, _: Event) -> PoolState:
    before = state.given_back.get(given.settlement, ())
    return dataclasses.replace(state, given_back={**state.given_back, given.settlement: (*before, given)})


def _returned(state: PoolState, returned: Returned, _: Event) -> PoolState:
    amounts = dict(state.returned_minor)
    for holder, amount in returned.amounts_minor.items():
        amounts[holder] = amounts.get(holder, 0) + amount
    return dataclasses.replace(state, returned_minor=amounts)


def _subscribed(state: PoolState, subscription: Subscription, _: Event) -> PoolState:
    if subscription.id in state.subscriptions:
        raise PoolError(f"there is a subscription '{subscription.id}' already")
    return dataclasses.replace(state, subscriptions={**state.subscriptions, subscription.id: subscription})


def _funded(state: PoolState, voucher: Voucher, _: Event) -> PoolState:
    if voucher.id in state.vouchers:
        raise PoolError(f"there is a voucher '{voucher.id}' already")
    return dataclasses.replace(state, vouchers={**state.vouchers, voucher.id: voucher})


def _moved(state: PoolState, moved: ClaimMoved, _: Event) -> PoolState:
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
    holders = {holder for name in contested if name in state.settlements for holder in state.payouts_of(name)}
    parties = {name: party.identity for name, party in state.registry.parties.items()}
    return Docket(
        terms=state.rules.claims,
        exchange=state.rules.exchange.id,
        parties={**parties, state.rules.exchange.id: state.rules.exchange},
        interested=frozenset(holders),
    )


#: Type of event to its body, and what it does to the state.
_FOLDED: Mapping[str, tuple[type[Any], Callable[[PoolState, Any, Event], PoolState]]] = {
    "pool.opened": (Opened, _opened),
    "party.added": (Party, lambda s, b, _: dataclasses.replace(s, registry=s.registry.with_party(b))),
    "party.revoked": (
        PartyRevoked,
        lambda s, b, _: dataclasses.replace(s, registry=s.registry.without_party(b.party, b.effective)),
    ),
    "dataset.added": (Dataset, lambda s, b, _: dataclasses.replace(s, registry=s.registry.with_dataset(b))),
    "dataset.event": (DatasetEvent, lambda s, b, _: dataclasses.replace(s, registry=s.registry.with_event(b))),
    "revenue.settled": (Settled, _settled),
    "revenue.given back": (GivenBack, _given_back),
    "reserve.returned": (Returned, _returned),
    "subscription.paid": (Subscription, _subscribed),
    "voucher.funded": (Voucher, _funded),
    "money.paid out": (PaidOut, lambda s, b, _: dataclasses.replace(s, batches=s.batches | {b.batch})),
    "claim.moved": (ClaimMoved, _moved),
}
#: The types of events that the state rests on.
DECIDING: tuple[str, ...] = tuple(_FOLDED)
