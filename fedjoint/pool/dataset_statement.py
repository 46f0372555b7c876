"""What one dataset brought in: income by month, contributions and costs, for whoever puts data on a balance sheet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedjoint.errors import PoolError
from fedjoint.pool.money import check_minor, minor_digits
from fedjoint.pool.registered import DataCertificate, DatasetEvent, Rights, day_named
from fedjoint.pool.state import PoolState
from fedjoint.pool.statement_lines import ClaimLine, SettlementLine, claim_lines, settlement_lines
from fedjoint.strict import strict

__all__ = ["DatasetStatement", "Month", "dataset_statement"]


@strict
@dataclass(frozen=True, kw_only=True)
class Month:
    """What a dataset earned in one month, in minor units.

    Args:
        month: ``YYYY-MM``.
        income_minor: Paid for its contribution.
        compute_minor: Paid for what training on it cost: it offsets that cost and is no income of the data.
        given_back_minor: Of that month's income, given back since by refunds and credit notes.
        premium_minor: Paid into the reserve out of gross, beside the income.
        compute_seconds: Processor and GPU seconds that the holder metered.
    """

    month: str
    income_minor: int
    compute_minor: int
    given_back_minor: int
    premium_minor: int
    compute_seconds: int


@strict
@dataclass(frozen=True, kw_only=True)
class DatasetStatement:
    """One dataset in one period, amounts in minor units of one currency.

    Args:
        valuation: Always ``income``: what the data earned here. What an asset is worth is the accountant's to say.

    Raises:
        PoolError: malformed, or months that do not sum to the settlements.

    Guarantees:
        Months, totals and settlements say the same.
    """

    format: Literal["fedjoint-dataset-statement-1"] = "fedjoint-dataset-statement-1"
    pool_id: str
    dataset: str
    title: str
    holder: str
    certificate: DataCertificate
    rights: Rights
    num_records: int
    first_day: str
    last_day: str
    currency: str
    valuation: Literal["income"] = "income"
    events: tuple[DatasetEvent, ...]
    settlements: tuple[SettlementLine, ...]
    claims: tuple[ClaimLine, ...]
    months: tuple[Month, ...]
    income_minor: int
    compute_minor: int
    given_back_minor: int
    net_minor: int

    def __post_init__(self) -> None:
        minor_digits(self.currency)
        if day_named("last_day", self.last_day) < day_named("first_day", self.first_day):
            raise PoolError("a statement's period ends before it begins")
        lines = self.settlements
        for name, told, by_line, by_month in (
            ("income", self.income_minor, [x.payout_minor for x in lines], [m.income_minor for m in self.months]),
            ("costs", self.compute_minor, [x.compute_minor for x in lines], [m.compute_minor for m in self.months]),
            (
                "given back",
                self.given_back_minor,
                [x.given_back_minor for x in lines],
                [m.given_back_minor for m in self.months],
            ),
        ):
            if not check_minor(name, told) == sum(by_line) == sum(by_month):
                raise PoolError(f"the {name} of dataset '{self.dataset}' is {told}", expected=f"{sum(by_line)}")
        if self.net_minor != self.income_minor - self.given_back_minor:
            raise PoolError(f"dataset '{self.dataset}' is said to have earned {self.net_minor} net")


def dataset_statement(state: PoolState, dataset: str, *, first_day: str, last_day: str) -> DatasetStatement:
    """Put a dataset's period together.

    Args:
        state: The pool at the period's end.
        dataset: Its id.
        first_day: ``YYYY-MM-DD``.
        last_day: The same.

    Raises:
        PoolError: no such dataset, or a malformed period.
    """
    registered = state.registry.dataset(dataset)
    day_named("first_day", first_day)
    held = registered.as_of(day_named("last_day", last_day))
    lines = settlement_lines(state, held.holder, first_day=first_day, last_day=last_day, dataset=dataset)
    income, given = sum(line.payout_minor for line in lines), sum(line.given_back_minor for line in lines)
    return DatasetStatement(
        pool_id=state.rules.pool_id,
        dataset=dataset,
        title=held.title,
        holder=held.holder,
        certificate=held.certificate,
        rights=held.rights,
        num_records=held.num_records,
        first_day=first_day,
        last_day=last_day,
        currency=state.rules.money.currency,
        events=tuple(event for event in registered.events if event.effective <= last_day),
        settlements=lines,
        claims=claim_lines(state, held.holder, dataset=dataset),
        months=tuple(_month(state, held.holder, month, lines) for month in sorted({line.at[:7] for line in lines})),
        income_minor=income,
        compute_minor=sum(line.compute_minor for line in lines),
        given_back_minor=given,
        net_minor=income - given,
    )


def _month(state: PoolState, holder: str, month: str, lines: tuple[SettlementLine, ...]) -> Month:
    own = [line for line in lines if line.at[:7] == month]
    costs = [c.signed.costs for line in own for c in state.settled(line.id).costs if c.signed.costs.holder == holder]
    return Month(
        month=month,
        income_minor=sum(line.payout_minor for line in own),
        compute_minor=sum(line.compute_minor for line in own),
        given_back_minor=sum(line.given_back_minor for line in own),
        premium_minor=sum(line.premium_minor for line in own),
        compute_seconds=sum(cost.cpu_seconds + cost.gpu_seconds for cost in costs),
    )
