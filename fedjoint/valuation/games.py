"""The game of a round, with updates in the clear: for simulation and audit only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fedjoint.errors import ValuationError
from fedjoint.valuation.shapley import MAX_EXACT_PLAYERS

__all__ = ["round_game"]

Vector = npt.NDArray[np.float64]


def round_game(loss: Callable[[Vector], float], before: Vector, updates: npt.NDArray[np.float64]) -> Vector:
    """Utility of every coalition of a round: ``v(S) = L(w) - L(w + sum of S's updates)``.

    Args:
        loss: The reference set's mean loss at a model.
        before: The model before the round, float64 [D].
        updates: The weighted updates d_i as they were added, float64 [n, D], n at most 12.

    Returns:
        float64 [2^n], indexed by the coalition's bits; the empty coalition is worth 0.

    Raises:
        ValuationError: more players than can be evaluated exactly.
    """
    players = len(updates)
    if players > MAX_EXACT_PLAYERS:
        raise ValuationError(f"{players} players", expected=f"at most {MAX_EXACT_PLAYERS} for all coalitions")
    start = loss(before)
    utilities = np.zeros(1 << players)
    for coalition in range(1, 1 << players):
        members = [player for player in range(players) if coalition >> player & 1]
        utilities[coalition] = start - loss(before + updates[members].sum(axis=0))
    return utilities
