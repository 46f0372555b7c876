"""A pool's record done again: every event decided anew from those before it, and the books that must come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from fedjoint.agreement.canonical import canonical_bytes
from fedjoint.errors import PoolError
from fedjoint.pool import corrections, desk, facts, receipts
from fedjoint.pool.books import Books
from fedjoint.pool.claim_money import Standing
from fedjoint.pool.ledger import Entry
from fedjoint.pool.record_change import Change
from fedjoint.pool.registered import Dataset, DatasetEvent, Party
from fedjoint.pool.revenue import Subscription
from fedjoint.pool.state import PoolState, fold
from fedjoint.pool.vouchers import Voucher
from fedjoint.record.log import Event
from fedjoint.strict import build, plain

__all__ = ["PostedTo", "replay"]


class PostedTo(Standing, Protocol):
    """Books that a record's entries are posted to as it is done again."""

    def post(self, entries: Iterable[Entry], /) -> object:
        """Apply entries in order."""


def replay(
    events: Iterable[Event], books: PostedTo | None = None
) -> Iterator[tuple[Event, PoolState, tuple[Entry, ...]]]:
    """Do a record again.

    Args:
        events: In order from the first.
        books: Empty ones to post to; by default such as remember every entry.

    Yields:
        Each event that decided something, the state after it, and the entries it must have posted.

    Raises:
        PoolError: an event is not what the ones before it and the rules give.
    """
    state, books = PoolState(), books if books is not None else Books()
    waiting = iter(events)
    for event in waiting:
        change = _decided(state, books, event)
        if not change.events:
            raise PoolError(f"event {event.seq} ({event.type}) says again what was said before it")
        recorded = [event, *(found for _, found in zip(change.events[1:], waiting, strict=False))]
        if len(recorded) < len(change.events):
            raise PoolError(f"event {event.seq} ({event.type}) is recorded without what follows from it")
        for (kind, body), found in zip(change.events, recorded, strict=True):
            if (kind, change.at) != (found.type, found.at) or canonical_bytes(body) != canonical_bytes(found.body):
                raise PoolError(
                    f"event {found.seq} ({found.type}) is not what the record before it gives",
                    remedy="It was recorded by other rules, or by another program.",
                )
        state = change.after if change.after is not None else fold(recorded, state)
        books.post(change.entries)
        yield event, state, change.entries


def _settled(state: PoolState, settled: facts.Settled, books: Standing, at: str) -> Change:
    names = desk.Settling.__dataclass_fields__
    settling = desk.Settling(**{name: getattr(settled, name) for name in names})
    return desk.settle_revenue(state, settling, books=books, at=at)[0]


#: Type of event to its body, and how it was decided.
_DECIDED: Mapping[str, tuple[type[Any], Callable[[PoolState, Any, Standing, str], Change]]] = {
    "pool.opened": (facts.Opened, lambda s, b, _, at: desk.open_pool(s, b, at=at)),
    "party.added": (Party, lambda s, b, _, at: desk.add_party(s, b, at=at)),
    "party.revoked": (facts.PartyRevoked, lambda s, b, _, at: desk.revoke_party(s, b, at=at)),
    "dataset.added": (Dataset, lambda s, b, _, at: desk.add_dataset(s, b, at=at)),
    "dataset.event": (DatasetEvent, lambda s, b, _, at: desk.note_dataset(s, b, at=at)),
    "money.deposited": (facts.Deposited, lambda s, b, k, at: receipts.deposit(s, b, books=k, at=at)),
    "revenue.received": (facts.Received, lambda s, b, k, at: receipts.receive(s, b, books=k, at=at)),
    "subscription.paid": (Subscription, lambda s, b, k, at: receipts.subscribe(s, b, books=k, at=at)),
    "subscription.earned": (facts.Earned, lambda s, b, k, at: receipts.earn(s, b, books=k, at=at)),
    "voucher.funded": (Voucher, lambda s, b, k, at: receipts.fund_voucher(s, b, books=k, at=at)),
    "voucher.spent": (facts.VoucherSpent, lambda s, b, k, at: receipts.spend_voucher(s, b, books=k, at=at)),
    "voucher.expired": (
        facts.VoucherExpired,
        lambda s, b, k, at: receipts.expire_voucher(s, b.voucher, books=k, at=at),
    ),
    "money.converted": (facts.Converted, lambda s, b, k, at: corrections.convert(s, b, books=k, at=at)),
    "revenue.given back": (facts.GivenBack, lambda s, b, k, at: corrections.give_back(s, b, books=k, at=at)),
    "reserve.returned": (facts.Returned, lambda s, b, k, at: corrections.return_excess(s, b.id, books=k, at=at)),
    "revenue.settled": (facts.Settled, _settled),
    "money.paid out": (facts.PaidOut, lambda s, b, k, at: desk.pay_out(s, b.batch, books=k, at=at)),
    "claim.moved": (facts.ClaimMoved, lambda s, b, k, _: desk.move_claim(s, b.signed, books=k)[0]),
}
#: Events that are told and decide nothing.
_NOTED = ("statement.issued",)


def _decided(state: PoolState, books: Standing, event: Event) -> Change:
    """The change that an event's facts give when they are decided again."""
    where = f"event {event.seq} ({event.type})"
    if event.type in _NOTED:
        return Change(at=event.at, events=((event.type, plain(event.body)),))
    if event.type not in _DECIDED:
        raise PoolError(f"event {event.seq} is of an unknown type '{event.type[:80]}'")
    kind, decide = _DECIDED[event.type]
    return decide(state, build(kind, event.body, error=PoolError, where=where), books, event.at)
