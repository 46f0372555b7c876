"""The waterfall: gross revenue to exchange fee, reserve premium and contribution shares, as the agreement fixed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from fedjoint.agreement.terms import MoneyTerms
from fedjoint.errors import PoolError
from fedjoint.pool.money import apportion, check_minor, minor_digits
from fedjoint.pool.shares import shares_from_contributions
from fedjoint.strict import strict

__all__ = ["Settlement", "Step", "check_steps", "settle"]

_NAMES = ("gross", "exchange fee", "reserve premium", "contribution shares", "suspense")


@strict
@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a waterfall, for statements and pictures.

    Args:
        name: ``gross`` comes in; the steps after it are what it is divided into, in order.
        amount_minor: Minor units, at least 0.
        rule: How the amount came about, in words.
    """

    name: Literal["gross", "exchange fee", "reserve premium", "contribution shares", "suspense"]
    amount_minor: int
    rule: str

    def __post_init__(self) -> None:
        check_minor(f"step '{self.name}'", self.amount_minor, low=0)


def check_steps(steps: tuple[Step, ...]) -> int:
    """Refuse a waterfall whose steps are not those of this module in order, or do not add up to gross.

    Returns:
        What is distributed by contributions, in minor units.

    Raises:
        PoolError: steps missing, added or in another order; parts that do not sum to gross.
    """
    if tuple(step.name for step in steps) != _NAMES:
        raise PoolError("the steps of a waterfall are " + ", ".join(s.name for s in steps), expected=", ".join(_NAMES))
    gross, *parts = (step.amount_minor for step in steps)
    if sum(parts) != gross:
        raise PoolError(f"the parts of a waterfall sum to {sum(parts)}", expected=f"gross, {gross}")
    return parts[2]


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What became of one revenue.

    Args:
        currency: ISO 4217 code.
        gross_minor: What the buyer paid; all amounts in minor units.
        fee_minor: The exchange's.
        reserve_minor: The premium into the mutual reserve.
        distributed_minor: Shared among the holders.
        suspense_minor: Kept, because nobody's contribution was positive.
        shares: Each holder's fraction of ``distributed_minor``.
        payouts_minor: Each holder's amount.
        carried: Each holder's rounding remainder in (-1, 1) minor units, for the next settlement's ``brought``.
        steps: The waterfall in order: gross, then its parts.

    Guarantees:
        fee + reserve + distributed + suspense = gross, the payouts sum to ``distributed_minor``, and the steps say the
        same: an instance that does not add up cannot be made.
    """

    currency: str
    gross_minor: int
    fee_minor: int
    reserve_minor: int
    distributed_minor: int
    suspense_minor: int
    shares: Mapping[str, Fraction]
    payouts_minor: Mapping[str, int]
    carried: Mapping[str, Fraction]
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        parts = (self.fee_minor, self.reserve_minor, self.distributed_minor, self.suspense_minor)
        if check_steps(self.steps) != sum(self.payouts_minor.values()):
            raise PoolError(
                f"the payouts sum to {sum(self.payouts_minor.values())}", expected="what the waterfall distributes"
            )
        if tuple(step.amount_minor for step in self.steps) != (self.gross_minor, *parts):
            raise PoolError("the steps of a settlement differ from its amounts")


def settle(
    gross_minor: int,
    contributions: Mapping[str, float],
    *,
    terms: MoneyTerms,
    brought: Mapping[str, Fraction] | None = None,
    shares: Mapping[str, Fraction] | None = None,
) -> Settlement:
    """Divide one revenue among the exchange, the reserve and the holders.

    Fee and premium are rates of gross, rounded down, so that a fraction of a unit stays with the holders. If no
    contribution is positive there is nobody to pay: the remainder stands in suspense until the parties decide.

    Args:
        gross_minor: Minor units, 0 to 10^15.
        contributions: Each holder's, in units of the utility; negative ones are paid zero.
        terms: The agreed rates and currency.
        brought: ``carried`` of the settlement before, under the same agreement.
        shares: Each holder's fraction, where a rule of the agreement changes what contributions alone would give
            (:func:`fedjoint.pool.materiality.pay_alike`); they sum to 1, or are all 0.

    Raises:
        PoolError: an amount, contribution, currency or remainder that cannot be.

    Guarantees:
        No minor unit is lost or made; see :class:`Settlement` and :func:`fedjoint.pool.money.apportion`.

    Example:
        >>> done = settle(100_000_000, {"a": 2.0, "b": 1.0, "c": -1.0}, terms=MoneyTerms())
        >>> done.fee_minor, done.reserve_minor, dict(done.payouts_minor)
        (10000000, 3000000, {'a': 58000000, 'b': 29000000, 'c': 0})
    """
    check_minor("gross revenue", gross_minor, low=0)
    minor_digits(terms.currency)
    shares = shares_from_contributions(contributions) if shares is None else shares
    fee = gross_minor * terms.exchange_fee_bp // 10_000
    reserve = gross_minor * terms.reserve_premium_bp // 10_000
    rest = gross_minor - fee - reserve
    anybody = any(shares.values())
    distributed, suspense = (rest, 0) if anybody else (0, rest)
    if anybody:
        parts = apportion(distributed, shares, brought=brought)
        payouts, carried = parts.amounts, parts.carried
    else:
        payouts, carried = dict.fromkeys(shares, 0), {**dict.fromkeys(shares, Fraction(0)), **(brought or {})}
    return Settlement(
        currency=terms.currency,
        gross_minor=gross_minor,
        fee_minor=fee,
        reserve_minor=reserve,
        distributed_minor=distributed,
        suspense_minor=suspense,
        shares=shares,
        payouts_minor=payouts,
        carried=carried,
        steps=_steps(gross_minor, (fee, reserve, distributed, suspense), terms),
    )


def _steps(gross: int, parts: tuple[int, int, int, int], terms: MoneyTerms) -> tuple[Step, ...]:
    fee, reserve, distributed, suspense = parts
    down = "of gross, rounded down"
    return (
        Step(name="gross", amount_minor=gross, rule="what the buyer paid"),
        Step(name="exchange fee", amount_minor=fee, rule=f"{_percent(terms.exchange_fee_bp)} {down}"),
        Step(name="reserve premium", amount_minor=reserve, rule=f"{_percent(terms.reserve_premium_bp)} {down}"),
        Step(
            name="contribution shares",
            amount_minor=distributed,
            rule="the rest, by positive contributions; whole units by largest remainder",
        ),
        Step(name="suspense", amount_minor=suspense, rule="the rest, if nobody's contribution is positive"),
    )


def _percent(basis_points: int) -> str:
    """Basis points as a percentage, exactly."""
    return f"{basis_points // 100}.{basis_points % 100:02d} %"
