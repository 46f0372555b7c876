"""From an attacker's right guesses to a lower bound on epsilon."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import binom

from fedjoint.errors import InvalidValue

__all__ = ["epsilon_lower_bound", "p_value"]

_MOST_EPSILON = 64.0


def p_value(epsilon: float, delta: float, *, canaries: int, guesses: int, correct: int) -> float:
    """How likely so many right guesses are at most, if the mechanism were (epsilon, delta)-private.

    Args:
        epsilon: At least 0.
        delta: In [0, 1).
        canaries: m, each in the data by a fair coin of its own.
        guesses: r of them, about the rest the attacker kept silent.
        correct: v, the right ones.

    Returns:
        An upper bound in [0, 1].

    Raises:
        InvalidValue: not 0 <= correct <= guesses <= canaries.

    Example:
        >>> p_value(0.0, 0.0, canaries=10, guesses=10, correct=10)  # ten fair coins
        0.0009765625

    Source:
        Steinke, Nasr, Jagielski 2023, "Privacy auditing with one (1) training run", theorem 5.2 and appendix D.
    """
    if not 0 <= correct <= guesses <= canaries:
        raise InvalidValue(
            f"{correct} right of {guesses} guesses about {canaries} canaries", expected="no more than the next"
        )
    chance = 1 / (1 + math.exp(-epsilon))
    beta = float(binom.sf(correct - 1, guesses, chance))
    fewer = np.arange(1, correct + 1)
    tails = np.cumsum(binom.pmf(correct - fewer, guesses, chance))
    alpha = float((tails / fewer).max(initial=0.0))
    return min(beta + 2 * canaries * delta * alpha, 1.0)


def epsilon_lower_bound(*, delta: float, canaries: int, guesses: int, correct: int, confidence: float = 0.95) -> float:
    """The largest epsilon that the guesses refute.

    Args:
        delta: Of the claim.
        canaries: As in :func:`p_value`.
        guesses: Fixed before the attack.
        correct: Right ones.
        confidence: A mechanism whose epsilon is smaller gives this bound with at most one minus this probability.

    Returns:
        At least 0; 0 means that nothing was found, never that there is nothing.

    Raises:
        InvalidValue: as :func:`p_value`.

    Example:
        >>> round(epsilon_lower_bound(delta=1e-5, canaries=2000, guesses=400, correct=400), 1)
        4.8
        >>> epsilon_lower_bound(delta=1e-5, canaries=2000, guesses=400, correct=200)
        0.0

    Source:
        Steinke, Nasr, Jagielski 2023, theorem 5.2.
    """

    def refuted(epsilon: float) -> bool:
        return p_value(epsilon, delta, canaries=canaries, guesses=guesses, correct=correct) < 1 - confidence

    if not refuted(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while refuted(high) and high < _MOST_EPSILON:
        low, high = high, high * 2
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low
