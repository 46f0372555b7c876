"""The waterfall: gross revenue to tax, fee, compute costs, reserve and the holders, as the agreement fixed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from fedjoint.agreement.money_terms import MoneyTerms
from fedjoint.errors import PoolError
from fedjoint.pool.money import apportion, check_minor, minor_digits, whole_parts
from fedjoint.pool.shares import bounded_shares, shares_from_contributions
from fedjoint.strict import strict

__all__ = ["Period", "Settlement", "Step", "check_steps", "reserve_target", "settle"]

StepName = Literal[
    "gross", "tax", "exchange fee", "compute costs", "reserve premium", "contribution shares", "suspense"
]
_NAMES = ("gross", "tax", "exchange fee", "compute costs", "reserve premium", "contribution shares", "suspense")
#: Keys of what is rounded together with the holders' payouts; no holder's id begins so.
_TAX, _FEE, _PREMIUM, _SUSPENSE = ":tax", ":exchange fee", ":reserve premium", ":suspense"


@strict
@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a waterfall, for statements and pictures.

    Args:
        name: ``gross`` comes in; the steps after it are what it is divided into, in order.
        amount_minor: Minor units; below 0 (one a party at most) where a unit paid early is taken back.
        rule: How the amount came about, in words.
    """

    name: StepName
    amount_minor: int
    rule: str

    def __post_init__(self) -> None:
        check_minor(f"step '{self.name}'", self.amount_minor, low=0 if self.name == "gross" else -1_000)


def check_steps(steps: tuple[Step, ...]) -> int:
    """Refuse a waterfall whose steps are not those of this module in order, or do not add up to gross.

    Returns:
        What is shared among the holders, in minor units.

    Raises:
        PoolError: steps missing, added or in another order; parts that do not sum to gross.
    """
    if tuple(step.name for step in steps) != _NAMES:
        raise PoolError("the steps of a waterfall are " + ", ".join(s.name for s in steps), expected=", ".join(_NAMES))
    gross, *parts = (step.amount_minor for step in steps)
    if sum(parts) != gross:
        raise PoolError(f"the parts of a waterfall sum to {sum(parts)}", expected=f"gross, {gross}")
    return parts[4]


@dataclass(frozen=True, kw_only=True)
class Period:
    """What a settlement needs to know besides revenue and contributions.

    Args:
        sizes: Certified examples of each holder; needed where the base part goes by size.
        compute_minor: What each holder's training cost, as :mod:`fedjoint.pool.compute_costs` found it.
        reserve_room_minor: What the reserve lacks of its target, at least 0; None takes the premium in full.
    """

    sizes: Mapping[str, int] = field(default_factory=dict)
    compute_minor: Mapping[str, int] = field(default_factory=dict)
    reserve_room_minor: int | None = None


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What became of one revenue.

    Args:
        currency: ISO 4217 code.
        gross_minor: What the buyer paid; all amounts in minor units.
        tax_minor: For the tax office.
        fee_minor: The exchange's.
        compute_minor: Each holder's compute costs, as far as they are paid.
        reserve_minor: The premium into the mutual reserve.
        distributed_minor: Shared among the holders.
        suspense_minor: Kept, because nobody's contribution was positive.
        shares: Each holder's fraction of what is shared by contribution.
        base_shares: Each holder's fraction of the base part.
        base_bp: The base part, in basis points of what is shared.
        payouts_minor: Each holder's amount: base and performance part.
        held_minor: What of each payout is held back until the dispute window has ended.
        carried: Rounding remainders in (-1, 1) minor units, of holders and steps, for the next settlement's
            ``brought``.
        steps: The waterfall in order: gross, then its parts.

    Guarantees:
        The parts sum to gross, the payouts to ``distributed_minor``, and the steps say the same: an instance that does
        not add up cannot be made.
    """

    currency: str
    gross_minor: int
    tax_minor: int
    fee_minor: int
    compute_minor: Mapping[str, int]
    reserve_minor: int
    distributed_minor: int
    suspense_minor: int
    shares: Mapping[str, Fraction]
    base_shares: Mapping[str, Fraction]
    base_bp: int
    payouts_minor: Mapping[str, int]
    held_minor: Mapping[str, int]
    carried: Mapping[str, Fraction]
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        if check_steps(self.steps) != sum(self.payouts_minor.values()):
            raise PoolError(
                f"the payouts sum to {sum(self.payouts_minor.values())}", expected="what the waterfall distributes"
            )
        parts = (self.tax_minor, self.fee_minor, sum(self.compute_minor.values()), self.reserve_minor)
        amounts = (self.gross_minor, *parts, self.distributed_minor, self.suspense_minor)
        if tuple(step.amount_minor for step in self.steps) != amounts:
            raise PoolError("the steps of a settlement differ from its amounts")
        for holder, held in self.held_minor.items():
            if not 0 <= held <= max(0, self.payouts_minor.get(holder, 0)):
                raise PoolError(f"{held} of the payout of '{holder}' are held back", expected="0 to the payout")

    @property
    def entitled(self) -> dict[str, Fraction]:
        """Each holder's fraction of what is shared: its base and its performance part."""
        base = Fraction(self.base_bp, 10_000) if any(self.shares.values()) else Fraction(1)
        return {h: base * self.base_shares[h] + (1 - base) * share for h, share in self.shares.items()}


