"""Double-entry books as immutable records and pure functions; a mistake is mended by another entry, not by a change."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from fedjoint.errors import PoolError
from fedjoint.pool import accounts
from fedjoint.pool.money import MAX_MINOR, check_minor, minor_digits
from fedjoint.pool.waterfall import Settlement
from fedjoint.strict import strict

__all__ = ["MAX_POSTINGS", "Entry", "Posting", "balances", "check_entries", "entries_of_settlement"]

#: Of one entry: a payable for each of 200 holders, and room.
MAX_POSTINGS = 1_000
_ENTRY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,126}")
_KIND = re.compile(r"[a-z][a-z -]{0,31}")
_UTC = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|\+00:00)")
#: Accounts that hold somebody's money: below zero they would have paid out what they never had.
_NEVER_NEGATIVE = (accounts.ESCROW, accounts.FEE, accounts.RESERVE, accounts.SUSPENSE)


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
        if check_minor(f"posting to {self.account}", self.amount_minor) == 0:
            raise PoolError(f"a posting of 0 to {self.account} says nothing", remedy="Leave it out.")


@strict
@dataclass(frozen=True, kw_only=True)
class Entry:
    """Money moved between accounts, in one currency, at one time.

    Args:
        id: 1 to 127 characters; also the idempotency key: the same id is the same entry.
        at: ISO 8601 in UTC, such as ``2026-11-30T12:00:00Z``.
        kind: What happened, such as ``invoice``.
        currency: ISO 4217 code.
        memo: For people, at most 500 characters.
        postings: At least two, of different accounts.

    Raises:
        PoolError: malformed, empty, an account twice, or postings that do not sum to zero.

    Guarantees:
        The postings sum to zero.
    """

    id: str
    at: str
    kind: str
    currency: str
    memo: str
    postings: tuple[Posting, ...]

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
        self._check_postings()

    def _check_postings(self) -> None:
        if not 2 <= len(self.postings) <= MAX_POSTINGS:
            raise PoolError(f"entry '{self.id}' has {len(self.postings)} postings", expected=f"2 to {MAX_POSTINGS}")
        twice = [name for name, count in Counter(p.account for p in self.postings).items() if count > 1]
        if twice:
            raise PoolError(f"entry '{self.id}' posts twice to {twice[0]}", remedy="Add the two up.")
        total = sum(posting.amount_minor for posting in self.postings)
        if total:
            raise PoolError(
                f"entry '{self.id}' is unbalanced by {total} minor units of {self.currency}", expected="a sum of zero"
            )


def entries_of_settlement(settlement: Settlement, run_id: str, *, buyer: str, at: str) -> tuple[Entry, ...]:
    """The entries of one settlement, which belong together and are posted in one transaction.

    The invoice brings gross into escrow, the waterfall takes fee, premium and suspense out of it, the payables empty
    it. An entry that would move nothing is left out.

    Args:
        settlement: What became of the revenue.
        run_id: Of the run; entry ids begin with it, so that settling a run twice changes nothing.
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
            id=f"{run_id}/{kind}",
            at=at,
            kind=kind,
            currency=settlement.currency,
            memo=f"{run_id}: {memo}",
            postings=_from_one(source, into),
        )
        for kind, memo, source, into in steps
        if any(into.values())
    )


def _from_one(source: str, into: Mapping[str, int]) -> tuple[Posting, ...]:
    """Postings out of one account into others; zero amounts are left out."""
    amounts = {source: -sum(into.values()), **into}
    return tuple(Posting(account=name, amount_minor=amount) for name, amount in amounts.items() if amount)


def balances(entries: Iterable[Entry]) -> dict[tuple[str, str], int]:
    """What every account stands at.

    Returns:
        Minor units by (currency, account), in that order; an account that was ever posted to is there, be it at 0.

    Guarantees:
        The balances of each currency sum to zero.
    """
    standing: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        for posting in entry.postings:
            standing[entry.currency, posting.account] += posting.amount_minor
    return dict(sorted(standing.items()))


def check_entries(entries: Iterable[Entry]) -> list[str]:
    """Everything that is wrong with books as a whole, beyond what an entry's constructor refuses.

    Balances are those after each entry, in the order given.

    Returns:
        One sentence per problem, in order; none if the books are in order.
    """
    problems: list[str] = []
    seen: set[str] = set()
    standing: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        if entry.id in seen:
            problems.append(f"entry '{entry.id}' stands twice")
        seen.add(entry.id)
        # The constructor refuses this too: an invariant that money rests on is checked in two places.
        total = sum(posting.amount_minor for posting in entry.postings)
        if total:
            problems.append(f"entry '{entry.id}' is unbalanced by {total} minor units of {entry.currency}")
        for posting in entry.postings:
            key = entry.currency, posting.account
            standing[key] += posting.amount_minor
            problems += _standing_problems(entry, posting.account, standing[key])
    for currency in sorted({currency for currency, _ in standing}):
        left = sum(amount for (other, _), amount in standing.items() if other == currency)
        if left:
            problems.append(f"the books in {currency} do not sum to zero but to {left} minor units")
    return problems


def _standing_problems(entry: Entry, account: str, standing: int) -> list[str]:
    after = f"after entry '{entry.id}' {account} stands at {standing} minor units of {entry.currency}"
    if account in _NEVER_NEGATIVE and standing < 0:
        return [f"{after}, below zero"]
    if abs(standing) > MAX_MINOR:
        return [f"{after}, beyond 10^15"]
    return []
