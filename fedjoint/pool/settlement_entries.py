"""A settlement as ledger entries: out of escrow to where it belongs, and what is held back released later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from fedjoint.agreement.money_terms import MoneyTerms
from fedjoint.pool import accounts
from fedjoint.pool.ledger import Entry, move, post_pending
from fedjoint.pool.waterfall import Settlement

__all__ = ["HOLDBACK", "entries_of_settlement", "released"]

#: Kind of the pending entries that wait for the end of the dispute window; ``details["due"]`` says when that is.
HOLDBACK = "holdback"


def entries_of_settlement(
    settlement: Settlement, settlement_id: str, *, terms: MoneyTerms, at: str
) -> tuple[Entry, ...]:
    """The entries of one settlement, which belong together and are posted in one transaction.

    The waterfall takes tax, fee, premium and suspense out of escrow, the payables empty it. What is held back of a
    payout waits in the holder's holdback account, and a pending entry for each is to bring it to its payable. An
    entry that would move nothing is left out.

    Args:
        settlement: What became of the revenue, which stands in escrow.
        settlement_id: Of the run or period; entry ids begin with it, so that settling twice changes nothing.
        terms: The agreed dispute window.
        at: ISO 8601 in UTC.

    Raises:
        PoolError: a malformed id or time.

    Guarantees:
        Escrow ends lower by exactly the gross revenue.
    """
    taken = {
        accounts.TAX: settlement.tax_minor,
        accounts.FEE: settlement.fee_minor,
        accounts.RESERVE: settlement.reserve_minor,
        accounts.SUSPENSE: settlement.suspense_minor,
    }
    held = {holder: amount for holder, amount in settlement.held_minor.items() if amount}
    paid = {
        accounts.payable(holder): amount - held.get(holder, 0) + settlement.compute_minor.get(holder, 0)
        for holder, amount in settlement.payouts_minor.items()
    }
    paid |= {accounts.holdback(holder): amount for holder, amount in held.items()}
    steps = (
        ("waterfall", "tax, exchange fee, reserve premium, suspense", taken),
        ("payables", "contribution shares and compute costs", paid),
    )
    entries = [
        Entry(
            id=f"{settlement_id}/{kind}",
            at=at,
            kind=kind,
            currency=settlement.currency,
            memo=f"{settlement_id}: {memo}",
            postings=move({accounts.ESCROW: -sum(into.values()), **into}),
        )
        for kind, memo, into in steps
        if any(into.values())
    ]
    due = _later(at, terms.dispute_window_days) if held else ""
    for holder, amount in held.items():
        entries.append(
            Entry(
                id=f"{settlement_id}/{HOLDBACK}/{holder}",
                at=at,
                kind=HOLDBACK,
                currency=settlement.currency,
                memo=f"{settlement_id}: until the dispute window has ended",
                postings=move({accounts.holdback(holder): -amount, accounts.payable(holder): amount}),
                phase="pending",
                details={"due": due},
            )
        )
    return tuple(entries)


def released(pending: Iterable[Entry], *, at: str) -> Iterator[Entry]:
    """The entries that post those holdbacks whose dispute window has ended.

    Args:
        pending: What waits, such as ``store.pending()``.
        at: Now, ISO 8601 in UTC.
    """
    now = datetime.fromisoformat(at)
    for entry in pending:
        if entry.kind == HOLDBACK and datetime.fromisoformat(entry.details["due"]) <= now:
            yield post_pending(entry, id=f"{entry.id}/released", at=at)


def _later(at: str, days: int) -> str:
    return (datetime.fromisoformat(at) + timedelta(days=days)).isoformat().replace("+00:00", "Z")
