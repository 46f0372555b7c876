"""What every task of a run says first, and who confirmed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from fedjoint.strict import strict

__all__ = ["Confirmations", "Task"]

#: Holder to its signature of what is to be opened.
Confirmations: TypeAlias = dict[str, str]


@strict
@dataclass(frozen=True, kw_only=True)
class Task:
    """What every task says: under which agreement, in which run (32 lower-case hex digits)."""

    agreement_sha256: str
    run_id: str
