"""Conversion between currencies: never implied, always two linked entries with the rate and its source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from fedjoint.errors import PoolError
from fedjoint.pool import accounts
from fedjoint.pool.ledger import Entry, move
from fedjoint.pool.money import check_minor, minor_digits
from fedjoint.strict import strict

__all__ = ["Rate", "conversion"]

_DECIMAL = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,12})?")


@strict
@dataclass(frozen=True, kw_only=True)
class Rate:
    """How many major units of one currency a major unit of another buys, and who says so.

    Args:
        of: ISO 4217 code of what is given.
        into: Of what is got.
        rate: A decimal number above 0, as text, such as ``7.1234``.
        source: Who published it and when, 1 to 200 characters.

    Raises:
        PoolError: malformed, or twice the same currency.
    """

    of: str
    into: str
    rate: str
    source: str

    def __post_init__(self) -> None:
        minor_digits(self.of)
        minor_digits(self.into)
        if self.of == self.into:
            raise PoolError(f"a rate of {self.of} into itself", expected="two currencies")
        if not _DECIMAL.fullmatch(self.rate) or not Fraction(self.rate):
            raise PoolError(f"rate '{self.rate[:80]}'", expected="a decimal number above 0, such as 7.1234")
        if not 1 <= len(self.source) <= 200:
            raise PoolError("a rate without a source", expected="who published it and when, 1 to 200 characters")

    def converted(self, amount_minor: int) -> int:
        """Minor units of ``into`` for minor units of ``of``, rounded down."""
        scale = Fraction(10) ** (minor_digits(self.into) - minor_digits(self.of))
        return floor(amount_minor * Fraction(self.rate) * scale)


def conversion(id: str, *, account: str, amount_minor: int, rate: Rate, at: str) -> tuple[Entry, Entry]:
    """Two entries, to be posted together, that turn money of an account into another currency.

    Both go through the account ``conversion``, whose balances show what was given in one currency and taken in
    another: no entry mixes two.

    Args:
        id: Of both; each adds its currency.
        account: Whose money.
        amount_minor: What is given, at least 1 minor unit.
        rate: Fixed and published.
        at: ISO 8601 in UTC.

    Raises:
        PoolError: malformed, or too little to be one minor unit of the other currency.

    Example:
        >>> rate = Rate(of="USD", into="CNY", rate="7.1234", source="PBOC, 2026-11-20")
        >>> given, got = conversion("fx/1", account="escrow", amount_minor=1_000, rate=rate, at="2026-11-21T00:00:00Z")
        >>> got.currency, dict((p.account, p.amount_minor) for p in got.postings)
        ('CNY', {'conversion': -7123, 'escrow': 7123})
    """
    check_minor("converted", amount_minor, low=1)
    got = check_minor("got by conversion", rate.converted(amount_minor), low=1)
    facts = {"rate": rate.rate, "of": rate.of, "into": rate.into, "source": rate.source}

    def entry(currency: str, source: str, into: str, amount: int) -> Entry:
        return Entry(
            id=f"{id}/{currency}",
            at=at,
            kind="conversion",
            currency=currency,
            memo=f"1 {rate.of} = {rate.rate} {rate.into}",
            postings=move({source: -amount, into: amount}),
            details=facts,
        )

    return (
        entry(rate.of, account, accounts.CONVERSION, amount_minor),
        entry(rate.into, accounts.CONVERSION, account, got),
    )
