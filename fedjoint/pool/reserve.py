"""The mutual reserve: how far it grows, what a revenue adds to it, and what goes back to those who paid in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.pool.money import apportion, check_minor

__all__ = ["excess_return", "premium_due", "reserve_target"]

_WHOLE_BP = 10_000


def reserve_target(trailing_revenue_minor: int, sums_insured_minor: Iterable[int], terms: ClaimTerms) -> int:
    """Where the reserve stops growing: a part of a year's revenue, or the largest sum insured if that is more.

    Args:
        trailing_revenue_minor: Gross revenue of the last twelve months, less refunds, in minor units.
        sums_insured_minor: Of each registered dataset.
        terms: The agreed rules.

    Raises:
        PoolError: an amount that cannot be.

    Example:
        >>> reserve_target(100_000_000, [3_000_000, 7_000_000], ClaimTerms())
        7000000
        >>> reserve_target(200_000_000, [3_000_000, 7_000_000], ClaimTerms())
        10000000
    """
    check_minor("trailing revenue", trailing_revenue_minor, low=0)
    sums = [check_minor("sum insured", amount, low=0) for amount in sums_insured_minor]
    return max(trailing_revenue_minor * terms.reserve_target_bp // _WHOLE_BP, *sums, terms.sum_insured_minor)


def premium_due(gross_minor: int, premium_bp: int, *, reserve_minor: int, target_minor: int) -> int:
    """The premium of one revenue: its rate of gross, rounded down, but never beyond the target.

    Raises:
        PoolError: an amount that cannot be.

    Example:
        >>> premium_due(1_000_000, 300, reserve_minor=90_000, target_minor=100_000)
        10000
    """
    check_minor("gross revenue", gross_minor, low=0)
    return min(gross_minor * premium_bp // _WHOLE_BP, max(target_minor - reserve_minor, 0))


def excess_return(available_minor: int, target_minor: int, paid_in_minor: Mapping[str, int]) -> dict[str, int]:
    """What goes back to each holder: the reserve beyond its target, pro rata to what each paid in.

    Args:
        available_minor: The reserve less what is reserved for claims.
        target_minor: From :func:`reserve_target`.
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
