"""What a holder is told about a period: every movement of its money, the settlements and claims behind them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from fedjoint.errors import PoolError
from fedjoint.pool import accounts
from fedjoint.pool.ledger import Entry
from fedjoint.pool.money import check_minor, minor_digits
from fedjoint.pool.registered import day_named
from fedjoint.pool.state import PoolState
from fedjoint.pool.statement_lines import ClaimLine, MoneyLine, SettlementLine, claim_lines, settlement_lines
from fedjoint.strict import strict

__all__ = ["HolderStatement", "holder_statement"]


@strict
@dataclass(frozen=True, kw_only=True)
class HolderStatement:
    """One holder's money in one period, amounts in minor units of one currency.

    Raises:
        PoolError: malformed, or figures that do not add up.

    Guarantees:
        Brought and the lines make what is carried, for payable and holdback each.
    """

    format: Literal["fedjoint-holder-statement-2"] = "fedjoint-holder-statement-2"
    pool_id: str
    holder: str
    first_day: str
    last_day: str
    currency: str
    payable_brought_minor: int
    holdback_brought_minor: int
    settlements: tuple[SettlementLine, ...]
    claims: tuple[ClaimLine, ...]
    lines: tuple[MoneyLine, ...]
    payable_carried_minor: int
    holdback_carried_minor: int

    def __post_init__(self) -> None:
        accounts.payable(self.holder)
        minor_digits(self.currency)
        if day_named("last_day", self.last_day) < day_named("first_day", self.first_day):
            raise PoolError("a statement's period ends before it begins")
        for account, brought, carried in (
            ("payable", self.payable_brought_minor, self.payable_carried_minor),
            ("holdback", self.holdback_brought_minor, self.holdback_carried_minor),
        ):
            moved = sum(check_minor("line", x.amount_minor) for x in self.lines if x.account == account)
            if brought + moved != carried:
                raise PoolError(
                    f"the {account} of '{self.holder}' is carried as {carried}", expected=f"{brought} plus {moved}"
                )


def holder_statement(
    state: PoolState, entries: Iterable[Entry], holder: str, *, first_day: str, last_day: str
) -> HolderStatement:
    """Put a holder's period together.

    Args:
        state: The pool at the period's end.
        entries: Of the books, in order: all, or those that touch the holder's payable or holdback; those after the
            period are left out.
        holder: Party id.
        first_day: ``YYYY-MM-DD``.
        last_day: The same.

    Raises:
        PoolError: no such party, or a malformed period.
    """
    if holder not in state.registry.parties:
        raise PoolError(f"'{holder}' is no registered party")
    for name, day in (("first_day", first_day), ("last_day", last_day)):
        day_named(name, day)
    currency = state.rules.money.currency
    names: dict[str, Literal["payable", "holdback"]] = {
        accounts.payable(holder): "payable",
        accounts.holdback(holder): "holdback",
    }
    brought = dict.fromkeys(names.values(), 0)
    lines: list[MoneyLine] = []
    for entry in entries:
        if entry.currency != currency or entry.phase != "posted" or entry.at[:10] > last_day:
            continue
        for posting in entry.postings:
            account = names.get(posting.account)
            if account is None:
                continue
            if entry.at[:10] < first_day:
                brought[account] += posting.amount_minor
            else:
                lines.append(
                    MoneyLine(
                        at=entry.at, entry=entry.id, kind=entry.kind, account=account, amount_minor=posting.amount_minor
                    )
                )
    carried = {a: brought[a] + sum(x.amount_minor for x in lines if x.account == a) for a in brought}
    return HolderStatement(
        pool_id=state.rules.pool_id,
        holder=holder,
        first_day=first_day,
        last_day=last_day,
        currency=currency,
        payable_brought_minor=brought["payable"],
        holdback_brought_minor=brought["holdback"],
        settlements=settlement_lines(state, holder, first_day=first_day, last_day=last_day),
        claims=claim_lines(state, holder),
        lines=tuple(lines),
        payable_carried_minor=carried["payable"],
        holdback_carried_minor=carried["holdback"],
    )
