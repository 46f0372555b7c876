"""What one step of a pool records and posts, to be written together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from fedjoint.errors import PoolError
from fedjoint.pool.claim_money import Standing
from fedjoint.pool.ledger import Entry
from fedjoint.pool.state import PoolState, fold
from fedjoint.record.log import Event
from fedjoint.strict import plain

__all__ = ["Change", "Decide", "change_of", "unless_known"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one step records and posts.

    Args:
        at: When, ISO 8601 in UTC.
        events: Type and body of each, in order; none if the step was taken before, and then there are no entries.
        entries: That belong to them.
        after: The state after them, if whoever decided knows it.
    """

    at: str
    events: tuple[tuple[str, dict[str, Any]], ...]
    entries: tuple[Entry, ...] = ()
    after: PoolState | None = None


class Decide(Protocol):
    """What a step does: pure, from the state and the books to what is to be recorded and posted."""

    def __call__(self, state: PoolState, books: Standing) -> Change:
        """Decide."""


def change_of(state: PoolState, at: str, events: list[tuple[str, Any]], entries: tuple[Entry, ...] = ()) -> Change:
    """The events as they will stand, folded once to see that they follow.

    Raises:
        PoolError: they do not follow from the state.
    """
    plains = [(kind, plain(body)) for kind, body in events]
    after = fold(
        (Event(seq=state.size + i, type=kind, at=at, body=body) for i, (kind, body) in enumerate(plains)), state
    )
    return Change(at=at, events=tuple(plains), entries=entries, after=after)


def unless_known(books: Standing, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The entries that are not in the books yet, so that a step told twice is one step.

    Raises:
        PoolError: one is there with other amounts.
    """
    new, found = [], books.found([entry.id for entry in entries])
    for entry in entries:
        there = found.get(entry.id)
        if there is None:
            new.append(entry)
        elif (there.postings, there.currency, there.kind) != (entry.postings, entry.currency, entry.kind):
            raise PoolError(
                f"entry '{entry.id}' is there already with other content",
                remedy="An entry never changes: post a correcting entry under an id of its own.",
            )
    return tuple(new)
