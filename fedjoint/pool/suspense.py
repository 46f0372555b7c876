"""Suspense must clear: what has stood there, since when, and what has stood too long."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from fedjoint.pool.accounts import SUSPENSE
from fedjoint.pool.ledger import Entry

__all__ = ["Unclear", "suspense_report"]


@dataclass(frozen=True, kw_only=True)
class Unclear:
    """Money in suspense that nobody has decided on.

    Args:
        entry_id: Of the entry that put it there.
        at: When, ISO 8601 in UTC.
        currency: ISO 4217 code.
        left_minor: What of it is still there, in minor units, at least 1.
        days: Whole days since then.
        overdue: Longer than the dispute window.
        frozen: It is a respondent's, held for a claim: pending until the claim is decided, settled or withdrawn.
    """

    entry_id: str
    at: str
    currency: str
    left_minor: int
    days: int
    overdue: bool
    frozen: bool = False


def suspense_report(
    entries: Iterable[Entry], pending: Iterable[Entry] = (), *, at: str, window_days: int
) -> list[Unclear]:
    """What stands in suspense, oldest first in each currency; what leaves is taken from the oldest.

    Memory is needed for what is unclear, not for all entries.

    Args:
        entries: In the order they were posted, such as ``store.ledger.entries("suspense")``.
        pending: What is frozen, such as ``store.ledger.pending("suspense")``.
        at: Now, ISO 8601 in UTC.
        window_days: The agreed dispute window.

    Guarantees:
        What is not frozen sums to the balance of the account, in each currency, and what is, to its pending amount.
    """
    now, standing = datetime.fromisoformat(at), dict[str, deque[Unclear]]()
    for entry in entries:
        amount = _into_suspense(entry) if entry.phase == "posted" else 0
        queue = standing.setdefault(entry.currency, deque())
        if amount > 0:
            queue.append(_unclear(entry, now, window_days))
        while amount < 0 and queue:
            oldest = queue.popleft()
            amount += oldest.left_minor
            if amount > 0:
                queue.appendleft(replace(oldest, left_minor=amount))
    frozen = [replace(_unclear(entry, now, window_days), frozen=True) for entry in pending if _into_suspense(entry) > 0]
    return [*(unclear for currency in sorted(standing) for unclear in standing[currency]), *frozen]


def _into_suspense(entry: Entry) -> int:
    return sum(posting.amount_minor for posting in entry.postings if posting.account == SUSPENSE)


def _unclear(entry: Entry, now: datetime, window_days: int) -> Unclear:
    days = (now - datetime.fromisoformat(entry.at)).days
    return Unclear(
        entry_id=entry.id,
        at=entry.at,
        currency=entry.currency,
        left_minor=_into_suspense(entry),
        days=days,
        overdue=days > window_days,
    )
