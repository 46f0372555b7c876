"""Revenue as ledger entries: licences, subscriptions and metered queries.

Revenue stands in escrow until a settlement divides it (:mod:`fedjoint.pool.settlement_entries`). Entry ids follow from
the ids given, so that an event told twice is one event. What moves nothing is no entry.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedjoint.errors import PoolError
from fedjoint.pool import accounts
from fedjoint.pool.ledger import Entry, move
from fedjoint.pool.money import check_minor
from fedjoint.strict import strict

__all__ = ["Meter", "Subscription", "paid", "price_of", "queries_paid", "subscription_earned", "subscription_paid"]

_MAX_PERIODS = 1_200


def paid(
    id: str, *, buyer: str, amount_minor: int, currency: str, at: str, from_credit: bool = False
) -> tuple[Entry, ...]:
    """A one-off licence fee, earned when it is paid.

    Args:
        id: Of the entry, such as ``invoice/17``.
        buyer: Party id.
        amount_minor: Minor units, at least 0.
        currency: ISO 4217 code.
        at: ISO 8601 in UTC.
        from_credit: Pay with what credit notes gave the buyer.

    Raises:
        PoolError: malformed.
    """
    check_minor("revenue", amount_minor, low=0)
    source = accounts.credit(buyer) if from_credit else accounts.receivable(buyer)
    if not amount_minor:
        return ()
    return (
        Entry(
            id=id,
            at=at,
            kind="invoice",
            currency=currency,
            memo=f"paid by {buyer}",
            postings=move({source: -amount_minor, accounts.ESCROW: amount_minor}),
        ),
    )


@strict
@dataclass(frozen=True, kw_only=True)
class Subscription:
    """Money paid at once and earned period by period.

    Args:
        id: 1 to 63 of ``a-z0-9_-``; also the account's.
        buyer: Party id.
        currency: ISO 4217 code.
        amount_minor: For all periods together.
        num_periods: 1 to 1,200, all worth the same.

    Raises:
        PoolError: malformed.
    """

    id: str
    buyer: str
    currency: str
    amount_minor: int
    num_periods: int

    def __post_init__(self) -> None:
        accounts.deferred(self.id)
        accounts.receivable(self.buyer)
        check_minor("subscription", self.amount_minor, low=1)
        if not 1 <= self.num_periods <= _MAX_PERIODS:
            raise PoolError(f"a subscription of {self.num_periods} periods", expected=f"1 to {_MAX_PERIODS}")


def subscription_paid(subscription: Subscription, *, at: str) -> Entry:
    """The money comes in; nothing of it is earned yet.

    Raises:
        PoolError: a malformed time.
    """
    amount = subscription.amount_minor
    return Entry(
        id=f"subscription/{subscription.id}/paid",
        at=at,
        kind="subscription",
        currency=subscription.currency,
        memo=f"paid by {subscription.buyer} for {subscription.num_periods} periods",
        postings=move({accounts.receivable(subscription.buyer): -amount, accounts.deferred(subscription.id): amount}),
    )


def subscription_earned(subscription: Subscription, period: int, *, at: str) -> tuple[Entry, ...]:
    """One period is over and its part is earned.

    Args:
        subscription: That was paid.
        period: 1 to ``num_periods``.
        at: ISO 8601 in UTC.

    Raises:
        PoolError: no such period, or a malformed time.

    Guarantees:
        The periods add up to the amount paid, each within one unit of an equal part.
    """
    if not 1 <= period <= subscription.num_periods:
        raise PoolError(f"period {period} of '{subscription.id}'", expected=f"1 to {subscription.num_periods}")
    ends = [subscription.amount_minor * end // subscription.num_periods for end in (period - 1, period)]
    earned = ends[1] - ends[0]
    if not earned:
        return ()
    return (
        Entry(
            id=f"subscription/{subscription.id}/earned/{period}",
            at=at,
            kind="subscription earned",
            currency=subscription.currency,
            memo=f"period {period} of {subscription.num_periods}",
            postings=move({accounts.deferred(subscription.id): -earned, accounts.ESCROW: earned}),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Meter:
    """What a buyer pays for queries.

    Args:
        id: Of the meter; batches are counted within it.
        buyer: Party id.
        currency: ISO 4217 code.
        price_per_1000_minor: For a thousand queries.

    Raises:
        PoolError: malformed.
    """

    id: str
    buyer: str
    currency: str
    price_per_1000_minor: int

    def __post_init__(self) -> None:
        accounts.receivable(self.buyer)
        check_minor("price of a thousand queries", self.price_per_1000_minor, low=0)


def price_of(price_per_1000_minor: int, *, first: int, count: int) -> int:
    """What a batch of queries costs: however they are divided into batches, all together cost what one batch would.

    Args:
        price_per_1000_minor: Minor units for a thousand queries.
        first: Number of the batch's first query, from 0.
        count: How many, at least 1.

    Returns:
        Minor units.

    Raises:
        PoolError: a price, count or number that cannot be.

    Example:
        >>> [price_of(1_500, first=first, count=1) for first in range(4)], price_of(1_500, first=0, count=4)
        ([1, 2, 1, 2], 6)
    """
    price = check_minor("price of a thousand queries", price_per_1000_minor, low=0)
    check_minor("number of the first query", first, low=0)
    check_minor("number of queries", count, low=1)
    return price * (first + count) // 1000 - price * first // 1000


def queries_paid(meter: Meter, *, first: int, count: int, at: str) -> tuple[Entry, ...]:
    """A batch of metered queries.

    Args:
        meter: Whose queries.
        first: Number of the batch's first query, from 0: also what makes its entry's id.
        count: How many, at least 1.
        at: ISO 8601 in UTC.

    Raises:
        PoolError: a count or number that cannot be, or a malformed time.

    Guarantees:
        However queries are divided into batches, their price in all is that of one batch, rounded down.
    """
    amount = price_of(meter.price_per_1000_minor, first=first, count=count)
    if not amount:
        return ()
    return (
        Entry(
            id=f"meter/{meter.id}/{first}",
            at=at,
            kind="queries",
            currency=meter.currency,
            memo=f"{count} queries of {meter.buyer}",
            postings=move({accounts.receivable(meter.buyer): -amount, accounts.ESCROW: amount}),
            details={"queries": str(count), "price_per_1000_minor": str(meter.price_per_1000_minor)},
        ),
    )
