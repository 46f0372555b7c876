"""From contributions to shares: the one place where a float becomes part of a payment, and it becomes exact there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from fedjoint.errors import PoolError

__all__ = ["shares_from_contributions"]


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