def settle(
    gross_minor: int,
    contributions: Mapping[str, float],
    *,
    terms: MoneyTerms,
    brought: Mapping[str, Fraction] | None = None,
    shares: Mapping[str, Fraction] | None = None,
    period: Period | None = None,
) -> Settlement:
    """Divide one revenue among tax office, exchange, reserve and holders.

    Every part is an exact fraction of gross; all of them are rounded together, once, to whole units. If no
    contribution is positive, nobody is paid by contribution: that part stands in suspense until the parties decide.

    Args:
        gross_minor: Minor units, 0 to 10^15.
        contributions: Each holder's, in units of the utility; negative ones count as zero.
        terms: The agreed rates and currency.
        brought: ``carried`` of the settlement before, under the same agreement.
        shares: Each holder's fraction, where a rule of the agreement changes what contributions alone would give
            (:func:`fedjoint.pool.materiality.pay_alike`); they sum to 1, or are all 0.
        period: Sizes, compute costs, and what the reserve lacks.

    Raises:
        PoolError: an amount, contribution, currency, size or remainder that cannot be.

    Guarantees:
        No minor unit is lost or made. Each part is within one unit of its exact quota, and over any number of periods
        the sum is within one unit of the sum of quotas; see :func:`fedjoint.pool.money.apportion`.

    Example:
        >>> done = settle(100_000_000, {"a": 2.0, "b": 1.0, "c": -1.0}, terms=MoneyTerms())
        >>> done.fee_minor, done.reserve_minor, dict(done.payouts_minor)
        (10000000, 3000000, {'a': 58000000, 'b': 29000000, 'c': 0})
    """
    period = period or Period()
    check_minor("gross revenue", gross_minor, low=0)
    minor_digits(terms.currency)
    shares = bounded_shares(
        shares_from_contributions(contributions) if shares is None else shares,
        floor=Fraction(terms.share_floor_bp, 10_000),
        cap=Fraction(terms.share_cap_bp, 10_000),
    )
    base_shares = _base_shares(shares, terms, period.sizes)
    compute = _compute(gross_minor, shares, terms, period.compute_minor)
    quotas = _quotas(gross_minor - sum(compute.values()), gross_minor, terms, period.reserve_room_minor)
    rest = gross_minor - sum(compute.values()) - sum(quotas.values(), Fraction(0))
    base = rest * Fraction(terms.base_bp, 10_000)
    anybody = any(shares.values())
    quotas[_SUSPENSE] = Fraction(0) if anybody else rest - base
    holders = {h: base * base_shares[h] + (rest - base) * share for h, share in shares.items()}
    parts = whole_parts(quotas | holders, brought=brought)
    payouts = {key: amount for key, amount in parts.amounts.items() if not key.startswith(":")}
    return Settlement(
        currency=terms.currency,
        gross_minor=gross_minor,
        tax_minor=parts.amounts[_TAX],
        fee_minor=parts.amounts[_FEE],
        compute_minor=compute,
        reserve_minor=parts.amounts[_PREMIUM],
        distributed_minor=sum(payouts.values()),
        suspense_minor=parts.amounts[_SUSPENSE],
        shares=shares,
        base_shares=base_shares,
        base_bp=terms.base_bp,
        payouts_minor=payouts,
        held_minor={h: max(0, amount) * terms.holdback_bp // 10_000 for h, amount in payouts.items()},
        carried=parts.carried,
        steps=_steps(gross_minor, parts.amounts, terms, (sum(compute.values()), sum(payouts.values()))),
    )


def reserve_target(terms: MoneyTerms, revenue_of_a_year_minor: int) -> int:
    """What the reserve should hold: a part of a year's revenue, and no less than the largest sum insured.

    Raises:
        PoolError: no amount.
    """
    check_minor("a year's revenue", revenue_of_a_year_minor, low=0)
    return max(revenue_of_a_year_minor * terms.reserve_target_bp // 10_000, terms.largest_insured_minor)


def _base_shares(shares: Mapping[str, Fraction], terms: MoneyTerms, sizes: Mapping[str, int]) -> dict[str, Fraction]:
    """Fractions of the base part, all the same or by size; zero if there is none."""
    if not terms.base_bp:
        return dict.fromkeys(shares, Fraction(0))
    weights = dict.fromkeys(shares, 1)
    if terms.base_by == "size":
        missing = sorted(set(shares) - set(sizes))
        if missing:
            raise PoolError(f"the size of '{missing[0]}' is missing", expected="certified examples of each holder")
        weights = {h: check_minor(f"size of '{h}'", sizes[h], low=1) for h in shares}
    return {h: Fraction(weight, sum(weights.values())) for h, weight in weights.items()}


def _compute(gross: int, shares: Mapping[str, Fraction], terms: MoneyTerms, asked: Mapping[str, int]) -> dict[str, int]:
    """Compute costs as far as the cap allows, all cut alike."""
    for holder, amount in asked.items():
        if holder not in shares:
            raise PoolError(f"'{holder}' asks for compute costs and has no part in the settlement")
        check_minor(f"compute costs of '{holder}'", amount, low=0)
    total, cap = sum(asked.values()), gross * terms.compute_cap_bp // 10_000
    if total <= cap:
        return dict(sorted(asked.items()))
    return dict(apportion(cap, {holder: Fraction(amount, total) for holder, amount in asked.items()}).amounts)


def _quotas(left: int, gross: int, terms: MoneyTerms, room: int | None) -> dict[str, Fraction]:
    """Exact amounts of the steps that come before the holders, none beyond what is left."""
    rates = {
        _TAX: Fraction(terms.tax_bp, 10_000 + terms.tax_bp),
        _FEE: Fraction(terms.exchange_fee_bp, 10_000),
        _PREMIUM: Fraction(terms.reserve_premium_bp, 10_000),
    }
    quotas = {key: gross * rate for key, rate in rates.items()}
    if room is not None:
        quotas[_PREMIUM] = min(quotas[_PREMIUM], Fraction(check_minor("room of the reserve", room, low=0)))
    if sum(quotas.values()) > left:
        raise PoolError("compute costs leave too little for tax, fee and premium", expected="costs within the cap")
    return quotas


def _steps(gross: int, parts: Mapping[str, int], terms: MoneyTerms, sums: tuple[int, int]) -> tuple[Step, ...]:
    compute, payouts = sums
    base = (
        f"{_percent(terms.base_bp)} {'equally' if terms.base_by == 'equal' else 'by size'}, " if terms.base_bp else ""
    )
    rules: dict[StepName, tuple[int, str]] = {
        "gross": (gross, "what the buyer paid"),
        "tax": (parts[_TAX], f"{_percent(terms.tax_bp)} of the net price, which gross includes"),
        "exchange fee": (parts[_FEE], f"{_percent(terms.exchange_fee_bp)} of gross"),
        "compute costs": (compute, f"metered, at most {_percent(terms.compute_cap_bp)} of gross"),
        "reserve premium": (parts[_PREMIUM], f"{_percent(terms.reserve_premium_bp)} of gross, until the target"),
        "contribution shares": (
            payouts,
            f"the rest: {base}by positive contributions{_bounds(terms)}; whole units by largest remainder",
        ),
        "suspense": (parts[_SUSPENSE], "the rest, if nobody's contribution is positive"),
    }
    return tuple(Step(name=name, amount_minor=amount, rule=rule) for name, (amount, rule) in rules.items())


def _bounds(terms: MoneyTerms) -> str:
    floor = f", at least {_percent(terms.share_floor_bp)} each" if terms.share_floor_bp else ""
    return floor + (f", at most {_percent(terms.share_cap_bp)} each" if terms.share_cap_bp < 10_000 else "")


def _percent(basis_points: int) -> str:
    """Basis points as a percentage, exactly."""
    return f"{basis_points // 100}.{basis_points % 100:02d} %"
