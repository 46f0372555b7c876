"""Entries of double-entry books as immutable records; a mistake is mended by another entry, not by a change."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from fedjoint.errors import PoolError
from fedjoint.pool import accounts
from fedjoint.pool.money import check_minor, minor_digits
from fedjoint.strict import strict

__all__ = ["MAX_POSTINGS", "Entry", "Phase", "Posting", "move", "post_pending", "reverse", "void_pending"]

#: Of one entry: a payable for each of 200 holders, and room.
MAX_POSTINGS = 1_000
_MAX_DETAILS = 16
_ENTRY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,126}")
_KIND = re.compile(r"[a-z][a-z -]{0,31}")
_DETAIL = re.compile(r"[a-z][a-z0-9_]{0,31}")
_UTC = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|\+00:00)")

Phase = Literal["posted", "pending", "voided"]


@strict
@dataclass(frozen=True, kw_only=True)
class Posting:
    """What flows into one account (:mod:`fedjoint.pool.accounts`).

    Args:
        account: Its name.
        amount_minor: Minor units, -10^15 to 10^15, not 0; negative flows out.
    """

    account: str
    amount_minor: int

    def __post_init__(self) -> None:
        accounts.check_account(self.account)
        if check_minor("posting", self.amount_minor) == 0:
            raise PoolError(f"a posting of 0 to {self.account} says nothing", remedy="Leave it out.")


@strict
@dataclass(frozen=True, kw_only=True)
class Entry:
    """Money moved between accounts, in one currency, at one time.

    A transfer in two steps is two entries: a *pending* one takes its amounts out of what the accounts may spend, and
    later one other entry ``resolves`` it, once: by *posting* it in full or in part (the rest returns), or *voiding* it.

    Args:
        id: 1 to 127 characters; also the idempotency key: the same id is the same entry.
        at: ISO 8601 in UTC, such as ``2026-11-30T12:00:00Z``.
        kind: What happened, such as ``invoice``. ``payout`` may not leave a payable below zero.
        currency: ISO 4217 code.
        memo: For people, at most 500 characters.
        postings: At least two, of different accounts; none if voided.
        phase: ``posted``, ``pending`` or ``voided``.
        resolves: Id of the pending entry that this one posts or voids.
        details: Facts for programs, at most 16: a rate and its source, what an entry reverses.

    Raises:
        PoolError: malformed, empty, an account twice, or postings that do not sum to zero.

    Guarantees:
        The postings sum to zero.
    """

    id: str
    at: str
    kind: str
    currency: str
    memo: str = ""
    postings: tuple[Posting, ...] = ()
    phase: Phase = "posted"
    resolves: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value, pattern in (("id", self.id, _ENTRY_ID), ("kind", self.kind, _KIND), ("time", self.at, _UTC)):
            if not pattern.fullmatch(value):
                raise PoolError(f"entry {name} '{value[:80]}' is malformed", expected=f"a match of {pattern.pattern}")
        try:
            datetime.fromisoformat(self.at)
        except ValueError:
            raise PoolError(f"entry '{self.id}' is of {self.at}", expected="a time that exists") from None
        if len(self.memo) > 500:
            raise PoolError(f"the memo of entry '{self.id}' has {len(self.memo)} characters", expected="at most 500")
        minor_digits(self.currency)
        self._check_phase()
        self._check_details()
        self._check_postings()

    def _check_phase(self) -> None:
        if self.phase == "pending" and self.resolves is not None:
            raise PoolError(f"entry '{self.id}' resolves another and is pending", expected="posted or voided")
        if self.phase == "voided" and (self.resolves is None or self.postings):
            raise PoolError(
                f"entry '{self.id}' voids", expected="the pending entry's id in 'resolves', and no postings"
            )
        if self.resolves is not None and not _ENTRY_ID.fullmatch(self.resolves):
            raise PoolError(f"entry '{self.id}' resolves '{self.resolves[:80]}'", expected="an entry's id")

    def _check_details(self) -> None:
        if len(self.details) > _MAX_DETAILS:
            raise PoolError(f"entry '{self.id}' has {len(self.details)} details", expected=f"at most {_MAX_DETAILS}")
        for key, value in self.details.items():
            if not _DETAIL.fullmatch(key) or not isinstance(value, str) or len(value) > 500:
                raise PoolError(
                    f"detail '{key[:80]}' of entry '{self.id}' is malformed",
                    expected="a name such as rate, and a text of at most 500 characters",
                )

    def _check_postings(self) -> None:
        least = 0 if self.phase == "voided" else 2
        if not least <= len(self.postings) <= MAX_POSTINGS:
            raise PoolError(
                f"entry '{self.id}' has {len(self.postings)} postings", expected=f"{least} to {MAX_POSTINGS}"
            )
        if len({posting.account for posting in self.postings}) != len(self.postings):
            counts = Counter(posting.account for posting in self.postings)
            twice = next(account for account, count in counts.items() if count > 1)
            raise PoolError(f"entry '{self.id}' posts twice to {twice}", remedy="Add the two up.")
        total = sum(posting.amount_minor for posting in self.postings)
        if total:
            raise PoolError(
                f"entry '{self.id}' is unbalanced by {total} minor units of {self.currency}", expected="a sum of zero"
            )


def move(amounts: Mapping[str, int]) -> tuple[Posting, ...]:
    """Postings of the amounts by account; zero amounts are left out.

    Raises:
        PoolError: no account, or no amount.

    Example:
        >>> [posting.account for posting in move({"escrow": -5, "fee": 5, "reserve": 0})]
        ['escrow', 'fee']
    """
    return tuple(Posting(account=name, amount_minor=amount) for name, amount in amounts.items() if amount)


def post_pending(
    pending: Entry, *, id: str, at: str, amounts: Mapping[str, int] | None = None, memo: str = ""
) -> Entry:
    """The entry that posts a pending one: in full, or in part, and then the rest returns.

    Args:
        pending: What waits.
        id: Of the new entry.
        at: When, ISO 8601 in UTC.
        amounts: By account, each between 0 and the pending amount; all of it by default.
        memo: For people.

    Raises:
        PoolError: the entry is not pending, or an amount goes beyond it.
    """
    waiting = {posting.account: posting.amount_minor for posting in _pending(pending).postings}
    for account, amount in (amounts or {}).items():
        least, most = sorted((0, waiting.get(account, 0)))
        if not least <= amount <= most:
            raise PoolError(
                f"{amount} to {account} is beyond what waits in '{pending.id}'", expected=f"{least} to {most}"
            )
    return Entry(
        id=id,
        at=at,
        kind=pending.kind,
        currency=pending.currency,
        memo=memo or pending.memo,
        postings=move(waiting if amounts is None else amounts),
        resolves=pending.id,
    )


def void_pending(pending: Entry, *, id: str, at: str, memo: str = "") -> Entry:
    """The entry that gives a pending one up: everything returns.

    Raises:
        PoolError: the entry is not pending.
    """
    return Entry(
        id=id,
        at=at,
        kind=_pending(pending).kind,
        currency=pending.currency,
        memo=memo or pending.memo,
        phase="voided",
        resolves=pending.id,
    )


def reverse(entry: Entry, *, id: str, at: str, memo: str) -> Entry:
    """The correcting entry that undoes a posted one: every amount the other way, and ``details["reverses"]``.

    Raises:
        PoolError: the entry is not posted.
    """
    if entry.phase != "posted":
        raise PoolError(f"entry '{entry.id}' is {entry.phase}", expected="a posted one", remedy="Void it instead.")
    return Entry(
        id=id,
        at=at,
        kind=entry.kind,
        currency=entry.currency,
        memo=memo,
        postings=move({posting.account: -posting.amount_minor for posting in entry.postings}),
        details={"reverses": entry.id},
    )


def _pending(entry: Entry) -> Entry:
    if entry.phase != "pending":
        raise PoolError(f"entry '{entry.id}' is {entry.phase}", expected="a pending one")
    return entry
