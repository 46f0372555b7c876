"""Which money pays an upheld claim: layers in order, as central counterparties use up theirs, each with its cap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.pool import accounts
from fedjoint.pool.claim import Debt, Held
from fedjoint.pool.money import apportion, check_minor

__all__ = ["Cover", "Means", "cover", "debts_of", "hold", "pay_debts", "split"]

_WHOLE_BP = 10_000


@dataclass(frozen=True, kw_only=True)
class Means:
    """The money that could stand in for a claim now, in minor units; every amount at least 0.

    Args:
        holdback_minor: The respondent's, not frozen for other claims.
        payable_minor: The respondent's, not frozen for other claims.
        premiums_minor: What the respondent paid into the reserve and nobody has used or reserved.
        reserve_minor: The reserve, less what is reserved for other claims.
        drawn_minor: What claims against the respondent took, or reserved, of others' premiums in the last 365 days.
        tranche_minor: The exchange's own, as far as this claim may use it.
        assessable_minor: What each other holder can be assessed; empty if the year's assessment was made.
    """

    holdback_minor: int = 0
    payable_minor: int = 0
    premiums_minor: int = 0
    reserve_minor: int = 0
    drawn_minor: int = 0
    tranche_minor: int = 0
    assessable_minor: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Cover:
    """How an upheld amount is covered, layer by layer in order, in minor units.

    Args:
        deductible_minor: The claimant's own.
        holdback_minor: The respondent's.
        premiums_minor: What the respondent paid into the reserve.
        tranche_minor: The exchange's.
        mutual_minor: What others paid into the reserve.
        assessed_minor: Of each other holder.
        insurer_minor: Of the insurer outside.
        unpaid_minor: Of nobody: shown as unpaid.

    Guarantees:
        The layers sum to the amount; none is used before the one above it is used up.
    """

    deductible_minor: int
    holdback_minor: int
    premiums_minor: int
    tranche_minor: int
    mutual_minor: int
    assessed_minor: Mapping[str, int]
    insurer_minor: int
    unpaid_minor: int

    @property
    def reserve_minor(self) -> int:
        """Of the reserve in all."""
        return self.premiums_minor + self.mutual_minor

    @property
    def paid_minor(self) -> int:
        """What the claimant gets from all layers."""
        others = self.tranche_minor + sum(self.assessed_minor.values()) + self.insurer_minor
        return self.holdback_minor + self.reserve_minor + others


def hold(amount_minor: int, means: Means, terms: ClaimTerms) -> Held:
    """What is held when a claim is filed.

    Of the respondent's money at most the claimed amount; of the reserve what the caps let this claim ever take.

    Args:
        amount_minor: What is claimed.
        means: What is there.
        terms: The agreed caps.

    Guarantees:
        Nothing is held that is not there, so that later claims cannot promise it again.

    Example:
        >>> hold(1_000, Means(holdback_minor=300, payable_minor=5_000, premiums_minor=50, reserve_minor=1_050),
        ...      ClaimTerms())
        Held(premiums_minor=50, mutual_minor=250, holdback_minor=300, payable_minor=700)
    """
    need = amount_minor - _deductible(amount_minor, terms)
    premiums = min(need, means.premiums_minor, means.reserve_minor)
    others = means.reserve_minor - premiums
    annual = means.reserve_minor * terms.reserve_holder_annual_cap_bp // _WHOLE_BP - means.drawn_minor
    mutual = min(need - premiums, others * terms.reserve_claim_cap_bp // _WHOLE_BP, max(annual, 0))
    holdback = min(amount_minor, means.holdback_minor)
    return Held(
        premiums_minor=premiums,
        mutual_minor=mutual,
        holdback_minor=holdback,
        payable_minor=min(amount_minor - holdback, means.payable_minor),
    )


def cover(amount_minor: int, held: Held, means: Means, terms: ClaimTerms) -> Cover:
    """Use up the layers for an upheld amount, in order.

    Args:
        amount_minor: What the panel decided.
        held: What was held at filing: holdback and reserve are used within it.
        means: For the tranche and the assessment.
        terms: The agreed deductible and the insurer's limit.

    Example:
        >>> found = cover(1_000, Held(premiums_minor=50, mutual_minor=250, holdback_minor=300),
        ...               Means(tranche_minor=100, assessable_minor={"b": 30, "c": 60}), ClaimTerms())
        >>> found.deductible_minor, found.holdback_minor, found.premiums_minor, found.tranche_minor
        (100, 300, 50, 100)
        >>> found.mutual_minor, dict(found.assessed_minor), found.unpaid_minor, found.paid_minor
        (250, {'b': 30, 'c': 60}, 110, 790)
    """
    deductible = _deductible(amount_minor, terms)
    left = amount_minor - deductible
    used: list[int] = []
    assessable = sum(check_minor("assessment", amount, low=0) for amount in means.assessable_minor.values())
    layers = (
        held.holdback_minor,
        held.premiums_minor,
        means.tranche_minor,
        held.mutual_minor,
        assessable,
        terms.insurer_limit_minor,
    )
    for layer in layers:
        used.append(min(left, layer))
        left -= used[-1]
    return Cover(
        deductible_minor=deductible,
        holdback_minor=used[0],
        premiums_minor=used[1],
        tranche_minor=used[2],
        mutual_minor=used[3],
        assessed_minor=split(used[4], means.assessable_minor),
        insurer_minor=used[5],
        unpaid_minor=left,
    )


def split(amount_minor: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Divide an amount in proportion to whole weights, by largest remainder; nothing if there is no weight.

    Example:
        >>> split(10, {"a": 1, "b": 2})
        {'a': 3, 'b': 7}
    """
    whole = sum(weights.values())
    if not whole or not amount_minor:
        return {}
    parts = apportion(amount_minor, {key: Fraction(weight, whole) for key, weight in weights.items()})
    return {key: amount for key, amount in parts.amounts.items() if amount}


