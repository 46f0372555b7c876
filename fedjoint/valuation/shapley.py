"""The exact Shapley value of a game given as a table of its coalitions' utilities.

Source: Shapley (1953), A Value for n-Person Games.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from fedjoint.errors import ValuationError

__all__ = ["MAX_EXACT_PLAYERS", "exact_shapley"]

#: 4,096 coalitions; above this, exact values cost more than the training they explain.
MAX_EXACT_PLAYERS = 12


def exact_shapley(utilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Shapley values of all players from the utility of every coalition.

    Args:
        utilities: float64 [2^n]; bit i of the index says whether player i is in the coalition.

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
    if players < 0 or utilities.shape != (1 << players,) or not np.isfinite(utilities).all():
        raise ValuationError(f"a table of {utilities.shape} utilities", expected="2^n finite numbers")
    sizes = np.bitwise_count(np.arange(utilities.size, dtype=np.uint32))
    weights = np.array([1 / (players * math.comb(players - 1, size)) for size in range(players)])
    values = np.empty(players)
    for player in range(players):
        table = utilities.reshape(-1, 2, 1 << player)
        without = sizes.reshape(-1, 2, 1 << player)[:, 0]
        values[player] = np.sum((table[:, 1] - table[:, 0]) * weights[without])
    return values
