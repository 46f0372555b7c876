"""The rules of the books as a pure model in memory: what the database's guards enforce, said once more in Python.

Verification replays a ledger through it, and tests hold the databases against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fedjoint.errors import PoolError
from fedjoint.pool.accounts import may_be_negative
from fedjoint.pool.ledger import Entry
from fedjoint.pool.money import MAX_MINOR

__all__ = [
    "Balance",
    "Books",
    "Key",
    "Posted",
    "Replay",
    "balances",
    "check_entries",
    "require_fit",
    "require_same",
    "resolved_by",
    "touched",
    "unique",
]

#: Currency and account.
Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Balance:
    """What an account stands at, in minor units of one currency.

    Args:
        posted_minor: Sum of what was posted.
        pending_in_minor: What pending entries would add, at least 0.
        pending_out_minor: What pending entries would take, at most 0.
        version: How many entries touched the account.
    """

    posted_minor: int = 0
    pending_in_minor: int = 0
    pending_out_minor: int = 0
    version: int = 0

    def plus(self, change: Balance) -> Balance:
        """This and a change of it."""
        return Balance(
            posted_minor=self.posted_minor + change.posted_minor,
            pending_in_minor=self.pending_in_minor + change.pending_in_minor,
            pending_out_minor=self.pending_out_minor + change.pending_out_minor,
            version=self.version + change.version,
        )

    @property
    def available_minor(self) -> int:
        """What may be spent: posted, less what is reserved."""
        return self.posted_minor + self.pending_out_minor


@dataclass(frozen=True, kw_only=True)
class Posted:
    """What posting did.

    Args:
        new: Ids of the entries written.
        known: Ids of those that were there already, with the same content: nothing changed.
    """

    new: tuple[str, ...]
    known: tuple[str, ...]


class Replay:
    """Balances and open pending entries while entries pass by; it needs no memory for what has passed.

    Args:
        balances: To start from.
        waiting: Pending entries, by id, that nothing resolved yet.
    """

    def __init__(
        self, balances: Mapping[Key, Balance] | None = None, waiting: Mapping[str, Entry] | None = None
    ) -> None:
        self.balances: dict[Key, Balance] = dict(balances or {})
        self.waiting: dict[str, Entry] = dict(waiting or {})

    def add(self, entry: Entry) -> list[str]:
        """Apply an entry, be it right or not.

        Returns:
            What is wrong with it here: one sentence per problem, none if all is well.
        """
        # The constructor refuses this too: an invariant that money rests on is checked in more than one place.
        total = sum(posting.amount_minor for posting in entry.postings)
        problems = [f"entry '{entry.id}' is unbalanced by {total} minor units of {entry.currency}"] if total else []
        pending = None
        if entry.resolves is not None:
            pending = self.waiting.pop(entry.resolves, None)
            problems += _resolving_problems(entry, pending)
        if entry.phase == "pending":
            self.waiting[entry.id] = entry
        for account, change in _changes(entry, pending).items():
            key = entry.currency, account
            after = self.balances.get(key, Balance()).plus(change)
            self.balances[key] = after
            problems += _limit_problems(entry, account, after)
        return problems

    def sum_problems(self) -> list[str]:
        """The currencies whose balances do not sum to zero, one sentence each."""
        sums: Counter[str] = Counter()
        for (currency, _), balance in sorted(self.balances.items()):
            sums[currency] += balance.posted_minor + balance.pending_in_minor + balance.pending_out_minor
        return [
            f"the books in {currency} do not sum to zero but to {left} minor units"
            for currency, left in sums.items()
            if left
        ]


class Books:
    """Books in memory: entries go in, balances come out.

    Guarantees:
        Of the entries of one :meth:`post` all are applied or none.

    Example:
        >>> from fedjoint.pool.ledger import move
        >>> paid = Entry(id="a", at="2026-11-30T12:00:00Z", kind="invoice", currency="CNY",
        ...              postings=move({"receivable:b": -5, "escrow": 5}))
        >>> books = Books()
        >>> books.post([paid]), books.post([paid]), books.balance("escrow", "CNY").posted_minor
        (Posted(new=('a',), known=()), Posted(new=(), known=('a',)), 5)
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._standing = Replay()

    def post(self, entries: Iterable[Entry]) -> Posted:
        """Apply entries that belong together, in order.

        Raises:
            PoolError: an id that is there with other content, a pending entry that is not there or was resolved, or
                a limit: nothing is applied.
        """
        given = unique(entries)
        known = [entry_id for entry_id in given if entry_id in self._entries]
        for entry_id in known:
            require_same(self._entries[entry_id], given[entry_id])
        new = [entry for entry in given.values() if entry.id not in self._entries]
        standing, waiting = self._standing.balances, self._standing.waiting
        after = require_fit(
            new,
            balances={key: standing[key] for key in touched(new, waiting) if key in standing},
            waiting={entry_id: waiting[entry_id] for entry_id in resolved_by(new) if entry_id in waiting},
        )
        for entry in new:
            self._entries[entry.id] = entry
            if entry.resolves is not None:
                waiting.pop(entry.resolves, None)
        standing.update(after.balances)
        waiting.update(after.waiting)
        return Posted(new=tuple(entry.id for entry in new), known=tuple(known))

    def entry(self, entry_id: str) -> Entry | None:
        """One entry, if it is there."""
        return self._entries.get(entry_id)

    def found(self, entry_ids: Sequence[str]) -> dict[str, Entry]:
        """Those of some entries that are there, by id."""
        return {entry_id: self._entries[entry_id] for entry_id in entry_ids if entry_id in self._entries}

    def entries(self, account: str | None = None) -> Iterator[Entry]:
        """The entries in the order they were posted: all, or those with a posting to one account."""
        for entry in self._entries.values():
            if account is None or any(posting.account == account for posting in entry.postings):
                yield entry

    def pending(self, account: str | None = None) -> Iterator[Entry]:
        """The pending entries that nothing resolved yet."""
        return (entry for entry in self.entries(account) if entry.id in self._standing.waiting)

    def balance(self, account: str, currency: str) -> Balance:
        """What one account stands at; zero if it was never touched."""
        return self._standing.balances.get((currency, account), Balance())

    def standings(self) -> dict[Key, Balance]:
        """Every account that was ever touched, by (currency, account) in that order."""
        return dict(sorted(self._standing.balances.items()))

    def balances(self) -> dict[Key, int]:
        """What is posted to every account, in minor units by (currency, account)."""
        return {key: balance.posted_minor for key, balance in self.standings().items()}