def debts_of(covered: Cover, *, claimant: str, reallocated_minor: Mapping[str, int]) -> tuple[Debt, ...]:
    """What a respondent owes after an upheld claim, in the order in which recovery pays: the reserve first.

    Args:
        covered: Who bore what.
        claimant: Party id; what is unpaid is owed to it. Its deductible stays its own.
        reallocated_minor: What others are to get of what the respondent was paid without right, by account.
    """
    ranks: tuple[Mapping[str, int], ...] = (
        {accounts.RESERVE: covered.reserve_minor},
        {accounts.TRANCHE: covered.tranche_minor},
        {accounts.payable(holder): amount for holder, amount in sorted(covered.assessed_minor.items())},
        {accounts.INSURER: covered.insurer_minor},
        {accounts.payable(claimant): covered.unpaid_minor},
        dict(sorted(reallocated_minor.items())),
    )
    return tuple(
        Debt(rank=rank, account=account, amount_minor=amount)
        for rank, amounts in enumerate(ranks)
        for account, amount in amounts.items()
        if amount
    )


def pay_debts(debts: tuple[Debt, ...], amount_minor: int) -> tuple[dict[str, int], tuple[Debt, ...]]:
    """Pay debts as far as the money goes: rank by rank, pro rata within one.

    Args:
        debts: In order of their ranks.
        amount_minor: At most their sum.

    Returns:
        What each account gets, and the debts left.

    Raises:
        PoolError: the amount is negative or beyond what is owed.

    Example:
        >>> owed = (Debt(rank=0, account="reserve", amount_minor=5), Debt(rank=1, account="payable:b", amount_minor=4),
        ...         Debt(rank=1, account="payable:c", amount_minor=8))
        >>> paid, left = pay_debts(owed, 8)
        >>> paid, [debt.amount_minor for debt in left]
        ({'reserve': 5, 'payable:b': 1, 'payable:c': 2}, [3, 6])
    """
    left = check_minor("recovered amount", amount_minor, low=0, high=sum(debt.amount_minor for debt in debts))
    paid: dict[str, int] = {}
    open_debts: list[Debt] = []
    for rank in sorted({debt.rank for debt in debts}):
        owed = {debt.account: debt.amount_minor for debt in debts if debt.rank == rank}
        parts = split(min(left, sum(owed.values())), owed)
        left -= sum(parts.values())
        for account, amount in owed.items():
            part = parts.get(account, 0)
            if part:
                paid[account] = paid.get(account, 0) + part
            if part < amount:
                open_debts.append(Debt(rank=rank, account=account, amount_minor=amount - part))
    return paid, tuple(open_debts)


def _deductible(amount_minor: int, terms: ClaimTerms) -> int:
    return amount_minor * terms.deductible_bp // _WHOLE_BP
