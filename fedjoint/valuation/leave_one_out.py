"""Leave-one-out: what all lose without a player. Cheap, and blind to players who could stand in for each other."""

from __future__ import annotations

import numpy as np

from fedjoint.valuation.estimate import Estimate, Sampling, exact_estimate
from fedjoint.valuation.games import Game, values_of

__all__ = ["leave_one_out"]


def leave_one_out(game: Game, sampling: Sampling) -> Estimate:
    """``v(all) - v(all but i)``, by n + 1 evaluations.

    Args:
        game: Of any number of players.
        sampling: Ignored: nothing is sampled.

    Returns:
        Without error; the values need not sum to what all gain together.

    Raises:
        ValuationError: a utility is not finite.
    """
    del sampling
    players = len(game.players)
    values = values_of(game, np.concatenate([~np.eye(players, dtype=np.bool_), np.ones((1, players), dtype=np.bool_)]))
    return exact_estimate(game, values[-1] - values[:-1], evaluations=players + 1)
