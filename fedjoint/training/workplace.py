"""Where a party of a run works: its own folder, if it has one, room for large arrays, and who hears how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from fedjoint.encryption.packing import Progress
from fedjoint.encryption.scratch import SMALL_BYTES, Scratch

__all__ = ["Hears", "Workplace"]

#: Hears how far work on one update is: what is done, values done, values in all.
Hears: TypeAlias = Callable[[str, int, int], object]


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What a party has beside its keys and its records.

    Args:
        folder: Its own, where a holder's key of a run outlives its process; None in a simulation.
        small_bytes: Arrays and messages of no more bytes stay in memory, and whole.
        hears: See :data:`Hears`.
    """

    folder: Path | None = None
    small_bytes: int = SMALL_BYTES
    hears: Hears | None = None

    @property
    def scratch(self) -> Scratch:
        """Room for large arrays, in the folder."""
        return Scratch(folder=self.folder, small_bytes=self.small_bytes)

    def progress(self, what: str) -> Progress | None:
        """Who hears, after each block, how far a piece of work is."""
        return partial(self.hears, what) if self.hears else None
