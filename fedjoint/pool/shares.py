"""From contributions to shares: the one place where a float becomes part of a payment, and it becomes exact there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from fedjoint.agreement.terms import MoneyTerms
from fedjoint.errors import PoolError

__all__ = ["agreed_shares", "shares_from_contributions"]


def shares_from_contributions(contributions: Mapping[str, float]) -> dict[str, Fraction]:
    """Each holder's fraction of the distributable revenue: its contribution over the sum of the positive ones.

    Args:
        contributions: Holder's value in units of the utility, any sign.

    Returns:
        Shares by holder in the order of the ids, each in [0, 1]; all zero if no contribution is positive.

    Raises:
        PoolError: a contribution that is NaN, infinite or no number, or no holder at all.

    Guarantees:
        Efficiency: the shares sum to exactly 1, or all are 0.
        No loss: a holder whose contribution is negative or zero gets 0; nobody pays in.
        Symmetry: equal contributions get equal shares; ids and order play no part.
        Scale: multiplying every contribution by the same power of two changes nothing (the value's unit is
        immaterial; other factors round the floats themselves).
        Monotony: raising one holder's contribution alone never lowers its share.

    Example:
        >>> shares_from_contributions({"b": 0.5, "a": 0.25, "c": -1.0})
        {'a': Fraction(1, 3), 'b': Fraction(2, 3), 'c': Fraction(0, 1)}
    """
    if not contributions:
        raise PoolError("there is no holder to share with", expected="at least one contribution")
    positive = {holder: _positive_part(holder, contributions[holder]) for holder in sorted(contributions)}
    whole = sum(positive.values(), Fraction(0))
    return {holder: part / whole if whole else Fraction(0) for holder, part in positive.items()}


def _positive_part(holder: str, contribution: float) -> Fraction:
    """The float's exact value, or 0 below it."""
    if isinstance(contribution, bool) or not isinstance(contribution, (int, float)) or not math.isfinite(contribution):
        raise PoolError(
            f"the contribution of '{holder}' is {contribution!r}",
            expected="a finite number",
            remedy="Value the run again: nothing can be shared by it.",
        )
    return max(Fraction(contribution), Fraction(0))


def agreed_shares(
    contributions: Mapping[str, float],
    *,
    terms: MoneyTerms,
    errors: Mapping[str, float] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> dict[str, Fraction]:
    """Each holder's share under the agreement: by contribution, as far as contributions can honestly be told apart.

    Holders with positive contributions, each within the error bars of the next, share what they have together equally
    or by size (``terms.materiality``). Then no share is below the agreed floor or above the cap: all are scaled by one
    factor and cut off at these bounds.

    Args:
        contributions: In units of the utility; who has none above 0 gets nothing, whatever the rules.
        terms: The agreed rules.
        errors: Half the width of each contribution's error bar, in the same units; needed for materiality.
        sizes: Certified examples of each holder; needed for materiality by size.

    Raises:
        PoolError: as :func:`shares_from_contributions`; an error bar or size that is missing or cannot be.

    Guarantees:
        The shares sum to exactly 1, or all are 0. A holder with a larger contribution has no smaller share, unless
        sizes decide.

    Example:
        >>> terms = MoneyTerms(share_cap_bp=5_000)
        >>> [str(share) for share in agreed_shares({"a": 8.0, "b": 1.0, "c": 1.0}, terms=terms).values()]
        ['1/2', '1/4', '1/4']
    """
    shares = shares_from_contributions(contributions)
    paid = {holder: share for holder, share in shares.items() if share}
    if paid and terms.materiality != "none":
        weights = _weights(paid, sizes) if terms.materiality == "size" else dict.fromkeys(paid, 1)
        paid = _pooled(paid, contributions, _errors(paid, errors), weights)
    if paid:
        paid = _bounded(paid, floor=Fraction(terms.share_floor_bp, 10_000), cap=Fraction(terms.share_cap_bp, 10_000))
    return {holder: paid.get(holder, Fraction(0)) for holder in shares}


def _pooled(
    paid: Mapping[str, Fraction],
    contributions: Mapping[str, float],
    errors: Mapping[str, float],
    weights: Mapping[str, int],
) -> dict[str, Fraction]:
    """Shares with those alike put together, who then share by weight."""
    groups: list[list[str]] = []
    for holder in sorted(paid, key=lambda h: (contributions[h], h)):
        last = groups[-1][-1] if groups else None
        alike = last is not None and contributions[holder] - contributions[last] <= errors[holder] + errors[last]
        groups[-1].append(holder) if alike else groups.append([holder])
    return {
        holder: sum((paid[other] for other in group), Fraction(0)) * Fraction(weights[holder], total)
        for group in groups
        for total in [sum(weights[other] for other in group)]
        for holder in group
    }


def _bounded(paid: Mapping[str, Fraction], *, floor: Fraction, cap: Fraction) -> dict[str, Fraction]:
    """Shares scaled by the one factor at which, cut off at floor and cap, they sum to 1."""
    equal = Fraction(1, len(paid))
    floor, cap = min(floor, equal), max(cap, equal)

    def scaled(factor: Fraction) -> dict[str, Fraction]:
        return {holder: min(max(factor * share, floor), cap) for holder, share in paid.items()}

    low = Fraction(0)
    for high in sorted({bound / share for share in paid.values() for bound in (floor, cap)}):
        above = sum(scaled(high).values())
        if above >= 1:
            below = sum(scaled(low).values())
            return scaled(high if above == below else low + (high - low) * (1 - below) / (above - below))
        low = high
    raise AssertionError("at the largest factor every share stands at the cap")


def _errors(paid: Mapping[str, Fraction], errors: Mapping[str, float] | None) -> dict[str, float]:
    found = {holder: (errors or {}).get(holder, math.nan) for holder in paid}
    for holder, error in found.items():
        if not 0 <= error < math.inf:
            raise PoolError(
                f"the error bar of '{holder}' is missing or {error!r}",
                expected="a finite number of at least 0 for every holder",
                remedy="Without error bars, agree on money.materiality = none.",
            )
    return found


def _weights(paid: Mapping[str, Fraction], sizes: Mapping[str, int] | None) -> dict[str, int]:
    found = {holder: (sizes or {}).get(holder, 0) for holder in paid}
    for holder, size in found.items():
        if type(size) is not int or size < 1:
            raise PoolError(f"the size of '{holder}' is missing", expected="certified examples of each holder")
    return found
