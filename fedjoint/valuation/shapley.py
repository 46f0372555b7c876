"""The exact Shapley value, from a table of all coalitions' utilities.

Source: Shapley (1953), A Value for n-Person Games.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

from fedjoint.errors import ValuationError
from fedjoint.valuation.estimate import Estimate, Sampling, exact_estimate
from fedjoint.valuation.games import Game, Vector, table_of

__all__ = ["exact_shapley", "shapley"]

#: So few players' differences are taken at once, which is faster than one by one while they fit the cache.
_MAX_GATHERED = 12


def shapley(game: Game, sampling: Sampling) -> Estimate:
    """The Shapley value of a game of up to 16 players, by all its coalitions.

    Args:
        game: Any.
        sampling: Ignored: nothing is sampled.

    Returns:
        Without error.

    Raises:
        ValuationError: more than 16 players, or a utility is not finite.

    Guarantees:
        Efficiency, symmetry, linearity up to rounding; whoever adds nothing to any coalition gets exactly 0.
    """
    del sampling
    table = table_of(game)
    return exact_estimate(game, _shapley_of(table, len(game.players)), evaluations=table.size)


def exact_shapley(utilities: Vector) -> Vector:
    """Shapley values of all players from the utility of every coalition.

    Args:
        utilities: float64 [2^n], n at least 1; bit i of the index says whether player i is in the coalition.

    Returns:
        float64 [n]; they sum to ``utilities[-1] - utilities[0]``.

    Raises:
        ValuationError: the table's length is no power of two, or a utility is not finite.

    Example:
        A glove game: player 0 has a left glove, 1 and 2 a right one each; a pair is worth 1.

        >>> exact_shapley(np.array([0, 0, 0, 1, 0, 1, 0, 1.0])).round(4).tolist()
        [0.6667, 0.1667, 0.1667]
    """
    players = utilities.size.bit_length() - 1
    if players < 1 or utilities.shape != (1 << players,) or not np.isfinite(utilities).all():
        raise ValuationError(f"a table of {utilities.shape} utilities", expected="2^n finite numbers")
    return _shapley_of(utilities, players)


def _shapley_of(utilities: Vector, players: int) -> Vector:
    """Weighted differences between each coalition with a player and without it: whoever adds nothing gets exactly 0."""
    weights = _weights(players)
    if players <= _MAX_GATHERED:
        without, with_ = _places(players)
        gathered: Vector = (utilities[with_] - utilities[without]) @ weights
        return gathered
    values = np.empty(players)
    for player in range(players):
        table = utilities.reshape(-1, 2, 1 << player)
        values[player] = (table[:, 1] - table[:, 0]).ravel() @ weights
    return values


@functools.lru_cache(maxsize=4)
def _places(players: int) -> npt.NDArray[np.intp]:
    """Where coalitions without each player stand, and the same with it: [2, n, 2^(n - 1)]."""
    places = np.arange(1 << players)
    return np.stack([places.reshape(-1, 2, 1 << player).swapaxes(0, 1).reshape(2, -1) for player in range(players)], 1)


@functools.lru_cache(maxsize=4)
def _weights(players: int) -> Vector:
    """Weight of each coalition of the others, float64 [2^(n - 1)]: 1 / (n C(n - 1, size)).

    Without player i the other players' bits close up: coalitions come in the same order of sizes for every i.
    """
    sizes = np.bitwise_count(np.arange(1 << (players - 1), dtype=np.uint32))
    weights = np.array([1 / (players * math.comb(players - 1, size)) for size in range(players)])[sizes]
    weights.setflags(write=False)
    return weights
