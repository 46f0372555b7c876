"""Exact samples of the discrete Gaussian distribution: no floating-point number comes near the noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedjoint.errors import InvalidValue

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedjoint.privacy.noise import NoiseSource

__all__ = ["MAX_SD", "discrete_gaussian"]

#: Every product below stays within 63 bits, unless a proposal is 128 scales away (probability exp(-128)).
MAX_SD = 1 << 24
#: Candidates tried at once.
_PIECE = 1 << 16


def discrete_gaussian(count: int, *, sd: int, noise: NoiseSource) -> NDArray[np.int64]:
    """Draw integers x with probability proportional to ``exp(-x² / (2 sd²))``.

    Args:
        count: How many, at least 0.
        sd: The distribution's parameter, 1 to 2^24; the standard deviation is at most this, and within 1e-7 of it.
        noise: Where the uniform bits come from.

    Returns:
        int64 [count].

    Raises:
        InvalidValue: count or sd is out of range.
        PrivacyError: the process was forked after the source was made.

    Guarantees:
        Exact if the source's bits are uniform: only whole numbers are compared, none is rounded or truncated.

    Source:
        Canonne, Kamath, Steinke 2020, "The discrete Gaussian for differential privacy", algorithms 1 to 3, with the
        scale of the discrete Laplace proposals equal to ``sd``.
    """
    if not 1 <= sd <= MAX_SD:
        raise InvalidValue(f"sd = {sd}", expected=f"a whole number from 1 to {MAX_SD}")
    if count < 0:
        raise InvalidValue(f"count = {count}", expected="at least 0")
    pieces: list[NDArray[np.int64]] = []
    missing = count
    while missing:
        proposals = _discrete_laplace(min(2 * missing + 16, _PIECE), scale=sd, noise=noise)
        distance = np.abs(proposals) - sd
        accepted = proposals[_happens_exp(distance * distance, 2 * sd * sd, noise)][:missing]
        pieces.append(accepted)
        missing -= len(accepted)
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int64)


def _discrete_laplace(candidates: int, *, scale: int, noise: NoiseSource) -> NDArray[np.int64]:
    """Up to ``candidates`` integers x with probability proportional to ``exp(-|x| / scale)``."""
    low = _below(scale, candidates, noise)
    low = low[_happens_exp(low, scale, noise)]
    size = low + scale * _geometric(len(low), noise)
    negative = (noise.words(len(low)) & np.uint64(1)).astype(bool)
    kept = ~(negative & (size == 0))  # zero has one sign
    signed: NDArray[np.int64] = np.where(negative, -size, size)[kept]
    return signed


def _geometric(count: int, noise: NoiseSource) -> NDArray[np.int64]:
    """How often in a row something of probability exp(-1) happens."""
    total = np.zeros(count, dtype=np.int64)
    going = np.arange(count)
    while len(going):
        going = going[_happens_exp(np.ones(len(going), dtype=np.int64), 1, noise)]
        total[going] += 1
    return total


def _happens_exp(numerator: NDArray[np.int64], denominator: int, noise: NoiseSource) -> NDArray[np.bool_]:
    """Whether something of probability ``exp(-numerator / denominator)`` happens, element by element."""
    whole, rest = np.divmod(numerator, denominator)
    happens = _happens_exp_small(rest, denominator, noise)
    waiting = np.flatnonzero(happens & (whole > 0))
    while len(waiting):  # exp(-whole) as that many events of exp(-1), the first failure ending it
        waiting = waiting[whole[waiting] > 0]
        succeeded = _happens_exp_small(np.ones(len(waiting), dtype=np.int64), 1, noise)
        happens[waiting[~succeeded]] = False
        waiting = waiting[succeeded]
        whole[waiting] -= 1
    return happens


def _happens_exp_small(numerator: NDArray[np.int64], denominator: int, noise: NoiseSource) -> NDArray[np.bool_]:
    """The same for fractions of at most 1: whether a run of events numerator / (denominator k) has even length."""
    happens = np.ones(len(numerator), dtype=bool)
    going, k = np.arange(len(numerator)), 1
    while len(going):
        going = going[_below(denominator * k, len(going), noise) < numerator[going]]
        happens[going] = k % 2 == 0
        k += 1
    return happens


def _below(limit: int, count: int, noise: NoiseSource) -> NDArray[np.int64]:
    """Uniform integers in [0, limit), without the bias of a remainder."""
    drawn, waiting = np.empty(count, dtype=np.int64), np.arange(count)
    last = (1 << 64) // limit * limit - 1  # beyond it small remainders would be likelier
    while len(waiting):
        words = noise.words(len(waiting))
        fits = words <= np.uint64(last)
        drawn[waiting[fits]] = (words[fits] % np.uint64(limit)).astype(np.int64)
        waiting = waiting[~fits]
    return drawn
