"""What a pool's record can say: the body of each kind of event, as strict records.

Whoever verifies a pool decides every one of them again (:mod:`fedjoint.pool.replay`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.agreement.money_terms import MoneyTerms
from fedjoint.errors import PoolError
from fedjoint.identity.keys import PublicIdentity
from fedjoint.pool import accounts
from fedjoint.pool.claim import Debt, Held
from fedjoint.pool.claim_step import SignedStep
from fedjoint.pool.compute_costs import SignedCosts
from fedjoint.pool.conversion import Rate
from fedjoint.pool.money import check_minor
from fedjoint.pool.waterfall import Step
from fedjoint.strict import strict

__all__ = [
    "MAX_RECEIVED",
    "ClaimMoved",
    "Converted",
    "Deposited",
    "Earned",
    "GivenBack",
    "Invoice",
    "Opened",
    "PaidOut",
    "PartyRevoked",
    "Queries",
    "Received",
    "Returned",
    "RunCosts",
    "Settled",
    "VoucherExpired",
    "VoucherSpent",
]

#: Revenues of one event: bounds an event's line and the transaction that posts it.
MAX_RECEIVED = 500


@strict
@dataclass(frozen=True, kw_only=True)
class Opened:
    """Body of ``pool.opened``: the exchange, its own tranche and the rules, which nothing changes later."""

    pool_id: str
    exchange: PublicIdentity
    money: MoneyTerms
    claims: ClaimTerms
    tranche_minor: int = 0


@strict
@dataclass(frozen=True, kw_only=True)
class PartyRevoked:
    """Body of ``party.revoked``."""

    party: str
    effective: str
    reason: str


@strict
@dataclass(frozen=True, kw_only=True)
class Deposited:
    """Body of ``money.deposited``: one payment that came in.

    Args:
        id: Of the payment; its ledger entry is ``deposit/<id>``.
        party: Who paid: a buyer's money waits to be divided, a holder's goes against what it owes.
        amount_minor: Minor units, at least 1.
        currency: ISO 4217 code.
        from_credit: A buyer pays with what credit notes gave it.
    """

    id: str
    party: str
    amount_minor: int
    currency: str
    from_credit: bool = False


@strict
@dataclass(frozen=True, kw_only=True)
class Invoice:
    """A licence fee that a buyer paid; its ledger entry is ``invoice/<id>``."""

    id: str
    buyer: str
    amount_minor: int

    def __post_init__(self) -> None:
        check_minor("invoice", self.amount_minor, low=1)


@strict
@dataclass(frozen=True, kw_only=True)
class Queries:
    """A batch of metered queries that a buyer paid for, as :func:`fedjoint.pool.revenue.queries_paid` prices it."""

    meter: str
    buyer: str
    price_per_1000_minor: int
    first: int
    count: int


@strict
@dataclass(frozen=True, kw_only=True)
class Received:
    """Body of ``revenue.received``: revenues of one currency, at most :data:`MAX_RECEIVED`, taken in as one step.

    Raises:
        PoolError: none, or too many.
    """

    currency: str
    invoices: tuple[Invoice, ...] = ()
    queries: tuple[Queries, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.invoices) + len(self.queries)
        if not 1 <= count <= MAX_RECEIVED:
            raise PoolError(f"{count} revenues in one step", expected=f"1 to {MAX_RECEIVED}")


@strict
@dataclass(frozen=True, kw_only=True)
class Earned:
    """Body of ``subscription.earned``: a period of a subscription is over, counted from 1."""

    subscription: str
    period: int


@strict
@dataclass(frozen=True, kw_only=True)
class GivenBack:
    """Body of ``revenue.given back``: a refund or a credit note.

    Args:
        settlement: That divided the revenue.
        buyer: Who gets it.
        amount_minor: Minor units, at least 1.
        before_minor: What was given back of this settlement before: a repeated command is told from a second refund.
        how: As money, or to be spent here.
        taken_minor: What each holder gave of it.
        premium_minor: What the reserve gave of it.
    """

    settlement: str
    buyer: str
    amount_minor: int
    before_minor: int
    how: Literal["refund", "credit note"]
    taken_minor: dict[str, int] = field(default_factory=dict)
    premium_minor: int = 0


@strict
@dataclass(frozen=True, kw_only=True)
class Converted:
    """Body of ``money.converted``: revenue that waits in escrow, turned into another currency at a published rate."""

    id: str
    amount_minor: int
    rate: Rate


@strict
@dataclass(frozen=True, kw_only=True)
class Returned:
    """Body of ``reserve.returned``: what the reserve held above its target, back to those who paid in."""

    id: str
    target_minor: int
    amounts_minor: dict[str, int]


@strict
@dataclass(frozen=True, kw_only=True)
class VoucherSpent:
    """Body of ``voucher.spent``: a holder's compute costs, paid by a voucher."""

    voucher: str
    id: str
    holder: str
    amount_minor: int


