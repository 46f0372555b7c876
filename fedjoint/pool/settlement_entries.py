"""A settlement as ledger entries, which belong together and are posted in one transaction."""

from __future__ import annotations

from collections.abc import Mapping

from fedjoint.pool import accounts
from fedjoint.pool.ledger import Entry, Posting, move
from fedjoint.pool.waterfall import Settlement

__all__ = ["entries_of_settlement"]


def entries_of_settlement(settlement: Settlement, settlement_id: str, *, buyer: str, at: str) -> tuple[Entry, ...]:
    """The entries of one settlement.

    The invoice brings gross into escrow, the waterfall takes fee, premium and suspense out of it, the payables empty
    it. An entry that would move nothing is left out.

    Args:
        settlement: What became of the revenue.
        settlement_id: Of the run or period; entry ids begin with it, so that settling twice changes nothing.
        buyer: Party id of who pays.
        at: ISO 8601 in UTC.

    Raises:
        PoolError: a malformed id or time.

    Guarantees:
        Escrow ends at what it was before.
    """
    gross, payouts = settlement.gross_minor, settlement.payouts_minor
    steps = (
        ("invoice", f"paid by {buyer}", accounts.receivable(buyer), {accounts.ESCROW: gross}),
        (
            "waterfall",
            "exchange fee, reserve premium, suspense",
            accounts.ESCROW,
            {
                accounts.FEE: settlement.fee_minor,
                accounts.RESERVE: settlement.reserve_minor,
                accounts.SUSPENSE: settlement.suspense_minor,
            },
        ),
        ("payables", "contribution shares", accounts.ESCROW, {accounts.payable(h): m for h, m in payouts.items()}),
    )
    return tuple(
        Entry(
            id=f"{settlement_id}/{kind}",
            at=at,
            kind=kind,
            currency=settlement.currency,
            memo=f"{settlement_id}: {memo}",
            postings=_from_one(source, into),
        )
        for kind, memo, source, into in steps
        if any(into.values())
    )


def _from_one(source: str, into: Mapping[str, int]) -> tuple[Posting, ...]:
    """Postings out of one account into others."""
    return move({source: -sum(into.values()), **into})
