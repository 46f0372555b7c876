"""Games whose Shapley values are known in closed form: oracles for tests, and a check of a method one does not know.

Idea: pyDVL's ``valuation/games.py``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedjoint.valuation.games import FunctionGame, Masks, Vector

__all__ = ["KnownGame", "additive", "airport", "glove", "pairs", "unanimity", "voting"]


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownGame(FunctionGame):
    """A game with its Shapley values, float64 [n]."""

    shapley: Vector


def additive(worth: Sequence[float]) -> KnownGame:
    """Everybody adds their own worth to any coalition, and gets it.

    Example:
        >>> additive([2.0, -1.0]).shapley.tolist()
        [2.0, -1.0]
    """
    alone = np.array(worth, dtype=np.float64)
    return _game(len(alone), lambda masks: masks @ alone, alone)


def airport(lengths: Sequence[float]) -> KnownGame:
    """The longest runway anybody needs is built; each stretch is paid alike by all whose runway has it.

    Example:
        >>> airport([1.0, 3.0]).shapley.tolist()
        [0.5, 2.5]

    Source: Littlechild and Owen (1973), A simple expression for the Shapley value in a special case.
    """
    needed = np.array(lengths, dtype=np.float64)
    order = np.argsort(needed, kind="stable")
    stretches = np.diff(needed[order], prepend=0.0) / np.arange(len(needed), 0, -1)
    paid = np.empty(len(needed))
    paid[order] = np.cumsum(stretches)
    return _game(len(needed), lambda masks: np.where(masks, needed, 0.0).max(axis=1), paid)


def glove(left: int, right: int) -> KnownGame:
    """The first players have a left glove each, the others a right one; a pair is worth 1.

    Example:
        >>> glove(1, 2).shapley.round(4).tolist()
        [0.6667, 0.1667, 0.1667]

    Source: Shapley and Shubik (1969), Pure competition, coalitional power, and fair division.
    """
    players = left + right

    def pairs_in(masks: Masks) -> Vector:
        found: Vector = np.minimum(masks[:, :left].sum(axis=1), masks[:, left:].sum(axis=1)).astype(np.float64)
        return found

    # A left glove makes a pair wherever it meets fewer lefts than rights: count coalitions of the others by both kinds.
    gained = 0.0
    for lefts, rights in itertools.product(range(left), range(right + 1)):
        if lefts < rights:
            ways = math.comb(left - 1, lefts) * math.comb(right, rights)
            gained += ways / (players * math.comb(players - 1, lefts + rights))
    each = (min(left, right) - left * gained) / right
    return _game(players, pairs_in, np.array([gained] * left + [each] * right))


def pairs(strength: npt.ArrayLike) -> KnownGame:
    """Every pair in a coalition adds its strength, of which each of the two gets half.

    Args:
        strength: float [n, n]; the sum over both orders of a pair counts, and the diagonal for one player alone.

    Example:
        >>> pairs([[1.0, 4.0], [0.0, 2.0]]).shapley.tolist()
        [3.0, 4.0]
    """
    matrix = np.array(strength, dtype=np.float64)
    value = (matrix.sum(axis=0) + matrix.sum(axis=1)) / 2
    return _game(len(matrix), lambda masks: np.einsum("ki,ij,kj->k", masks, matrix, masks, optimize=True), value)


def unanimity(players: int, needed: Sequence[int]) -> KnownGame:
    """A coalition is worth 1 once it has all who are needed; they share it alike.

    Example:
        >>> unanimity(3, [0, 2]).shapley.tolist()
        [0.5, 0.0, 0.5]
    """
    carriers = np.zeros(players, dtype=np.bool_)
    carriers[list(needed)] = True
    return _game(players, lambda masks: np.all(masks[:, carriers], axis=1), carriers / carriers.sum())


def voting(weights: Sequence[int], quota: int) -> KnownGame:
    """A coalition wins, 1, once its votes reach the quota: the Shapley-Shubik index.

    Votes are whole; the index counts, for each player, coalitions of the others by size and votes.

    Example:
        >>> voting([50, 49, 1], 51).shapley.round(4).tolist()
        [0.6667, 0.1667, 0.1667]

    Source: Mann and Shapley (1962), Values of large games VI: evaluating the electoral college exactly.
    """
    votes = np.array(weights, dtype=np.int64)
    index = [
        _pivots([*weights[:player], *weights[player + 1 :]], weights[player], quota) for player in range(len(votes))
    ]
    return _game(len(votes), lambda masks: masks @ votes >= quota, np.array(index))


def _pivots(others: Sequence[int], own: int, quota: int) -> float:
    """Probability that a player's votes are those that reach the quota, whole numbers up to the last division."""
    count = [[0] * (sum(others) + 1) for _ in range(len(others) + 1)]
    count[0][0] = 1
    for vote in others:
        for size in range(len(others) - 1, -1, -1):
            for total in range(sum(others) - vote, -1, -1):
                count[size + 1][total + vote] += count[size][total]
    players = len(others) + 1
    return sum(
        sum(row[max(0, quota - own) : max(0, quota)]) / (players * math.comb(players - 1, size))
        for size, row in enumerate(count)
    )


def _game(players: int, function: Callable[[Masks], npt.NDArray[np.generic]], shapley: Vector) -> KnownGame:
    return KnownGame(players=tuple(range(players)), function=function, shapley=shapley)