def unique(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Entries by id, in order.

    Raises:
        PoolError: an id twice with different content.
    """
    given: dict[str, Entry] = {}
    for entry in entries:
        require_same(given.setdefault(entry.id, entry), entry)
    return given


def require_same(there: Entry, given: Entry) -> None:
    """Refuse an entry whose id is taken by another one.

    Raises:
        PoolError: they differ.
    """
    if there != given:
        raise PoolError(
            f"entry '{given.id}' is there already with other content",
            remedy="An entry never changes: post a correcting entry under an id of its own.",
        )


def resolved_by(entries: Iterable[Entry]) -> list[str]:
    """Ids of the pending entries that entries resolve."""
    return [entry.resolves for entry in entries if entry.resolves is not None]


def touched(entries: Sequence[Entry], waiting: Mapping[str, Entry]) -> set[Key]:
    """The accounts, with currency, that entries change: their own, and those of the pending entries they resolve."""
    resolved = [waiting[entry_id] for entry_id in resolved_by(entries) if entry_id in waiting]
    return {(entry.currency, posting.account) for entry in (*entries, *resolved) for posting in entry.postings}


def require_fit(entries: Sequence[Entry], *, balances: Mapping[Key, Balance], waiting: Mapping[str, Entry]) -> Replay:
    """What the books come to after these entries.

    Args:
        entries: New ones, in order.
        balances: Of the accounts they touch, before.
        waiting: The open pending entries that they resolve, if not made among them.

    Raises:
        PoolError: a limit, or a pending entry that is not there or was resolved.
    """
    replay = Replay(balances, waiting)
    for entry in entries:
        problems = replay.add(entry)
        if problems:
            raise PoolError(problems[0], remedy="Nothing was posted.")
    return replay


def _resolving_problems(entry: Entry, pending: Entry | None) -> list[str]:
    if pending is None or pending.currency != entry.currency:
        return [
            f"entry '{entry.id}' resolves '{entry.resolves}', which waits no more, or never did in {entry.currency}"
        ]
    waiting = {posting.account: posting.amount_minor for posting in pending.postings}
    problems = []
    for posting in entry.postings:
        least, most = sorted((0, waiting.get(posting.account, 0)))
        if not least <= posting.amount_minor <= most:
            posts = f"entry '{entry.id}' posts {posting.amount_minor} to {posting.account}"
            problems.append(f"{posts}, but {least} to {most} is pending")
    return problems


def _changes(entry: Entry, pending: Entry | None) -> dict[str, Balance]:
    """What an entry does to each account: its own postings, and what it takes back of the pending one."""
    changes: dict[str, Balance] = {}
    for posting in entry.postings:
        amount = posting.amount_minor
        if entry.phase == "pending":
            changes[posting.account] = Balance(
                pending_in_minor=max(amount, 0), pending_out_minor=min(amount, 0), version=1
            )
        else:
            changes[posting.account] = Balance(posted_minor=amount, version=1)
    for posting in pending.postings if pending else ():
        amount = posting.amount_minor
        changes[posting.account] = replace(
            changes.get(posting.account, Balance(version=1)),
            pending_in_minor=-max(amount, 0),
            pending_out_minor=-min(amount, 0),
        )
    return changes


def _limit_problems(entry: Entry, account: str, after: Balance) -> list[str]:
    """Why an account may not stand so, or nothing."""
    stands = f"after entry '{entry.id}' {account} stands at {after.available_minor} minor units of {entry.currency}"
    overpaid = entry.kind == "payout" and account.startswith("payable:")
    if after.available_minor < 0 and (overpaid or not may_be_negative(account)):
        return [f"{stands}, below zero"]
    if after.available_minor < -MAX_MINOR or after.posted_minor + after.pending_in_minor > MAX_MINOR:
        return [f"{stands}, beyond 10^15"]
    return []


def balances(entries: Iterable[Entry]) -> dict[Key, int]:
    """What is posted to every account.

    Returns:
        Minor units by (currency, account), in that order; an account that was ever touched is there, be it at 0.

    Guarantees:
        The balances of each currency sum to zero.
    """
    standing: Counter[Key] = Counter()
    for entry in entries:
        for posting in entry.postings:
            standing[entry.currency, posting.account] += posting.amount_minor if entry.phase == "posted" else 0
    return dict(sorted(standing.items()))


def check_entries(entries: Iterable[Entry]) -> list[str]:
    """Everything that is wrong with books as a whole, beyond what an entry's constructor refuses.

    Balances are those after each entry, in the order given.

    Returns:
        One sentence per problem, in order; none if the books are in order.
    """
    replay, seen, problems = Replay(), set[str](), list[str]()
    for entry in entries:
        if entry.id in seen:
            problems.append(f"entry '{entry.id}' stands twice")
        seen.add(entry.id)
        problems += replay.add(entry)
    return problems + replay.sum_problems()
