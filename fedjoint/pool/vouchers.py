"""Compute vouchers: a subsidiser funds compute costs in advance, until a day; what is left then returns to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fedjoint.errors import PoolError
from fedjoint.pool import accounts
from fedjoint.pool.ledger import Entry, move
from fedjoint.pool.money import check_minor
from fedjoint.strict import strict

__all__ = ["Voucher", "voucher_expired", "voucher_funded", "voucher_spent"]


@strict
@dataclass(frozen=True, kw_only=True)
class Voucher:
    """Money for compute costs that expires.

    Args:
        id: 1 to 63 of ``a-z0-9_-``; also the account's.
        subsidiser: Party id of who funds it.
        currency: ISO 4217 code.
        amount_minor: At least 1 minor unit.
        expires: ISO 8601 with a time zone; it can be spent before this, not after.

    Raises:
        PoolError: malformed.
    """

    id: str
    subsidiser: str
    currency: str
    amount_minor: int
    expires: str

    def __post_init__(self) -> None:
        accounts.voucher(self.id)
        accounts.receivable(self.subsidiser)
        check_minor("voucher", self.amount_minor, low=1)
        _time("expiry", self.expires)

    def has_expired(self, at: str) -> bool:
        """Whether the voucher can no longer be spent.

        Raises:
            PoolError: a malformed time.
        """
        return _time("time", at) >= _time("expiry", self.expires)


def voucher_funded(voucher: Voucher, *, at: str) -> Entry:
    """The subsidiser's money comes in.

    Raises:
        PoolError: a malformed time.
    """
    return _entry(
        voucher, "funded", at, {accounts.receivable(voucher.subsidiser): -voucher.amount_minor}, voucher.amount_minor
    )


def voucher_spent(voucher: Voucher, spending_id: str, *, holder: str, amount_minor: int, at: str) -> Entry:
    """Pay a holder's compute costs with a voucher; the ledger refuses more than is left.

    Raises:
        PoolError: expired, or malformed.
    """
    if voucher.has_expired(at):
        raise PoolError(f"voucher '{voucher.id}' expired at {voucher.expires}", remedy="Costs are paid from revenue.")
    check_minor("compute costs", amount_minor, low=1)
    return _entry(voucher, f"spent/{spending_id}", at, {accounts.payable(holder): amount_minor}, -amount_minor)


def voucher_expired(voucher: Voucher, *, left_minor: int, at: str) -> Entry:
    """What is left of an expired voucher returns to its subsidiser.

    Args:
        voucher: Expired.
        left_minor: Balance of its account, at least 1.
        at: ISO 8601 in UTC.

    Raises:
        PoolError: not expired yet, or malformed.
    """
    if not voucher.has_expired(at):
        raise PoolError(f"voucher '{voucher.id}' is good until {voucher.expires}")
    check_minor("rest of the voucher", left_minor, low=1)
    return _entry(voucher, "expired", at, {accounts.receivable(voucher.subsidiser): left_minor}, -left_minor)


def _entry(voucher: Voucher, what: str, at: str, other: dict[str, int], amount: int) -> Entry:
    return Entry(
        id=f"voucher/{voucher.id}/{what}",
        at=at,
        kind="voucher",
        currency=voucher.currency,
        memo=f"compute voucher of {voucher.subsidiser}",
        postings=move({accounts.voucher(voucher.id): amount, **other}),
        details={"expires": voucher.expires},
    )


def _time(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise PoolError(f"{name} '{text[:80]}'", expected="ISO 8601 with a time zone, such as 2026-12-31T00:00:00Z")
    return moment
