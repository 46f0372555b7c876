"""Refunds and credit notes: revenue given back runs through the waterfall that divided it, backwards."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Literal

from fedjoint.pool import accounts
from fedjoint.pool.facts import Settled
from fedjoint.pool.ledger import Entry, move
from fedjoint.pool.money import apportion, check_minor

__all__ = ["given_back"]


def given_back(
    settled: Settled,
    *,
    buyer: str,
    amount_minor: int,
    before_minor: int,
    at: str,
    how: Literal["refund", "credit note"] = "refund",
) -> Entry:
    """The entry that takes revenue back from whom a settlement gave it to, each in proportion.

    A holder that was paid out already ends with a negative payable, which its next payouts fill. What is held back
    stays so: the whole of a holder's part comes from its payable.

    Args:
        settled: The settlement that divided the revenue.
        buyer: Who gets it: as money (``refund``) or to spend (``credit note``).
        amount_minor: At least 1.
        before_minor: What was given back of this settlement before; with it, the entry's id.
        at: ISO 8601 in UTC.
        how: ``refund`` or ``credit note``.

    Raises:
        PoolError: more than the settlement's gross revenue in all, or malformed.

    Guarantees:
        However it is divided into parts, giving back everything takes from each exactly what it got.
    """
    gross = settled.gross_minor
    check_minor("given back before", before_minor, low=0, high=gross)
    check_minor("given back", amount_minor, low=1, high=gross - before_minor)
    got = settled.received_minor
    after, before = _part(got, gross, before_minor + amount_minor), _part(got, gross, before_minor)
    buyers = accounts.credit(buyer) if how == "credit note" else accounts.receivable(buyer)
    return Entry(
        id=f"{settled.id}/given-back/{before_minor}",
        at=at,
        kind=how,
        currency=settled.currency,
        memo=f"{how} to {buyer} of {settled.id}",
        postings=move({buyers: amount_minor, **{account: before[account] - after[account] for account in got}}),
        details={"reverses": settled.id},
    )


def _part(got: Mapping[str, int], gross: int, amount: int) -> Mapping[str, int]:
    """What each account gives back of an amount; all it got, of all."""
    if amount == gross:
        return got
    # A unit paid early and taken back since is a negative part, which nobody can give back in proportion.
    least = {account: max(0, part) for account, part in got.items()}
    return apportion(amount, {a: Fraction(part, sum(least.values())) for a, part in least.items()}).amounts
