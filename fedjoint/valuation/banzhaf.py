"""Banzhaf values: what a player adds to a coalition drawn uniformly; the order of players is robust to noisy utilities.

They need not sum to what all gain together. Exact to 16 players; by maximum sample reuse beyond.

Source: Banzhaf (1965); Wang and Jia (2023), Data Banzhaf, AISTATS, section 4.2 (maximum sample reuse).
"""

from __future__ import annotations

import numpy as np

from fedjoint.valuation.estimate import Estimate, Evaluations, Sampling, exact_estimate, sampled_estimate
from fedjoint.valuation.games import Game, Vector, table_of

__all__ = ["banzhaf", "banzhaf_sampled"]

_FIRST_LOOK = 64


def banzhaf(game: Game, sampling: Sampling) -> Estimate:
    """The Banzhaf value of a game of up to 16 players, by all its coalitions.

    Args:
        game: Any.
        sampling: Ignored: nothing is sampled.

    Returns:
        Without error.

    Raises:
        ValuationError: more than 16 players, or a utility is not finite.

    Guarantees:
        Symmetry and linearity up to rounding; whoever adds nothing to any coalition gets exactly 0.
    """
    del sampling
    table = table_of(game)
    values = np.empty(len(game.players))
    for player in range(len(values)):
        pairs = table.reshape(-1, 2, 1 << player)
        values[player] = (pairs[:, 1] - pairs[:, 0]).mean()
    return exact_estimate(game, values, evaluations=table.size)


def banzhaf_sampled(game: Game, sampling: Sampling) -> Estimate:
    """Banzhaf values from uniform coalitions, each used for every player: its mean with a player less that without.

    Args:
        game: Of any number of players.
        sampling: Error, budget and seed; looked at after 64 coalitions, and after every doubling.

    Returns:
        Unbiased where each player was in some coalition and out of another.

    Raises:
        ValuationError: the budget is below 64 coalitions, or a utility is not finite.
    """
    evaluations, generator = Evaluations(game=game, sampling=sampling), sampling.generator()
    players = len(game.players)
    middle = float(np.mean(evaluations.ends()))  # sums of squares lose less about a number near the mean
    sums, squares, counts = np.zeros((3, 2, players))
    wanted, look = _FIRST_LOOK, 1
    while True:
        for start in range(0, wanted, sampling.batch):
            masks = generator.random((min(sampling.batch, wanted - start), players)) < 0.5
            values = evaluations.values(masks) - middle
            for side, members in enumerate((~masks, masks)):
                sums[side] += values @ members
                squares[side] += values**2 @ members
                counts[side] += members.sum(axis=0)
        estimate = _estimate(evaluations, sums, squares, counts, look=look)
        wanted, look = min(evaluations.spent, evaluations.left), look + 1
        if estimate.reached or wanted < 1:
            return estimate


def _estimate(evaluations: Evaluations, sums: Vector, squares: Vector, counts: Vector, *, look: int) -> Estimate:
    held = np.maximum(counts, 1)
    means = sums / held
    variances = np.maximum(squares / held - means**2, 0) * counts / np.maximum(counts - 1, 1) / held
    # Who was always in, or always out, is not known at all.
    errors = np.where(counts.min(axis=0) > 1, np.sqrt(variances.sum(axis=0)), np.inf)
    return sampled_estimate(evaluations, means[1] - means[0], errors, look=look, freedom=max(counts.min() - 1, 1))
