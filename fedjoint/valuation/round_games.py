"""The games of one round of training, from updates in the clear: for simulation, disputes and audit only."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedjoint.errors import ValuationError
from fedjoint.valuation.games import Masks, Vector

__all__ = ["Reference", "RenormalisedGame", "RoundGame"]


class Reference(Protocol):
    """Measures models, on the reference set, say (:class:`fedjoint.models.coalitions.CoalitionReference`)."""

    def losses(self, shares: Vector, *, before: Vector, updates: Vector) -> Vector:
        """Mean losses of the models ``before + shares @ updates``: [k, n], [D], [n, D] to float64 [k]."""
        ...

    def gradient(self, model: Vector) -> Vector:
        """Gradient of the mean loss, float64 [D] to float64 [D]."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class _Round:
    """What both games of a round are made of."""

    players: tuple[Hashable, ...]
    before: Vector
    updates: npt.NDArray[np.float64]
    reference: Reference

    def __post_init__(self) -> None:
        if self.updates.shape != (len(self.players), *self.before.shape) or len(set(self.players)) != len(self.players):
            raise ValuationError(
                f"updates of shape {list(self.updates.shape)} for players {list(self.players)!r:.80}",
                expected=f"one row of {self.before.size} for each of one or more distinct players",
            )

    @cached_property
    def _start(self) -> float:
        return float(self._losses(np.zeros((1, len(self.players))))[0])

    def _losses(self, shares: Vector) -> Vector:
        return self.reference.losses(shares, before=self.before, updates=self.updates)

    def _gains(self, masks: Masks, shares: Vector) -> Vector:
        """``L(before) - L(before + shares @ updates)``; nobody gains exactly nothing, whatever the rounding."""
        return np.where(masks.any(axis=1), self._start - self._losses(shares), 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class RoundGame(_Round):
    """What each coalition's updates did to the model that was built: ``v(S) = L(w) - L(w + sum of S's d_i)``.

    Args:
        players: Who contributed to the round.
        before: The model before the round, float64 [D].
        updates: The weighted updates d_i as they were added, float64 [n, D].
        reference: Measures models.

    Raises:
        ValuationError: the updates do not fit the players and the model.
    """

    def values(self, masks: Masks) -> Vector:
        """Utilities, bool [k, n] to float64 [k]; the empty coalition is worth exactly 0."""
        return self._gains(masks, masks.astype(np.float64))

    def diagonal_gradient(self, fraction: float) -> Vector:
        """``-<grad L(w + fraction * sum of d), d_i>`` for each player, float64 [n]."""
        model = self.before + fraction * self.updates.sum(axis=0)
        gains: Vector = -(self.updates @ self.reference.gradient(model))
        return gains


@dataclass(frozen=True, kw_only=True, eq=False)
class RenormalisedGame(_Round):
    """What each coalition's average would have been worth: the round as if only its members had taken part.

    Args:
        players: Who contributed to the round.
        before: The model before the round, float64 [D].
        updates: The weighted updates d_i as they were added, float64 [n, D].
        reference: Measures models.
        weights: Each player's weight in the average, float64 [n], above 0.

    Raises:
        ValuationError: the updates or weights do not fit the players and the model.

    Source: Song, Tong, Wei (2019), Profit Allocation for Federated Learning: the models of the multi-round index.
    """

    weights: Vector

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights.shape != (len(self.players),) or not (np.isfinite(self.weights) & (self.weights > 0)).all():
            raise ValuationError(f"weights {self.weights!r:.80}", expected="a number above 0 for each player")

    def values(self, masks: Masks) -> Vector:
        """Utilities, bool [k, n] to float64 [k]; the empty coalition is worth exactly 0."""
        present = masks @ self.weights
        scale = np.divide(self.weights.sum(), present, out=np.zeros(len(masks)), where=present > 0)
        return self._gains(masks, masks * scale[:, None])