@strict
@dataclass(frozen=True, kw_only=True)
class VoucherExpired:
    """Body of ``voucher.expired``: what was left of it went back to its subsidiser."""

    voucher: str
    left_minor: int


@strict
@dataclass(frozen=True, kw_only=True)
class PaidOut:
    """Body of ``money.paid out``."""

    batch: str
    currency: str
    paid_minor: dict[str, int]


@strict
@dataclass(frozen=True, kw_only=True)
class RunCosts:
    """What a holder metered over one run, and in how many rounds the run's signed record names the holder."""

    signed: SignedCosts
    rounds: int

    def __post_init__(self) -> None:
        if not 0 <= self.rounds <= 10_000:
            raise PoolError(f"{self.rounds} recorded rounds", expected="0 to 10000")


@strict
@dataclass(frozen=True, kw_only=True)
class Settled:
    """Body of ``revenue.settled``: what a settlement rested on, what it came to, and what is needed of it later.

    Args:
        id: Of the settlement; its ledger entries begin with it.
        gross_minor: What was divided, in minor units.
        currency: ISO 4217 code.
        contributions: By holder, in units of the utility, as they were handed in.
        datasets: The dataset of each holder.
        sizes: Certified examples by holder, where the base part or the materiality rule goes by size.
        errors: Half width of each contribution's 95 % interval; empty if the run stated none.
        method: How contributions were measured, in words; empty if the run stated none.
        run_id: Of the run that earned it; empty if none was named.
        agreement_sha256: Of that run's agreement; empty if none was named.
        alike: Groups of holders whose contributions cannot be told apart, which are paid alike.
        costs: Metered costs that were asked for.
        steps: The waterfall, gross first.
        shares: Each holder's fraction of the part by contribution, ``numerator/denominator``.
        compute_minor: What each holder was paid for its costs.
        payouts_minor: By holder.
        held_minor: What of each payout waits for the end of the dispute window.
        premiums_minor: By holder: its part of the reserve premium.
        carried: Rounding remainders, ``numerator/denominator``.
    """

    id: str
    gross_minor: int
    currency: str
    contributions: dict[str, float]
    datasets: dict[str, str]
    sizes: dict[str, int]
    errors: dict[str, float]
    method: str
    run_id: str
    agreement_sha256: str
    alike: tuple[tuple[str, ...], ...]
    costs: tuple[RunCosts, ...]
    steps: tuple[Step, ...]
    shares: dict[str, str]
    compute_minor: dict[str, int]
    payouts_minor: dict[str, int]
    held_minor: dict[str, int]
    premiums_minor: dict[str, int]
    carried: dict[str, str]

    @property
    def received_minor(self) -> dict[str, int]:
        """What each account got of it, by name; what is held back is counted with the payable it comes to."""
        amounts = {step.name: step.amount_minor for step in self.steps}
        got = {
            accounts.TAX: amounts["tax"],
            accounts.FEE: amounts["exchange fee"],
            accounts.RESERVE: amounts["reserve premium"],
            accounts.SUSPENSE: amounts["suspense"],
        }
        for holder in sorted({*self.payouts_minor, *self.compute_minor}):
            got[accounts.payable(holder)] = self.payouts_minor.get(holder, 0) + self.compute_minor.get(holder, 0)
        return got


@strict
@dataclass(frozen=True, kw_only=True)
class ClaimMoved:
    """Body of ``claim.moved``: the signed step, and what its money came to."""

    signed: SignedStep
    held: Held
    paid_minor: int
    debts: tuple[Debt, ...]
    premiums_used_minor: int = 0
    mutual_used_minor: int = 0
    assessed_minor: int = 0
    cover: dict[str, Any] | None = None
