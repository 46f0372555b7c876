"""The lines of a pool's statements: movements of money, settlements with all that they rested on, claims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedjoint.pool.facts import Settled
from fedjoint.pool.state import PoolState
from fedjoint.pool.waterfall import Step, check_steps
from fedjoint.strict import strict

__all__ = ["ClaimLine", "MoneyLine", "SettlementLine", "claim_lines", "settlement_lines"]


@strict
@dataclass(frozen=True, kw_only=True)
class MoneyLine:
    """One movement of the holder's payable or holdback, in minor units."""

    at: str
    entry: str
    kind: str
    account: Literal["payable", "holdback"]
    amount_minor: int


@strict
@dataclass(frozen=True, kw_only=True)
class SettlementLine:
    """One settlement that the holder had a part in, amounts in minor units.

    Args:
        id: Of the settlement.
        at: When.
        run_id: Of the run that earned the revenue; empty if none was named.
        dataset: What the holder brought.
        steps: The waterfall: gross, then what it was divided into, each with its rule.
        contribution: In units of the utility; negative is paid nothing for it.
        error: Half width of its 95 % interval; None if the run stated none.
        method: How contributions were measured; None if the run stated none.
        share: The holder's exact fraction of the part by contribution, ``numerator/denominator``.
        paid_alike_with: Holders whose contributions cannot be told from this one's.
        payout_minor: The holder's part.
        held_minor: What of it waits for the end of the dispute window.
        compute_minor: What it was paid for its compute costs.
        premium_minor: Its part of the reserve premium, already taken from gross.
        given_back_minor: What it gave for refunds and credit notes of this settlement until the state's end.

    Raises:
        PoolError: a waterfall that does not add up.
    """

    id: str
    at: str
    run_id: str
    dataset: str
    steps: tuple[Step, ...]
    contribution: float
    error: float | None
    method: str | None
    share: str
    paid_alike_with: tuple[str, ...]
    payout_minor: int
    held_minor: int
    compute_minor: int
    premium_minor: int
    given_back_minor: int

    def __post_init__(self) -> None:
        check_steps(self.steps)

    @property
    def gross_minor(self) -> int:
        """What the buyer paid."""
        return self.steps[0].amount_minor

    @property
    def kept_minor(self) -> int:
        """What the holder keeps of it: payout and costs, less what it gave back."""
        return self.payout_minor + self.compute_minor - self.given_back_minor


@strict
@dataclass(frozen=True, kw_only=True)
class ClaimLine:
    """A claim that the holder makes or answers, as it stands at the period's end."""

    id: str
    kind: str
    role: Literal["claimant", "respondent"]
    state: str
    claimed_minor: int
    paid_minor: int
    owed_minor: int


def settlement_lines(
    state: PoolState, holder: str, *, first_day: str, last_day: str, dataset: str | None = None
) -> tuple[SettlementLine, ...]:
    """A holder's settlements of a period.

    Args:
        state: The pool at the period's end.
        holder: Party id.
        first_day: ``YYYY-MM-DD``.
        last_day: The same.
        dataset: Only settlements of this dataset; all by default.
    """
    return tuple(
        _line(state, at, settled, holder)
        for at, settled in state.settlements.values()
        if holder in settled.contributions
        and first_day <= at[:10] <= last_day
        and (dataset is None or settled.datasets.get(holder) == dataset)
    )


def _line(state: PoolState, at: str, settled: Settled, holder: str) -> SettlementLine:
    group = next((group for group in settled.alike if holder in group), ())
    given = sum(one.taken_minor.get(holder, 0) for one in state.given_back.get(settled.id, ()))
    return SettlementLine(
        id=settled.id,
        at=at,
        run_id=settled.run_id,
        dataset=settled.datasets.get(holder, ""),
        steps=settled.steps,
        contribution=settled.contributions[holder],
        error=settled.errors.get(holder),
        method=settled.method or None,
        share=settled.shares.get(holder, "0/1"),
        paid_alike_with=tuple(other for other in group if other != holder),
        payout_minor=settled.payouts_minor.get(holder, 0),
        held_minor=settled.held_minor.get(holder, 0),
        compute_minor=settled.compute_minor.get(holder, 0),
        premium_minor=settled.premiums_minor.get(holder, 0),
        given_back_minor=given,
    )


def claim_lines(state: PoolState, holder: str, *, dataset: str | None = None) -> tuple[ClaimLine, ...]:
    """The claims that a holder makes or answers; with ``dataset`` only those about its title."""
    return tuple(
        ClaimLine(
            id=claim.filing.id,
            kind=claim.filing.kind,
            role="claimant" if claim.filing.claimant == holder else "respondent",
            state=claim.state,
            claimed_minor=claim.filing.amount_minor,
            paid_minor=claim.paid_minor,
            owed_minor=claim.owed_minor,
        )
        for claim in state.claims.values()
        if holder in (claim.filing.claimant, claim.filing.respondent)
        and (dataset is None or claim.filing.dataset == dataset)
    )
