"""The rules by which claims are paid: agreed before training, never changed afterwards.

No exchange publishes its fund's rules, so each rate is a field here and a proposal, not a constant of the code.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedjoint.errors import InvalidValue
from fedjoint.strict import strict

__all__ = ["ClaimTerms"]

_MAX_BP = 10_000
_MAX_DAYS = 3_660
_MAX_MINOR = 10**15


@strict
@dataclass(frozen=True, kw_only=True)
class ClaimTerms:
    """Rates in basis points (1/10,000), times in days, amounts in minor units.

    Args:
        deductible_bp: The part of an upheld claim that the claimant bears.
        reserve_claim_cap_bp: The most that one claim may take of the mutual reserve, as it stands at filing.
        reserve_holder_annual_cap_bp: The most that claims against one respondent may take of it in 365 days.
        assessment_bp: The most that the other holders may be assessed, once in 365 days, of what each was paid in them.
        insurer_limit_minor: What an insurer outside pays at most for one claim.
        appeal_days: How long a decision may be appealed against.
        competing_days: How long claims on the same dataset that exceed 100 % together are held.

    Raises:
        InvalidValue: a value out of range.
    """

    deductible_bp: int = 1_000
    reserve_claim_cap_bp: int = 2_500
    reserve_holder_annual_cap_bp: int = 5_000
    assessment_bp: int = 500
    insurer_limit_minor: int = 0
    appeal_days: int = 30
    competing_days: int = 90

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            most = _MAX_BP if name.endswith("_bp") else _MAX_DAYS if name.endswith("_days") else _MAX_MINOR
            if not 0 <= value <= most:
                raise InvalidValue(f"claims.{name} = {value}", expected=f"a whole number from 0 to {most}")
