"""A pool's record done again: every event decided anew from those before it, and the books that must come of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fedjoint.agreement.canonical import canonical_bytes
from fedjoint.errors import PoolError
from fedjoint.pool.books import Books
from fedjoint.pool.desk import (
    Settling,
    add_dataset,
    add_party,
    deposit,
    move_claim,
    note_dataset,
    open_pool,
    pay_out,
    revoke_party,
    settle_revenue,
)
from fedjoint.pool.ledger import Entry
from fedjoint.pool.record_change import Change
from fedjoint.pool.registered import Dataset, DatasetEvent, Party
from fedjoint.pool.state import ClaimMoved, Opened, PartyRevoked, PoolState, Settled, fold
from fedjoint.record.log import Event
from fedjoint.strict import build, plain

__all__ = ["replay"]


def replay(events: Iterable[Event]) -> Iterator[tuple[Event, PoolState, Books, tuple[Entry, ...]]]:
    """Do a record again.

    Args:
        events: In order from the first.

    Yields:
        Each event that decided something, the state and the books after it, and the entries it must have posted.

    Raises:
        PoolError: an event is not what the ones before it and the rules give.
    """
    state, books = PoolState(), Books()
    waiting = iter(events)
    for event in waiting:
        change = _decided(state, books, event)
        recorded = [event, *(found for _, found in zip(change.events[1:], waiting, strict=False))]
        for (kind, body), found in zip(change.events, recorded, strict=True):
            if (kind, change.at) != (found.type, found.at) or canonical_bytes(body) != canonical_bytes(found.body):
                raise PoolError(
                    f"event {found.seq} ({found.type}) is not what the record before it gives",
                    remedy="It was recorded by other rules, or by another program.",
                )
        state = fold(recorded, state)
        books.post(change.entries)
        yield event, state, books, change.entries


def _decided(state: PoolState, books: Books, event: Event) -> Change:
    """The change that an event's facts give when they are decided again."""
    where, at = f"event {event.seq} ({event.type})", event.at

    def body(kind: type[Any]) -> Any:
        return build(kind, event.body, error=PoolError, where=where)

    match event.type:
        case "pool.opened":
            return open_pool(state, body(Opened), at=at)
        case "party.added":
            return add_party(state, body(Party), at=at)
        case "party.revoked":
            return revoke_party(state, body(PartyRevoked), at=at)
        case "dataset.added":
            return add_dataset(state, body(Dataset), at=at)
        case "dataset.event":
            return note_dataset(state, body(DatasetEvent), at=at)
        case "revenue.settled":
            settled: Settled = body(Settled)
            settling = Settling(
                id=settled.id,
                gross_minor=settled.gross_minor,
                contributions=settled.contributions,
                datasets=settled.datasets,
                sizes=settled.sizes,
            )
            return settle_revenue(state, settling, books=books, at=at)[0]
        case "claim.moved":
            return move_claim(state, body(ClaimMoved).signed, books=books)[0]
        case _:
            return _told(state, books, event)


def _told(state: PoolState, books: Books, event: Event) -> Change:
    """Money that came or went, and what was merely noted."""
    facts = event.body
    try:
        if event.type == "money.deposited":
            return deposit(
                state,
                facts["id"],
                party=facts["party"],
                amount_minor=facts["amount_minor"],
                currency=facts["currency"],
                at=event.at,
            )
        if event.type == "money.paid out":
            return pay_out(state, facts["batch"], books=books, at=event.at)
    except (KeyError, TypeError):
        raise PoolError(f"event {event.seq} ({event.type}) is malformed") from None
    if event.type != "statement.issued":
        raise PoolError(f"event {event.seq} is of an unknown type '{event.type}'")
    return Change(at=event.at, events=((event.type, plain(facts)),))
