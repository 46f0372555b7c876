"""From contributions to shares: the one place where a float becomes part of a payment, and it becomes exact there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from fedjoint.errors import PoolError

__all__ = ["bounded_shares", "shares_from_contributions"]


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


def bounded_shares(shares: Mapping[str, Fraction], *, floor: Fraction, cap: Fraction) -> dict[str, Fraction]:
    """Shares within an agreed floor and cap: all are scaled alike, and those beyond a bound stop there.

    Args:
        shares: From :func:`shares_from_contributions` or :func:`fedjoint.pool.materiality.pay_alike`.
        floor: The least for whoever has a share at all; where so many cannot all have it, they are paid alike.
        cap: The most for one holder; where so few cannot take all with it, they are paid alike.

    Returns:
        Shares in the order given.

    Guarantees:
        The sum is unchanged, exactly. Who had nothing has nothing; nobody passes another; equal shares stay equal.
        Shares that are within the bounds already stay as they are.

    Example:
        >>> whole = {"a": Fraction(7, 10), "b": Fraction(2, 10), "c": Fraction(1, 10), "d": Fraction(0)}
        >>> [str(share) for share in bounded_shares(whole, floor=Fraction(0), cap=Fraction(1, 2)).values()]
        ['1/2', '1/3', '1/6', '0']
    """
    positive = {holder: share for holder, share in shares.items() if share}
    if not positive:
        return dict(shares)
    alike = Fraction(1, len(positive))
    low, high = min(floor, alike), max(cap, alike)

    def at(scale: Fraction) -> dict[str, Fraction]:
        return {holder: min(max(scale * share, low), high) for holder, share in positive.items()}

    # The sum grows with the scale, in straight pieces between the scales at which a share meets a bound.
    meets = sorted({bound / share for share in positive.values() for bound in (low, high)})
    first, last = 0, len(meets) - 1
    while first < last:
        middle = (first + last) // 2
        first, last = (first, middle) if sum(at(meets[middle]).values()) >= 1 else (middle + 1, last)
    below = meets[first - 1] if first else Fraction(0)
    free = sum(share for share in positive.values() if low < share * (below + meets[first]) / 2 < high)
    short = 1 - sum(at(below).values())
    found = at(below + short / free if free else below)
    return {holder: found.get(holder, Fraction(0)) for holder in shares}
