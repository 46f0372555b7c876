"""The mutual reserve: what goes back to those who paid in, once it stands above its target."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from fedjoint.pool.money import apportion, check_minor

__all__ = ["excess_return"]


def excess_return(available_minor: int, target_minor: int, paid_in_minor: Mapping[str, int]) -> dict[str, int]:
    """What goes back to each holder: the reserve beyond its target, pro rata to what each paid in.

    Args:
        available_minor: The reserve less what is reserved for claims.
        target_minor: From :func:`fedjoint.pool.waterfall.reserve_target`.
        paid_in_minor: Each holder's premiums so far, less what was returned or used for claims against it.

    Returns:
        Minor units by holder; whole units by largest remainder, ties by id.

    Raises:
        PoolError: an amount that cannot be.

    Guarantees:
        The parts sum to the excess, or to what was paid in if that is less; nobody gets more than it paid in; nothing
        that claims have reserved is touched.

    Example:
        >>> excess_return(1_300, 1_000, {"a": 200, "b": 400})
        {'a': 100, 'b': 200}
    """
    paid_in = sum(check_minor("paid in", amount, low=0) for amount in paid_in_minor.values())
    excess = min(max(available_minor - target_minor, 0), paid_in)
    if not excess:
        return dict.fromkeys(sorted(paid_in_minor), 0)
    shares = {holder: Fraction(amount, paid_in) for holder, amount in paid_in_minor.items()}
    return dict(apportion(excess, shares).amounts)
