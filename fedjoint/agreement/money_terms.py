"""What an agreement says of money: every rate and rule by which revenue is split, fixed before training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedjoint.agreement.ranges import in_range
from fedjoint.errors import InvalidValue
from fedjoint.strict import strict

__all__ = ["MoneyTerms"]


@strict
@dataclass(frozen=True, kw_only=True)
class MoneyTerms:
    """How revenue is split, in one ISO 4217 currency; rates in basis points (1/10,000).

    Args:
        currency: ISO 4217 code.
        tax_bp: Of the net price; gross includes it, so 600 takes 6/106 of gross.
        exchange_fee_bp: Of gross.
        cpu_hour_minor: Paid for an hour of one processor core that a holder trained with, in minor units.
        gpu_hour_minor: The same for a GPU.
        compute_seconds_per_round: Most seconds of either kind that a holder may claim for a round it took part in.
        compute_cap_bp: Of gross: the most that all compute costs together are paid with.
        reserve_premium_bp: Of gross, into the mutual reserve until its target.
        reserve_target_bp: Of the revenue of twelve months.
        largest_insured_minor: Largest single sum insured; the target is at least this.
        base_bp: Of what is left: paid whatever the contributions are; the rest by contribution.
        base_by: The base part ``equal``, or by certified ``size``.
        share_floor_bp: Of what is shared by contribution: the least for whoever contributed.
        share_cap_bp: The most of it for one holder.
        holdback_bp: Of each holder's payout, kept until the dispute window has ended.
        dispute_window_days: How long a settlement may be disputed.
        materiality: How holders are paid whose contributions differ by less than their error: ``by_size`` (by
            certified examples, so that nobody gains by splitting itself in two), ``equal``, or ``off``: by the numbers
            as they are.
        materiality_errors: What counts as error: ``noise``, that by privacy noise; ``all``, that by the choice of
            reference records too, where it is measured (``valuation.error_numbers``, or a simulation).
        materiality_z: How many standard errors of the difference count as error, 0.1 to 10; 1.96: 95 of 100.
    """

    currency: str = "CNY"
    tax_bp: int = 0
    exchange_fee_bp: int = 1_000
    cpu_hour_minor: int = 0
    gpu_hour_minor: int = 0
    compute_seconds_per_round: int = 3_600
    compute_cap_bp: int = 1_000
    reserve_premium_bp: int = 300
    reserve_target_bp: int = 500
    largest_insured_minor: int = 0
    base_bp: int = 0
    base_by: Literal["equal", "size"] = "equal"
    share_floor_bp: int = 0
    share_cap_bp: int = 10_000
    holdback_bp: int = 1_000
    dispute_window_days: int = 90
    materiality: Literal["by_size", "equal", "off"] = "by_size"
    materiality_errors: Literal["all", "noise"] = "all"
    materiality_z: float = 1.96

    def __post_init__(self) -> None:
        if len(self.currency) != 3 or not (
            self.currency.isascii() and self.currency.isupper() and self.currency.isalpha()
        ):
            raise InvalidValue(f"money.currency = '{self.currency}'", expected="an ISO 4217 code such as CNY")
        for name in ("tax_bp", "exchange_fee_bp", "reserve_target_bp", "base_bp", "holdback_bp"):
            in_range(f"money.{name}", getattr(self, name), 0, 10_000)
        in_range("money.reserve_premium_bp", self.reserve_premium_bp, 0, 10_000 - self.exchange_fee_bp)
        in_range("money.share_cap_bp", self.share_cap_bp, 1, 10_000)
        in_range("money.share_floor_bp", self.share_floor_bp, 0, self.share_cap_bp)
        in_range("money.materiality_z", self.materiality_z, 0.1, 10)
        for name in ("cpu_hour_minor", "gpu_hour_minor", "largest_insured_minor"):
            in_range(f"money.{name}", getattr(self, name), 0, 1e15)
        in_range("money.compute_seconds_per_round", self.compute_seconds_per_round, 0, 1e9)
        in_range("money.dispute_window_days", self.dispute_window_days, 0, 3_650)
        self._check_sum()

    def _check_sum(self) -> None:
        """What is taken before the holders may not exceed gross."""
        compute = self.compute_cap_bp if self.cpu_hour_minor or self.gpu_hour_minor else 0
        in_range("money.compute_cap_bp", self.compute_cap_bp, 0, 10_000)
        rates = self.exchange_fee_bp + compute + self.reserve_premium_bp
        if rates * (10_000 + self.tax_bp) + 10_000 * self.tax_bp > 10_000 * (10_000 + self.tax_bp):
            raise InvalidValue(
                "tax, exchange fee, compute cap and reserve premium take more than gross", expected="at most 100 %"
            )
