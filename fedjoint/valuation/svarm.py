"""Stratified SVARM: the Shapley value without marginal contributions; each coalition serves every player.

For a size s, ``with_[s, i]`` is the mean utility of the coalitions of that size that player i is in, and
``without[s, i]`` of those that it is not in; then ``phi_i = sum_s (with_[s, i] - without[s - 1, i]) / n`` over
s = 1 .. n. Sizes 0, 1, n - 1 and n are evaluated whole; coalitions of the sizes between are drawn.

Source: Kolpaczki, Bengs, Muschalik, Hüllermeier (2024), Approximating the Shapley Value without Marginal Contributions,
AAAI, algorithm 2. Departure: sizes are drawn in proportion to 1 / sqrt(s (n - s)), which is Neyman's allocation where
utilities of every size spread alike; and all coalitions of the first pass serve both means.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedjoint.valuation.estimate import Estimate, Evaluations, Sampling, sampled_estimate
from fedjoint.valuation.games import Game, Masks, Vector

__all__ = ["svarm"]


def svarm(game: Game, sampling: Sampling) -> Estimate:
    """Shapley values by stratified sampling of coalitions.

    Args:
        game: Of any number of players. The first pass costs about 2 n (ln n + 1) evaluations.
        sampling: Error, budget and seed; looked at after the first pass, and after every half as many again.

    Returns:
        Unbiased; exact for up to 3 players. Values need not sum to what all gain together, but within their errors.

    Raises:
        ValuationError: the budget does not suffice for the first pass, or a utility is not finite.
    """
    evaluations, generator = Evaluations(game=game, sampling=sampling), sampling.generator()
    players = len(game.players)
    strata = _Strata(evaluations)
    sizes = np.arange(2, players - 1)
    if sizes.size:
        strata.add(np.concatenate([_cover(generator, players, int(size)) for size in sizes]))
    chances = 1 / np.sqrt(sizes * (players - sizes)) if sizes.size else sizes
    look = 1
    while True:
        estimate = sampled_estimate(evaluations, *strata.values_and_errors(), look=look)
        if estimate.reached or evaluations.left < 1 or not sizes.size:
            return estimate
        wanted = min(max(evaluations.spent // 2, 1), evaluations.left)
        drawn = generator.choice(sizes, size=wanted, p=chances / chances.sum())
        for start in range(0, wanted, sampling.batch):
            strata.add(_subsets(generator, players, drawn[start : start + sampling.batch]))
        look += 1


def _subsets(generator: np.random.Generator, players: int, sizes: npt.NDArray[np.int64]) -> Masks:
    """A uniform coalition of each size, bool [k, n]."""
    places = generator.permuted(np.tile(np.arange(players), (len(sizes), 1)), axis=1)
    return places < sizes[:, None]


def _cover(generator: np.random.Generator, players: int, size: int) -> Masks:
    """Uniform coalitions of one size, such that every player is in one at least and out of another.

    The smaller of a coalition and its complement runs through a random order of the players; the last is filled up.
    """
    small = min(size, players - size)
    order = generator.permutation(players)
    short = -players % small
    if short:
        others = generator.permutation(order[: players - small + short])[:short]
        order = np.concatenate([order, others])
    blocks = order.reshape(-1, small)
    masks = np.zeros((len(blocks), players), dtype=np.bool_)
    np.put_along_axis(masks, blocks, values=True, axis=1)
    return masks if small == size else ~masks


class _Strata:
    """Sums of utilities by size and player, of coalitions a player is in; and by size alone."""

    def __init__(self, evaluations: Evaluations) -> None:
        players = len(evaluations.game.players)
        self._evaluations, self._players = evaluations, players
        empty, full = evaluations.ends()
        # Sums of squares lose less about a number near the mean.
        self._middle = empty + (full - empty) * np.arange(players + 1) / players
        self._inside = np.zeros((3, players + 1, players))  # count, sum, sum of squares
        self._all = np.zeros((3, players + 1))
        if players > 1:
            self.add(np.eye(players, dtype=np.bool_))
        if players > 2:
            self.add(~np.eye(players, dtype=np.bool_))

    def add(self, masks: Masks) -> None:
        """Evaluate coalitions and let them serve everyone."""
        masks = masks[np.argsort(masks.sum(axis=1), kind="stable")]
        sizes = masks.sum(axis=1)
        values = self._evaluations.values(masks) - self._middle[sizes]
        starts = np.flatnonzero(np.diff(sizes, prepend=-1))
        for moment in range(3):
            weights = values**moment
            self._inside[moment, sizes[starts]] += np.add.reduceat(masks * weights[:, None], starts, axis=0)
            self._all[moment, sizes[starts]] += np.add.reduceat(weights, starts)

    def values_and_errors(self) -> tuple[Vector, Vector]:
        """Shapley values and their standard errors, float64 [n] each."""
        players = self._players
        outside = self._all[:, :, None] - self._inside
        with_, without = self._means(self._inside), self._means(outside)
        steps = np.diff(self._middle)[:, None]
        values = (with_[1:] - without[:-1] + steps).mean(axis=0)
        variances = self._variances(self._inside, with_) + self._variances(outside, without)
        return values, np.sqrt(variances.sum(axis=0)) / players

    @staticmethod
    def _means(moments: Vector) -> Vector:
        means: Vector = moments[1] / np.maximum(moments[0], 1)
        return means

    def _variances(self, moments: Vector, means: Vector) -> Vector:
        """Variance of each stratum's mean; by the size's own spread where a stratum has one coalition only."""
        players, counts = self._players, moments[0]
        held = np.maximum(counts, 1)
        own = np.maximum(moments[2] / held - means**2, 0) * held / np.maximum(held - 1, 1)
        drawn = np.maximum(self._all[0], 1)
        spread = np.maximum(self._all[2] / drawn - (self._all[1] / drawn) ** 2, 0) * drawn / np.maximum(drawn - 1, 1)
        variances: Vector = np.where(counts > 1, own, spread[:, None]) / held
        variances[[0, 1, players - 1, players]] = 0  # evaluated whole
        return variances
