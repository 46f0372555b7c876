"""The Shapley value from random orders of arrival, each taken forwards and backwards.

Source: Castro, Gómez, Tejada (2009), Polynomial calculation of the Shapley value based on sampling; Mitchell et al.
(2022), Sampling Permutations for Shapley Value Estimation, JMLR 23 (antithetic pairs).
"""

from __future__ import annotations

import numpy as np

from fedjoint.valuation.estimate import Estimate, Evaluations, Sampling, exact_estimate, sampled_estimate
from fedjoint.valuation.games import Game, Vector

__all__ = ["permutation"]

_FIRST_PAIRS = 8


def permutation(game: Game, sampling: Sampling) -> Estimate:
    """Shapley values by antithetic permutation sampling.

    Args:
        game: Of any number of players; a pair of orders costs 2 (n - 1) evaluations.
        sampling: Error, budget and seed; looked at after 8 pairs, and after every half as many again.

    Returns:
        Unbiased. With a budget for one pair only, standard errors are infinite.

    Raises:
        ValuationError: the budget does not suffice for one pair, or a utility is not finite.

    Guarantees:
        The values sum to what all gain together. A game that is a sum over its players has no error; one that is a sum
        over pairs has none either, as forwards and backwards each has half of what a pair adds.
    """
    evaluations, generator = Evaluations(game=game, sampling=sampling), sampling.generator()
    players = len(game.players)
    empty, full = evaluations.ends()
    if players == 1:
        return exact_estimate(game, np.array([full - empty]), evaluations=2)
    cost = 2 * (players - 1)
    per_batch = max(1, sampling.batch // cost)
    mean, squares, pairs, look, wanted = np.zeros(players), np.zeros(players), 0, 1, _FIRST_PAIRS
    while True:
        wanted = max(1, min(wanted, evaluations.left // cost))
        for start in range(0, wanted, per_batch):
            count = min(per_batch, wanted - start)
            gains = _paired_gains(evaluations, _orders(generator, count, players), empty, full)
            shift = gains.mean(axis=0) - mean  # Chan, Golub, LeVeque 1979: merge means and squared deviations
            squares += ((gains - gains.mean(axis=0)) ** 2).sum(axis=0) + shift**2 * pairs * count / (pairs + count)
            mean += shift * count / (pairs + count)
            pairs += count
        errors = np.sqrt(squares / (pairs - 1) / pairs) if pairs > 1 else np.full(players, np.inf)
        estimate = sampled_estimate(evaluations, mean, errors, look=look, freedom=max(1, pairs - 1))
        if estimate.reached or evaluations.left < cost:
            return estimate
        wanted, look = max(pairs // 2, 1), look + 1


def _orders(generator: np.random.Generator, count: int, players: int) -> np.ndarray[tuple[int, int], np.dtype[np.intp]]:
    return generator.permuted(np.tile(np.arange(players), (count, 1)), axis=1)


def _paired_gains(
    evaluations: Evaluations, orders: np.ndarray[tuple[int, int], np.dtype[np.intp]], empty: float, full: float
) -> Vector:
    """Each player's gain, the mean over an order and its reverse: float64 [count, n]."""
    count, players = orders.shape
    places = np.argsort(orders, axis=1)
    arrived = places[:, None, :] < np.arange(1, players)[None, :, None]  # who is there after 1 .. n - 1 arrivals
    flat = arrived.reshape(-1, players)
    inner = evaluations.values(np.concatenate([flat, ~flat])).reshape(2, count, players - 1)
    forwards = np.diff(inner[0], axis=1, prepend=empty, append=full)
    backwards = np.diff(inner[1], axis=1, prepend=full, append=empty)  # the k-th to leave arrives k-th from behind
    return np.take_along_axis((forwards - backwards) / 2, places, axis=1)
