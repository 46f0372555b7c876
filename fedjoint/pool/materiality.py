"""Who is paid alike: holders whose contributions differ by less than the error with which they are known.

Contributions of alike holders cannot be ranked by any method, so money must not pretend that they can. The rule moves
money within a group only: what its members would have had together is divided again, and nobody outside is touched.
It joins holders of positive contribution only. Whoever added nothing is paid nothing, as without the rule; an error
bar gives no claim.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from fedjoint.errors import PoolError

__all__ = ["groups_within_error", "pay_alike"]

#: (one holder, another) to the standard error of the difference of their contributions.
ErrorOfDifference = Callable[[str, str], float]


def groups_within_error(
    contributions: Mapping[str, float], error_of_difference: ErrorOfDifference, *, z: float
) -> tuple[tuple[str, ...], ...]:
    """The holders that are to be paid alike.

    Two holders whose contributions differ by at most ``z`` standard errors of the difference are in one group, and with
    them everybody between the two. Groups that meet are one, so that each holder is in one group.

    Args:
        contributions: Of each holder; those that are not positive stay out.
        error_of_difference: Symmetric; at least 0.
        z: How many standard errors count as error, above 0.

    Returns:
        The groups of two or more, highest contribution first, each sorted by id.

    Raises:
        PoolError: a contribution, an error or ``z`` that is not finite, or is negative where it must not be.

    Guarantees:
        Any two holders within the error of each other are in the same group, and no partition into intervals of the
        ranking with that property is finer. Ids and order play no part. A group is an interval: nobody between two
        members is left out, so that paying a group alike never puts a lower contribution above a higher one's group.

    Example:
        >>> found = {"a": 0.50, "b": 0.48, "c": 0.30, "d": -0.01}
        >>> groups_within_error(found, lambda one, other: 0.02, z=1.96)
        (('a', 'b'),)
    """
    if not (math.isfinite(z) and z > 0) or not all(math.isfinite(value) for value in contributions.values()):
        raise PoolError(f"z = {z} and contributions {sorted(contributions.values())[:3]}…", expected="finite numbers")
    ranked = sorted((h for h in contributions if contributions[h] > 0), key=lambda h: (-contributions[h], h))
    groups: list[tuple[str, ...]] = []
    start = reach = 0
    for place, holder in enumerate(ranked):
        if place > reach:
            groups.append(tuple(sorted(ranked[start:place])))
            start = reach = place
        for other in range(len(ranked) - 1, reach, -1):
            error = error_of_difference(holder, ranked[other])
            if not (math.isfinite(error) and error >= 0):
                raise PoolError(f"an error of {error} between two contributions", expected="a number from 0")
            if contributions[holder] - contributions[ranked[other]] <= z * error:
                reach = other
                break
    groups.append(tuple(sorted(ranked[start:])))
    return tuple(group for group in groups if len(group) > 1)


def pay_alike(
    shares: Mapping[str, Fraction], groups: Sequence[Sequence[str]], *, sizes: Mapping[str, int] | None = None
) -> dict[str, Fraction]:
    """Divide each group's part of the money among its members again.

    Args:
        shares: By contribution (:func:`fedjoint.pool.shares.shares_from_contributions`).
        groups: From :func:`groups_within_error`.
        sizes: Certified examples, each at least 1, to divide by; None: equally.

    Returns:
        Shares in the order of the ids.

    Raises:
        PoolError: a holder stands in two groups or has no share, or a size is missing or below 1.

    Guarantees:
        The sum is unchanged, exactly, and so is that of each group; who is in no group keeps its share.

    Example:
        >>> thirds = {"a": Fraction(1, 2), "b": Fraction(1, 6), "c": Fraction(1, 3)}
        >>> pay_alike(thirds, [("a", "b")])
        {'a': Fraction(1, 3), 'b': Fraction(1, 3), 'c': Fraction(1, 3)}
    """
    members = [holder for group in groups for holder in group]
    if len(set(members)) != len(members) or not set(members) <= set(shares):
        raise PoolError("a holder is in two groups, or in one without a share", remedy="Make the groups again.")
    if sizes is not None and not all(sizes.get(holder, 0) >= 1 for holder in members):
        raise PoolError("a holder of a group has no certified size", expected="at least one example")
    paid = {holder: shares[holder] for holder in sorted(shares)}
    for group in groups:
        weights = {holder: 1 if sizes is None else sizes[holder] for holder in group}
        together, whole = sum((shares[holder] for holder in group), Fraction(0)), sum(weights.values())
        paid.update({holder: together * weight / whole for holder, weight in weights.items()})
    return paid
