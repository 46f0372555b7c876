"""GTG-Shapley: guided permutation sampling that stops where nothing is left to gain.

Source: Liu, Chen, Zhao, Yu, Liu, Bao, Jiang, Nie, Zhang (2022), GTG-Shapley, ACM TIST 13:60, algorithm 1: between-round
truncation (a round that gains little is worth nothing), within-round truncation (an order is left once its coalition is
worth as much as all), and guided sampling (players take turns to come first). Departure: all first players' orders of a
turn are drawn before any is evaluated, and evaluated side by side.
"""

from __future__ import annotations

import numpy as np

from fedjoint.valuation.estimate import Estimate, Evaluations, Sampling, exact_estimate
from fedjoint.valuation.games import Game, Masks, Vector

__all__ = ["gtg"]

#: A round or an order that has at most so much left to gain, in units of the utility, is left.
_BETWEEN, _WITHIN = 1e-3, 1e-3
#: Stop once values differ from those of earlier turns by less than this part, on average.
_CONVERGED, _TURNS_BACK, _MAX_TURNS = 0.05, 5, 500


def gtg(game: Game, sampling: Sampling) -> Estimate:
    """GTG-Shapley of one round's game.

    Args:
        game: A round's, with models built again from their coalition's updates.
        sampling: Budget and seed; the error asked for is ignored, as the method has a stopping rule of its own.

    Returns:
        Biased by the truncations. Its authors state no error; standard errors are infinite, so that nobody takes the
        values for sure, unless the round was worth nothing.

    Raises:
        ValuationError: the budget does not suffice for one turn, or a utility is not finite.
    """
    evaluations, generator = Evaluations(game=game, sampling=sampling), sampling.generator()
    players = len(game.players)
    empty, full = evaluations.ends()
    if abs(full - empty) <= _BETWEEN:
        return exact_estimate(game, np.zeros(players), evaluations=evaluations.spent)
    known = _Known(evaluations)
    history: list[Vector] = []
    total = np.zeros(players)
    for turn in range(1, _MAX_TURNS + 1):
        if turn > 1 and evaluations.left < players * players:
            break
        total += _turn(known, generator, empty, full)
        history.append(total / turn / players)
        if _converged(history):
            break
    unknown = np.full(players, np.inf)
    return Estimate(
        players=game.players,
        values=history[-1],
        standard_errors=unknown,
        half_widths=unknown,
        evaluations=evaluations.spent,
        reached=_converged(history),
    )


def _turn(known: _Known, generator: np.random.Generator, empty: float, full: float) -> Vector:
    """Sum of gains over n orders, each player first in one: float64 [n]."""
    players = known.players
    orders = np.empty((players, players), dtype=np.int64)
    for first in range(players):
        orders[first, 0] = first
        orders[first, 1:] = generator.permutation(np.delete(np.arange(players), first))
    gains, here, masks = np.zeros(players), np.full(players, empty), np.zeros((players, players), dtype=np.bool_)
    rows = np.arange(players)
    for place in range(players):
        rows = rows[np.abs(full - here[rows]) >= _WITHIN]
        arriving = orders[rows, place]
        masks[rows, arriving] = True
        after = known.values(masks[rows])
        np.add.at(gains, arriving, after - here[rows])
        here[rows] = after
    return gains


def _converged(history: list[Vector]) -> bool:
    if len(history) <= _TURNS_BACK:
        return False
    now = history[-1]
    earlier = np.array(history[-_TURNS_BACK - 1 : -1])
    changes = np.abs(earlier - now) / np.maximum(np.abs(now), 1e-12)
    return bool(changes.mean() < _CONVERGED)


class _Known:
    """Each coalition is evaluated once."""

    def __init__(self, evaluations: Evaluations) -> None:
        self._evaluations, self._values = evaluations, dict[bytes, float]()
        self.players = len(evaluations.game.players)

    def values(self, masks: Masks) -> Vector:
        keys = [row.tobytes() for row in np.packbits(masks, axis=1)]
        new = {key: row for row, key in enumerate(keys) if key not in self._values}
        if new:
            self._values.update(zip(new, self._evaluations.values(masks[list(new.values())]), strict=True))
        return np.array([self._values[key] for key in keys])
