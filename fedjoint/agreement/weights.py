"""How much a holder's examples count in the average, where the agreement caps what one holder may weigh."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fedjoint.errors import InvalidValue

__all__ = ["most_counted"]


def most_counted(sizes: Sequence[int], maximum_weight: float) -> float:
    """The number of examples beyond which more do not count, so that no holder weighs more than agreed.

    Args:
        sizes: Certified examples of all holders, each at least 1.
        maximum_weight: Largest fraction of all weights, from ``1 / number of holders`` to 1.

    Returns:
        c, so that ``min(n_i, c) / sum_j min(n_j, c)`` is at most the cap for all; infinite if nobody is above it.

    Raises:
        InvalidValue: a cap that not even equal weights keep.

    Guarantees:
        Nobody's weight relative to another's is changed but where one of the two is above c.

    Example:
        >>> most_counted([60, 20, 10, 10], 0.4)                 # 26.7 / (26.7 + 40) = 0.4
        26.666666666666668
    """
    count = len(sizes)
    if maximum_weight < 1 / count:
        raise InvalidValue(
            f"training.maximum_weight = {maximum_weight:g} for {count} holders",
            expected=f"at least {1 / count:g}: what equal weights are",
        )
    ranked = sorted(sizes, reverse=True)
    if ranked[0] <= maximum_weight * sum(ranked):
        return math.inf
    for capped in range(1, count):
        left = 1 - capped * maximum_weight
        # with the largest k counted as c each: c = maximum * (k c + rest)
        if left > 0 and ranked[capped] <= (counted := maximum_weight * sum(ranked[capped:]) / left):
            return counted
    return float(ranked[-1])  # equal weights alone keep the cap
