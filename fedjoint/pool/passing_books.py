"""Books for verification: entries pass by and are not kept, so that memory does not grow with their number.

Balances and what is pending are remembered; the ids of all entries, which say whether one comes twice, are in a
temporary SQLite file that is gone when it is closed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType

from fedjoint.errors import PoolError
from fedjoint.pool.books import Balance, Key, Replay
from fedjoint.pool.ledger import Entry

__all__ = ["PassingBooks"]

_CACHE_KIB = 8_192


class PassingBooks:
    """What :class:`fedjoint.pool.books.Books` says of balances and pending entries; close it, or use ``with``.

    Guarantees:
        An entry that comes twice, resolves what does not wait or breaks a limit is refused.

    Example:
        >>> from fedjoint.pool.ledger import move
        >>> paid = Entry(id="a", at="2026-11-30T12:00:00Z", kind="invoice", currency="CNY",
        ...              postings=move({"receivable:b": -5, "escrow": 5}))
        >>> with PassingBooks() as books:
        ...     books.post([paid])
        ...     books.balance("escrow", "CNY").posted_minor
        5
    """

    def __init__(self) -> None:
        self._standing = Replay()
        self._seen = sqlite3.connect("", isolation_level=None)  # an empty name: a private file that nobody else sees
        self._seen.executescript(
            f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{_CACHE_KIB};"
            "CREATE TABLE seen (id TEXT PRIMARY KEY) WITHOUT ROWID"
        )

    def post(self, entries: Iterable[Entry]) -> None:
        """Apply entries in order.

        Raises:
            PoolError: one stands twice, a pending entry that is not there or was resolved, or a limit; what came
                before it stays applied.
        """
        for entry in entries:
            if not self._seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (entry.id,)).rowcount:
                raise PoolError(f"entry '{entry.id}' stands twice")
            problems = self._standing.add(entry)
            if problems:
                raise PoolError(problems[0])

    def entry(self, entry_id: str) -> Entry | None:
        """A pending entry that nothing resolved yet, if it is there; what was posted is not remembered."""
        return self._standing.waiting.get(entry_id)

    def found(self, entry_ids: Sequence[str]) -> dict[str, Entry]:
        """Those of some entries that are pending, by id."""
        waiting = self._standing.waiting
        return {entry_id: waiting[entry_id] for entry_id in entry_ids if entry_id in waiting}

    def pending(self, account: str | None = None) -> Iterator[Entry]:
        """The pending entries that nothing resolved yet: all, or those with a posting to one account."""
        for entry in list(self._standing.waiting.values()):
            if account is None or any(posting.account == account for posting in entry.postings):
                yield entry

    def balance(self, account: str, currency: str) -> Balance:
        """What one account stands at; zero if it was never touched."""
        return self._standing.balances.get((currency, account), Balance())

    def standings(self) -> dict[Key, Balance]:
        """Every account that was ever touched, by (currency, account) in that order."""
        return dict(sorted(self._standing.balances.items()))

    def close(self) -> None:
        """Give the temporary file back."""
        self._seen.close()

    def __enter__(self) -> PassingBooks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
