"""Money as whole minor units: written, read and divided without a rounding that anybody could not explain.

An amount is an ``int`` of minor units (fen, cents) with an ISO 4217 currency beside it. Nothing here is a float.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from fedjoint.errors import PoolError

__all__ = [
    "MAX_MINOR",
    "Apportionment",
    "apportion",
    "check_minor",
    "format_minor",
    "minor_digits",
    "parse_minor",
    "whole_parts",
]

#: Largest absolute amount: exact in JSON (below 2^53), and sums of thousands of them fit the database's 64 bits.
MAX_MINOR = 10**15
_NUMBER = re.compile(r"(-?)([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.([0-9]+))?")
_MAX_TEXT = 64


def check_minor(name: str, amount: int, *, low: int = -MAX_MINOR, high: int = MAX_MINOR) -> int:
    """Refuse whatever is not a whole number of minor units within bounds.

    Args:
        name: What the amount is, for the message.
        amount: Minor units.
        low: Smallest value allowed.
        high: Largest value allowed.

    Returns:
        The amount.

    Raises:
        PoolError: a float, a boolean or any other type; out of bounds.
    """
    if type(amount) is not int:
        raise PoolError(
            f"{name} = {amount!r} is a {type(amount).__name__}", expected="a whole number of minor units (int)"
        )
    if not low <= amount <= high:
        raise PoolError(f"{name} = {amount} minor units", expected=f"{low} to {high}")
    return amount


@functools.cache
def _digits_of_currencies() -> dict[str, int | None]:
    """Digits after the point by ISO 4217 code; None for gold, test codes and the like."""
    from iso4217 import Currency  # reads the whole standard: only when money is met

    return {str(currency.value): currency.exponent for currency in Currency}


def minor_digits(currency: str) -> int:
    """How many digits a currency has after the point.

    Args:
        currency: ISO 4217 code in capitals.

    Returns:
        0 to 4.

    Raises:
        PoolError: no such code (names the nearest), or one without a minor unit such as XAU.

    Example:
        >>> minor_digits("CNY"), minor_digits("JPY"), minor_digits("KWD")
        (2, 0, 3)
    """
    known = _digits_of_currencies()
    if currency not in known:
        nearest = difflib.get_close_matches(currency.upper(), known, 3, 0.0)
        raise PoolError(
            f"'{currency}' is no ISO 4217 currency",
            expected="a code such as CNY",
            remedy=f"Nearest: {', '.join(nearest)}.",
        )
    digits = known[currency]
    if digits is None:
        raise PoolError(f"'{currency}' has no minor unit", expected="a currency that people are paid in")
    return digits


def format_minor(amount: int, currency: str) -> str:
    """Write an amount for people.

    Raises:
        PoolError: not an amount, or no such currency.

    Example:
        >>> format_minor(100_000_000, "CNY"), format_minor(-5, "CNY"), format_minor(1234, "JPY")
        ('1,000,000.00 CNY', '-0.05 CNY', '1,234 JPY')
    """
    digits = minor_digits(currency)
    whole, rest = divmod(abs(check_minor("amount", amount)), 10**digits)
    decimals = f".{rest:0{digits}d}" if digits else ""
    return f"{'-' if amount < 0 else ''}{whole:,}{decimals} {currency}"


def parse_minor(text: str, currency: str) -> int:
    """Read an amount exactly: the inverse of :func:`format_minor`.

    Args:
        text: Digits with or without thousands commas, decimals and the currency's code.
        currency: ISO 4217 code that the amount is in.

    Returns:
        Minor units.

    Raises:
        PoolError: more decimals than the currency has, an exponent, NaN, another currency, commas out of place, or
            too large.

    Example:
        >>> parse_minor("1,000,000.00 CNY", "CNY"), parse_minor("-0.5", "CNY"), parse_minor("1234", "JPY")
        (100000000, -50, 1234)
    """
    digits = minor_digits(currency)
    found = _NUMBER.fullmatch(text.removesuffix(f" {currency}")) if len(text) <= _MAX_TEXT else None
    if found is None:
        raise PoolError(f"'{text[:_MAX_TEXT]}' is no amount in {currency}", expected="digits such as 1,000,000.00")
    sign, whole, decimals = found[1], found[2].replace(",", ""), found[3] or ""
    if len(decimals) > digits:
        raise PoolError(f"'{text}' has {len(decimals)} decimals", expected=f"at most {digits} for {currency}")
    return check_minor("amount", int(sign + whole + decimals.ljust(digits, "0")))


@dataclass(frozen=True, kw_only=True)
class Apportionment:
    """A whole amount divided into whole parts.

    Args:
        amounts: Minor units by id, in the order of the ids.
        carried: What each id's exact quota exceeds its amount by, in (-1, 1) minor units; sums to zero.
    """

    amounts: Mapping[str, int]
    carried: Mapping[str, Fraction]


def apportion(
    total: int, shares: Mapping[str, Fraction], *, brought: Mapping[str, Fraction] | None = None
) -> Apportionment:
    """Divide an amount by the largest remainder (Hamilton's method), ties by id.

    Each id gets the floor of its quota ``total * share + brought``; the units left over go, one each, to the largest
    remainders. What rounding took or gave is carried into the next period.

    Args:
        total: Minor units, 0 to :data:`MAX_MINOR`.
        shares: Fraction of each id, at least 0, summing to 1.
        brought: ``carried`` of the period before; ids that left keep theirs, with share 0.

    Returns:
        Amounts and what is carried, for every id of ``shares`` and ``brought``.

    Raises:
        PoolError: shares that do not sum to 1, a negative one, a float, or ``brought`` that was never ``carried``.

    Guarantees:
        Amounts sum to ``total``. Each is within one unit of its quota. Whoever passes ``carried`` on pays each id, over
        any number of periods, within one unit of the exact sum of its quotas. With nothing brought no amount is
        negative; otherwise one may be -1, where a unit paid early is taken back, and never is the lifetime sum.

    Example:
        >>> third = Fraction(1, 3)
        >>> first = apportion(100, {"a": third, "b": third, "c": third})
        >>> dict(first.amounts), first.carried["a"]
        ({'a': 34, 'b': 33, 'c': 33}, Fraction(-2, 3))
        >>> second = apportion(100, {"a": third, "b": third, "c": third}, brought=first.carried)
        >>> dict(second.amounts)
        {'a': 33, 'b': 34, 'c': 33}

    Source:
        Balinski and Young, Fair Representation, 2nd ed. 2001, chapter 3 (Hamilton's method).
    """
    check_minor("total", total, low=0)
    _check_shares(shares)
    return whole_parts({key: total * share for key, share in shares.items()}, brought=brought)


def whole_parts(quotas: Mapping[str, Fraction], *, brought: Mapping[str, Fraction] | None = None) -> Apportionment:
    """Round exact quotas, which sum to a whole amount, to whole parts of it; see :func:`apportion`.

    Args:
        quotas: Minor units of each id, at least 0.
        brought: ``carried`` of the period before.

    Raises:
        PoolError: quotas that do not sum to a whole amount, a float, or ``brought`` that was never ``carried``.
    """
    brought, none = brought or {}, Fraction(0)
    total = sum(quotas.values(), none)
    if total.denominator != 1 or not 0 <= total <= MAX_MINOR:
        raise PoolError(f"the quotas sum to {total}", expected=f"a whole amount of 0 to {MAX_MINOR}")
    _check_brought(brought)
    quotas = {key: quotas.get(key, none) + brought.get(key, none) for key in sorted({*quotas, *brought})}
    amounts = {key: floor(quota) for key, quota in quotas.items()}

    def turn(key: str) -> tuple[bool, Fraction, str]:
        """Who gets a left-over unit first: whom it saves from a charge, then the largest remainder, then by id."""
        return (amounts[key] >= 0, amounts[key] - quotas[key], key)

    for key in sorted(quotas, key=turn)[: int(total) - sum(amounts.values())]:
        amounts[key] += 1
    return Apportionment(amounts=amounts, carried={key: quota - amounts[key] for key, quota in quotas.items()})


def _check_shares(shares: Mapping[str, Fraction]) -> None:
    _check_fractions("share", shares)
    for key, share in shares.items():
        if share < 0:
            raise PoolError(f"share of '{key}' is negative", expected="at least 0")
    if sum(shares.values()) != 1:
        raise PoolError("the shares do not sum to 1", expected="shares_from_contributions makes such")


def _check_brought(brought: Mapping[str, Fraction]) -> None:
    _check_fractions("remainder brought", brought)
    if sum(brought.values()) != 0 or any(abs(value) >= 1 for value in brought.values()):
        raise PoolError(
            "the remainders brought are not those carried",
            expected="each in (-1, 1), all summing to 0",
            remedy="Pass on what the period before carried, for every holder.",
        )


def _check_fractions(name: str, values: Mapping[str, Fraction]) -> None:
    for key, value in values.items():
        if not isinstance(value, Fraction):
            raise PoolError(f"{name} of '{key}' is a {type(value).__name__}", expected="a Fraction")
