"""Money of a pool that goes back or changes its currency: each function decides what to record and to post."""

from __future__ import annotations

import dataclasses

from fedjoint.errors import PoolError
from fedjoint.pool import accounts
from fedjoint.pool.claim_money import Standing
from fedjoint.pool.conversion import conversion
from fedjoint.pool.desk import target_of
from fedjoint.pool.facts import Converted, GivenBack, Returned
from fedjoint.pool.ledger import Entry, move
from fedjoint.pool.record_change import Change, change_of, unless_known
from fedjoint.pool.refunds import given_back
from fedjoint.pool.reserve import excess_return
from fedjoint.pool.state import PoolState

__all__ = ["convert", "give_back", "return_excess"]


def give_back(state: PoolState, given: GivenBack, *, books: Standing, at: str) -> Change:
    """Refund revenue, or credit it to its buyer: everybody gives of it what the settlement gave them, in proportion.

    Args:
        state: From the record.
        given: What; ``before_minor`` is what was given back of the settlement when the command was made, and what each
            party gives is found here.
        books: As they are.
        at: ISO 8601 in UTC.

    Raises:
        PoolError: no such settlement or buyer, more than its gross revenue, or something else was given back since.
    """
    settled = state.settled(given.settlement)
    buyer = state.registry.parties.get(given.buyer)
    if buyer is None or buyer.role != "buyer":
        raise PoolError(f"'{given.buyer}' is no registered buyer party")
    earlier = state.given_back.get(given.settlement, ())
    same = [one for one in earlier if one.before_minor == given.before_minor]
    if same and (same[0].buyer, same[0].amount_minor, same[0].how) == (given.buyer, given.amount_minor, given.how):
        return Change(at=at, events=(), after=state)
    before = sum(one.amount_minor for one in earlier)
    if given.before_minor != before:
        raise PoolError(
            f"{given.before_minor} minor units of '{settled.id}' were given back before",
            expected=str(before),
            remedy="Something was given back meanwhile: repeat the command.",
        )
    entry = given_back(
        settled, buyer=given.buyer, amount_minor=given.amount_minor, before_minor=before, at=at, how=given.how
    )
    moved = {posting.account: -posting.amount_minor for posting in entry.postings}
    holders = {holder: moved.get(accounts.payable(holder), 0) for holder in settled.payouts_minor}
    whole = dataclasses.replace(
        given,
        taken_minor={holder: amount for holder, amount in holders.items() if amount},
        premium_minor=moved.get(accounts.RESERVE, 0),
    )
    return change_of(state, at, [("revenue.given back", whole)], (entry,))


def convert(state: PoolState, converted: Converted, *, books: Standing, at: str) -> Change:
    """Turn revenue that waits in escrow into another currency, at a published rate that is written down.

    Raises:
        PoolError: malformed, or too little to be one minor unit of the other currency.
    """
    entries = conversion(
        f"conversion/{converted.id}",
        account=accounts.ESCROW,
        amount_minor=converted.amount_minor,
        rate=converted.rate,
        at=at,
    )
    new = unless_known(books, entries)
    return change_of(state, at, [("money.converted", converted)], new) if new else Change(at=at, events=(), after=state)


def return_excess(state: PoolState, return_id: str, *, books: Standing, at: str) -> Change:
    """Give what the reserve holds above its target back to the holders, pro rata to what each paid in.

    Raises:
        PoolError: malformed, or an earlier return has that id.
    """
    currency, target = state.rules.money.currency, target_of(state, at)
    holders = [name for name, party in state.registry.parties.items() if party.role == "holder"]
    paid_in = {holder: state.paid_in_of(holder) for holder in holders}
    available = max(books.balance(accounts.RESERVE, currency).available_minor, 0)
    amounts = {h: amount for h, amount in excess_return(available, target, paid_in).items() if amount}
    if not amounts:
        return Change(at=at, events=(), after=state)
    entry = Entry(
        id=f"excess/{return_id}",
        at=at,
        kind="excess return",
        currency=currency,
        memo=f"reserve above its target of {target} minor units",
        postings=move(
            {accounts.RESERVE: -sum(amounts.values()), **{accounts.payable(h): part for h, part in amounts.items()}}
        ),
    )
    if not unless_known(books, (entry,)):
        return Change(at=at, events=(), after=state)
    body = Returned(id=return_id, target_minor=target, amounts_minor=amounts)
    return change_of(state, at, [("reserve.returned", body)], (entry,))
