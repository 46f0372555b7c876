"""What one step of a pool records and posts, to be written together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedjoint.pool.ledger import Entry

__all__ = ["Change"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one step records and posts.

    Args:
        at: When, ISO 8601 in UTC.
        events: Type and body of each, in order.
        entries: That belong to them.
    """

    at: str
    events: tuple[tuple[str, dict[str, Any]], ...]
    entries: tuple[Entry, ...] = ()
