"""Money that comes into a pool: each function decides from record and books what to record and to post.

Ids make every step happen once: what is in the books already is left alone, and a step that was taken before comes to
no event and no entry.
"""

from __future__ import annotations

import itertools

from fedjoint.errors import PoolError
from fedjoint.pool import accounts
from fedjoint.pool.claim_money import Standing
from fedjoint.pool.facts import Deposited, Earned, Invoice, Queries, Received, VoucherExpired, VoucherSpent
from fedjoint.pool.ledger import Entry, move
from fedjoint.pool.money import check_minor
from fedjoint.pool.record_change import Change, change_of, unless_known
from fedjoint.pool.revenue import Meter, Subscription, paid, queries_paid, subscription_earned, subscription_paid
from fedjoint.pool.state import PoolState
from fedjoint.pool.vouchers import Voucher, voucher_expired, voucher_funded, voucher_spent

__all__ = ["deposit", "earn", "expire_voucher", "fund_voucher", "receive", "spend_voucher", "subscribe"]


def _recorded(
    state: PoolState, books: Standing, at: str, event: tuple[str, object], entries: tuple[Entry, ...]
) -> Change:
    """The event with its entries, or nothing if the books have them."""
    new = unless_known(books, entries)
    return change_of(state, at, [event], new) if new else Change(at=at, events=(), after=state)


def _require_party(state: PoolState, party: str, role: str | None = None) -> None:
    found = state.registry.parties.get(party)
    if found is None or (role is not None and found.role != role):
        what = f"{role} " if role else ""
        raise PoolError(f"'{party}' is no registered {what}party", remedy="Register it: fedjoint registry party add.")


def deposit(state: PoolState, deposited: Deposited, *, books: Standing, at: str) -> Change:
    """Take in one payment: a buyer's goes to escrow, to be settled; a holder's to its payable, against what it owes.

    Raises:
        PoolError: an unknown party, or an amount that cannot be.
    """
    amount = check_minor("deposit", deposited.amount_minor, low=1)
    party, currency, entry_id = deposited.party, deposited.currency, f"deposit/{deposited.id}"
    _require_party(state, party)
    if state.registry.parties[party].role == "buyer":
        credit = deposited.from_credit
        entries = paid(entry_id, buyer=party, amount_minor=amount, currency=currency, at=at, from_credit=credit)
    elif deposited.from_credit:
        raise PoolError(f"'{party}' pays from credit notes and is no buyer")
    else:
        amounts = {accounts.BANK: -amount, accounts.payable(party): amount}
        entries = (Entry(id=entry_id, at=at, kind="deposit", currency=currency, postings=move(amounts)),)
    return _recorded(state, books, at, ("money.deposited", deposited), entries)


def receive(state: PoolState, received: Received, *, books: Standing, at: str) -> Change:
    """Take in many revenues as one step: licence fees and metered queries, of which only new ones are recorded.

    Raises:
        PoolError: an unknown buyer, or an amount, price or number that cannot be.
    """
    for buyer in sorted({one.buyer for one in received.invoices} | {one.buyer for one in received.queries}):
        _require_party(state, buyer, "buyer")
    currency = received.currency
    of_invoices = {one: _invoiced(one, currency, at) for one in received.invoices}
    of_queries = {one: _metered(one, currency, at) for one in received.queries}
    made = tuple(itertools.chain(*of_invoices.values(), *of_queries.values()))
    new = unless_known(books, made)
    if not new:
        return Change(at=at, events=(), after=state)
    ids = {entry.id for entry in new}
    told = Received(
        currency=currency,
        invoices=tuple(one for one, entries in of_invoices.items() if entries and entries[0].id in ids),
        queries=tuple(one for one, entries in of_queries.items() if entries and entries[0].id in ids),
    )
    return change_of(state, at, [("revenue.received", told)], new)


def _invoiced(invoice: Invoice, currency: str, at: str) -> tuple[Entry, ...]:
    return paid(
        f"invoice/{invoice.id}", buyer=invoice.buyer, amount_minor=invoice.amount_minor, currency=currency, at=at
    )


def _metered(queries: Queries, currency: str, at: str) -> tuple[Entry, ...]:
    meter = Meter(
        id=queries.meter,
        buyer=queries.buyer,
        currency=currency,
        price_per_1000_minor=queries.price_per_1000_minor,
    )
    return queries_paid(meter, first=queries.first, count=queries.count, at=at)


def subscribe(state: PoolState, subscription: Subscription, *, books: Standing, at: str) -> Change:
    """Take in a subscription's money, none of which is earned yet.

    Raises:
        PoolError: an unknown buyer, or another subscription of that id.
    """
    _require_party(state, subscription.buyer, "buyer")
    if state.subscriptions.get(subscription.id) == subscription:
        return Change(at=at, events=(), after=state)
    return _recorded(state, books, at, ("subscription.paid", subscription), (subscription_paid(subscription, at=at),))


def earn(state: PoolState, earned: Earned, *, books: Standing, at: str) -> Change:
    """A period of a subscription is over: its part goes to escrow, to be settled.

    Raises:
        PoolError: no such subscription or period.
    """
    if earned.subscription not in state.subscriptions:
        known = ", ".join(state.subscriptions) or "none yet"
        raise PoolError(f"there is no subscription '{earned.subscription[:80]}'", expected=f"one of: {known}")
    entries = subscription_earned(state.subscriptions[earned.subscription], earned.period, at=at)
    return _recorded(state, books, at, ("subscription.earned", earned), entries)


def fund_voucher(state: PoolState, voucher: Voucher, *, books: Standing, at: str) -> Change:
    """Take in a subsidiser's money for compute costs.

    Raises:
        PoolError: the subsidiser is not registered, or another voucher has that id.
    """
    _require_party(state, voucher.subsidiser)
    if state.vouchers.get(voucher.id) == voucher:
        return Change(at=at, events=(), after=state)
    return _recorded(state, books, at, ("voucher.funded", voucher), (voucher_funded(voucher, at=at),))


def spend_voucher(state: PoolState, spent: VoucherSpent, *, books: Standing, at: str) -> Change:
    """Pay a holder's compute costs with a voucher.

    Raises:
        PoolError: no such voucher or holder, expired, or more than is left.
    """
    _require_party(state, spent.holder, "holder")
    entry = voucher_spent(
        _voucher(state, spent.voucher), spent.id, holder=spent.holder, amount_minor=spent.amount_minor, at=at
    )
    return _recorded(state, books, at, ("voucher.spent", spent), (entry,))


def expire_voucher(state: PoolState, voucher_id: str, *, books: Standing, at: str) -> Change:
    """Give what is left of an expired voucher back to its subsidiser.

    Raises:
        PoolError: no such voucher, not expired yet, or nothing is left.
    """
    voucher = _voucher(state, voucher_id)
    left = books.balance(accounts.voucher(voucher_id), voucher.currency).available_minor
    if not left and voucher.has_expired(at):
        return Change(at=at, events=(), after=state)
    entry = voucher_expired(voucher, left_minor=left, at=at)
    return _recorded(
        state, books, at, ("voucher.expired", VoucherExpired(voucher=voucher_id, left_minor=left)), (entry,)
    )


def _voucher(state: PoolState, voucher_id: str) -> Voucher:
    if voucher_id not in state.vouchers:
        known = ", ".join(state.vouchers) or "none yet"
        raise PoolError(f"there is no voucher '{voucher_id[:80]}'", expected=f"one of: {known}")
    return state.vouchers[voucher_id]
