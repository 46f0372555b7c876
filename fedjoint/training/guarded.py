"""The agreed guards of a valuation (:mod:`fedjoint.valuation.guards`), round by round, with what they must remember."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.terms import Terms
from fedjoint.encryption.scratch import IN_MEMORY, Bytes, Scratch, pieces
from fedjoint.strict import strict
from fedjoint.training.aggregate import ServerState
from fedjoint.valuation.guards import entitled, late_joiners, share_known, split_known

__all__ = ["GuardedPath", "SavedGuards", "guarded"]

Vector = npt.NDArray[np.float64]


@strict
@dataclass(frozen=True, kw_only=True)
class SavedGuards:
    """What :meth:`GuardedPath.restore` needs beside the last step."""

    known: tuple[float, ...]
    contributors: tuple[tuple[str, ...], ...]


class GuardedPath:
    """Takes the known path out of gradients, and notes who took part.

    Args:
        terms: The agreement.
        scratch: Where vectors as long as the model are kept.
    """

    def __init__(self, terms: Terms, scratch: Scratch = IN_MEMORY) -> None:
        self._terms, self._scratch = terms, scratch
        self._last: Vector | None = None
        self.known: list[float] = []
        self._contributors: list[tuple[str, ...]] = []

    def add_round(
        self, gradient: Vector, contributors: Sequence[str], before: ServerState, after: ServerState
    ) -> Vector:
        """The gradient that a round's holders are valued by, float64 [D]."""
        known = 0.0
        if self._terms.valuation.known_path == "by_size":
            step = self._scratch.array("<f8", gradient.size)
            for piece in pieces(step.size, before.model, after.model, step):
                step[piece] = after.model[piece].astype(np.float64) - before.model[piece]
            if self._last is not None:
                gradient, known = split_known(gradient, step, self._last, scratch=self._scratch)
            self._last = step
        self.known.append(known)
        self._contributors.append(tuple(sorted(contributors)))
        return gradient

    def applied(self, valued: Mapping[str, float]) -> dict[str, float]:
        """Contributions by what was opened, and by the guards."""
        return guarded(self._terms, valued, self.known, self._contributors)

    def saved(self) -> tuple[SavedGuards, Bytes | bytes]:
        """Facts, and the last step, if a rule needs it."""
        facts = SavedGuards(known=tuple(self.known), contributors=tuple(self._contributors))
        return facts, b"" if self._last is None else self._last.view(np.uint8)

    def restore(self, saved: SavedGuards, last_step: Bytes | bytes) -> None:
        """Go on from what :meth:`saved` gave."""
        self.known, self._contributors = list(saved.known), list(saved.contributors)
        self._last = np.frombuffer(last_step, "<f8") if len(last_step) else None


def guarded(
    terms: Terms, valued: Mapping[str, float], known: Sequence[float], contributors: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Contributions under the agreed guards; the same function serves the coordinator and whoever verifies the record.

    Args:
        terms: The agreement.
        valued: What was opened of each holder, in units of the utility.
        known: What each round gained along the known path.
        contributors: Who took part in each round.
    """
    weights = {holder: terms.weight(holder) for holder in terms.holder_ids}
    own = entitled(valued, weights) if any(known) else frozenset()
    present = [[holder for holder in holders if holder in own] for holders in contributors]
    shared = share_known(known, present, weights) if any(known) else {}
    late = late_joiners(contributors, terms.valuation.latest_start)
    return {holder: 0.0 if holder in late else value + shared.get(holder, 0.0) for holder, value in valued.items()}
