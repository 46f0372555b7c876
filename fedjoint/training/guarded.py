"""The agreed guards of a valuation (:mod:`fedjoint.valuation.guards`), round by round, with what they must remember."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.terms import Terms
from fedjoint.encryption.scratch import IN_MEMORY, Bytes, Scratch, pieces, product
from fedjoint.privacy.update_noise import longest_update
from fedjoint.strict import strict
from fedjoint.training.aggregate import ServerState, mean_rate
from fedjoint.valuation.guards import entitled, late_joiners, share_known, split_known

__all__ = ["GuardedPath", "SavedGuards", "guarded"]

Vector = npt.NDArray[np.float64]


@strict
@dataclass(frozen=True, kw_only=True)
class SavedGuards:
    """What :meth:`GuardedPath.restore` needs beside the last step."""

    known: tuple[float, ...]
    novel: tuple[float, ...]
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
        #: Of each round, how long the gradient is that holders are valued by, in units of the utility for an update.
        self.novel: list[float] = []
        self._contributors: list[tuple[str, ...]] = []

    def add_round(
        self, gradient: Vector, contributors: Sequence[str], before: ServerState, after: ServerState
    ) -> Vector:
        """The gradient that a round's holders are valued by, float64 [D]."""
        known = novel = 0.0
        if self._terms.valuation.known_path == "by_size":
            step = self._scratch.array("<f8", gradient.size)
            for piece in pieces(step.size, before.model, after.model, step):
                step[piece] = after.model[piece].astype(np.float64) - before.model[piece]
            if self._last is not None:
                gradient, known = split_known(gradient, step, self._last, scratch=self._scratch)
            self._last = step
            rate = self._terms.training.server_learning_rate * mean_rate(self._terms, contributors)
            novel = rate * math.sqrt(product(gradient, gradient))
        self.known.append(known)
        self.novel.append(novel)
        self._contributors.append(tuple(sorted(contributors)))
        return gradient

    def applied(self, valued: Mapping[str, float]) -> dict[str, float]:
        """Contributions by what was opened, and by the guards."""
        return guarded(self._terms, valued, self.known, self._contributors, novel=self.novel)

    def saved(self) -> tuple[SavedGuards, Bytes | bytes]:
        """Facts, and the last step, if a rule needs it."""
        facts = SavedGuards(known=tuple(self.known), novel=tuple(self.novel), contributors=tuple(self._contributors))
        return facts, b"" if self._last is None else self._last.view(np.uint8)

    def restore(self, saved: SavedGuards, last_step: Bytes | bytes) -> None:
        """Go on from what :meth:`saved` gave."""
        self.known, self.novel, self._contributors = list(saved.known), list(saved.novel), list(saved.contributors)
        self._last = np.frombuffer(last_step, "<f8") if len(last_step) else None


def guarded(
    terms: Terms,
    valued: Mapping[str, float],
    known: Sequence[float],
    contributors: Sequence[Sequence[str]],
    *,
    novel: Sequence[float],
) -> dict[str, float]:
    """Contributions under the agreed guards; the same function serves the coordinator and whoever verifies the record.

    Args:
        terms: The agreement.
        valued: What was opened of each holder, in units of the utility.
        known: What each round gained along the known path.
        contributors: Who took part in each round.
        novel: How long the gradient was in each round that holders were valued by, :attr:`GuardedPath.novel`.
    """
    weights = {holder: terms.weight(holder) for holder in terms.holder_ids}
    late = late_joiners(contributors, terms.valuation.latest_start)
    if not any(known):
        return {holder: 0.0 if holder in late else value for holder, value in valued.items()}
    own = entitled(valued, weights, by_chance=_by_chance(terms, contributors, novel))
    present = [[holder for holder in holders if holder in own] for holders in contributors]
    shared = share_known(known, present, weights)
    # who brought nothing of its own has no claim by what chance gave it either
    counted = {holder: value + shared[holder] if holder in own else min(value, 0.0) for holder, value in valued.items()}
    return {holder: 0.0 if holder in late else value for holder, value in counted.items()}


def _by_chance(
    terms: Terms, contributors: Sequence[Sequence[str]], novel: Sequence[float]
) -> Mapping[str, float] | None:
    """What noise as long as each holder's updates may be has by chance; None where nothing bounds their length."""
    agreed = terms.training.maximum_update_norm
    found = {}
    for holder in terms.holder_ids:
        length = longest_update(terms, holder) if agreed is None else terms.weight(holder) * agreed
        if math.isinf(length):
            return None
        there = [one for one, holders in zip(novel, contributors, strict=True) if holder in holders]
        found[holder] = math.hypot(*there) * length / math.sqrt(terms.num_parameters)
    return found
