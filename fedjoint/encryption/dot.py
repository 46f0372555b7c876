"""Inner products of plaintext weights with an encrypted update, without any key (one value a word only).

The constant coefficient of c(x) g(1/x) is <c, g>. Applied to both polynomials of a ciphertext it gives one LWE sample
(b, a) with b + <a, s> = <m - offset, g> q / t + noise, for all polynomials together. Samples add up over rounds, so
that one number is opened for a whole run; and a uniform mask goes in before a holder opens it.

Precision: what is opened is exact; what is lost is lost in rounding before. For an update d and weights g scaled by f,
the result differs from <d, g> with standard deviations of at most step |g| / 2 (levels of the update) and about
|d| / (f sqrt 12) (rounded weights). Over all rounds together, f |g| can be ``weight_norm_budget``. Of a contribution
|g| |d| cos that is step / (2 |d| cos) and 1 / (3.5 f |g| cos): 2e-5 / cos for 16 bits and a million parameters. The
budget that 8, 10, 12, 14 and 16 bits of the quantiser leave follows, by dimension, for one round; of T rounds each has
1 / sqrt(T) of it. Rounding takes sqrt(D) / 2, so that 16 bits are too many for 10^8 parameters:

    >>> from dataclasses import replace
    >>> for size in (10**5, 10**6, 10**7, 10**8):
    ...     agreed = Parameters(scheme="seal", num_parameters=size, max_holders=10, bound=1, value_bits=8, rounds=1)
    ...     print(size, [replace(agreed, value_bits=bits).weight_norm_budget for bits in (8, 10, 12, 14, 16)])
    100000 [131072, 131072, 106160, 53060, 26527]
    1000000 [131072, 131072, 67141, 33558, 16777]
    10000000 [131072, 80583, 40133, 19908, 9796]
    100000000 [80583, 40133, 19908, 9796, 4740]

What holders cannot see: which weights a sample was made with, or that it was made of a ciphertext at all. A coordinator
that breaks the protocol chooses what each number it has opened tells, log2(t) bits of it (with unit weights two
coordinates of an update, from a made-up sample some 20 coefficients of the key). So few samples are opened, each once,
and what is left of trust in the coordinator is stated where contributions are offered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedjoint.encryption.ciphertext import Ciphertext, second_polynomials
from fedjoint.encryption.packing import Block, blocks, spread
from fedjoint.encryption.parameters import CHECK_WORDS, DEGREE, MAX_WEIGHT_NORM, MODULUS, Parameters
from fedjoint.encryption.scratch import pieces
from fedjoint.encryption.words import Integers, Words, add_into, correlate, inner, prepare_weights
from fedjoint.errors import EncryptionError

__all__ = [
    "MaskedSample",
    "Sample",
    "add_samples",
    "canary_sample",
    "dot",
    "dots",
    "dots_of_rows",
    "fits",
    "largest_factor",
    "mask_sample",
    "norm_above",
    "require_room",
    "scale_weights",
    "squared_norm",
    "unmask",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """An encrypted inner product, for the coordinator only: whoever has the key would read it.

    Args:
        parameters: Those of the ciphertexts.
        b: In [0, q); the level offset is accounted for.
        a: uint64[4096] in [0, q).
        squared_norm: Sum over terms of the squared norms of the integer weights.
        terms: Number of inner products in it, 1 to ``rounds``.
    """

    parameters: Parameters
    b: int
    a: Words
    squared_norm: int
    terms: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskedSample:
    """An encrypted inner product plus a uniform number: what a holder is given to open.

    Raises:
        EncryptionError: an element is not in [0, q), or there are not 4,096.
    """

    parameters: Parameters
    b: int
    a: Words

    def __post_init__(self) -> None:
        fits_shape = self.a.dtype == np.uint64 and self.a.shape == (DEGREE,)
        if not (fits_shape and int(self.a.max()) < MODULUS and 0 <= self.b < MODULUS):
            raise EncryptionError("this is no masked sample", expected=f"{DEGREE + 1} words below q")


def largest_factor(norm: float, parameters: Parameters) -> float:
    """The scale at which weights of this norm in every agreed round just fit one sample.

    Raises:
        EncryptionError: the norm is not finite or zero, or the parameters leave no room for inner products.
    """
    room = require_room(parameters)
    if not (np.isfinite(norm) and norm > 0):
        raise EncryptionError(f"weights of norm {norm:g}", expected="finite weights that are not all zero")
    return room / norm


def require_room(parameters: Parameters) -> float:
    """The norm that integer weights may have in every agreed round, for whoever agrees on inner products.

    Raises:
        EncryptionError: the parameters leave none.
    """
    # Rounding to integers adds at most 1/2 a coordinate.
    room = parameters.weight_norm_budget / parameters.rounds**0.5 - parameters.num_parameters**0.5 / 2
    if room <= 0:
        raise EncryptionError(
            f"{parameters.value_bits} bits of each of {parameters.num_parameters} parameters over {parameters.rounds} "
            "rounds leave no room to measure contributions on ciphertexts",
            expected="weights of a norm above 0, besides their rounding",
            remedy="Lower encryption.value_bits or training.rounds, take fewer parameters, or set valuation=none.",
        )
    return float(room)


def scale_weights(weights: NDArray[np.floating], factor: float, *, into: Integers | None = None) -> Integers:
    """Weights to integers: round(factor * weight); the same factor for all rounds of a sample.

    Args:
        weights: float[D]; may be mapped from a file.
        factor: Positive; dividing an opened number by it (and multiplying by ``step``) undoes it.
        into: Where they go, int64[D]; a new array if None.

    Returns:
        ``into``, or int64[D].

    Raises:
        EncryptionError: a weight that is not finite or far too large, by its index.

    Example:
        >>> scale_weights(np.array([0.26, -1.0]), 10.0).tolist()
        [3, -10]
    """
    integers = np.empty(weights.size, dtype=np.int64) if into is None else into
    for piece in pieces(weights.size, weights, integers):
        scaled = np.rint(weights[piece].astype(np.float64) * factor)
        wrong = ~(np.abs(scaled) < 2.0**53)
        if wrong.any():
            index = int(np.argmax(wrong))
            raise EncryptionError(
                f"weight {piece.start + index} times {factor:g} is {scaled[index]:g}", expected="a number below 2^53"
            )
        integers[piece] = scaled
    return integers


def squared_norm(weights: Integers) -> int:
    """Sum of the squares of integer weights, exactly; they may be mapped from a file."""
    total = 0
    for piece in pieces(weights.size, weights):
        part = weights[piece]
        small = _largest(part) <= MAX_WEIGHT_NORM  # of so many squares at a time the sum stays below 2^63
        total += int(part @ part) if small else sum(int(weight) ** 2 for weight in part)
    return total


def norm_above(weights: Integers) -> int:
    """The norm of integer weights, rounded up to a whole number.

    Example:
        >>> norm_above(np.array([3, 4])), norm_above(np.array([1, 1])), norm_above(np.array([0]))
        (5, 2, 0)
    """
    squares = squared_norm(weights)
    return math.isqrt(max(squares - 1, 0)) + (squares > 0)


def _largest(weights: Integers) -> int:
    return max(int(weights.max()), -int(weights.min())) if weights.size else 0


def fits(sample: Sample | None, weights: Integers, parameters: Parameters) -> bool:
    """Whether the inner product with these weights may be added to a sample (None: to a new one).

    Raises:
        EncryptionError: weights that are not int64[D], or several values a word.
    """
    _require_weights(weights, parameters)
    budget = parameters.weight_norm_budget
    spent, terms = (sample.squared_norm, sample.terms) if sample else (0, 0)
    return terms < parameters.rounds and spent + squared_norm(weights) <= budget**2


def _require_weights(weights: Integers, parameters: Parameters) -> None:
    if weights.dtype != np.int64 or weights.shape != (parameters.num_parameters,):
        raise EncryptionError(
            f"weights {weights.dtype}{list(weights.shape)}", expected=f"int64[{parameters.num_parameters}]"
        )


def dot(ciphertext: Ciphertext, weights: Integers) -> Sample:
    """Inner product of integer weights with one holder's encrypted update.

    Args:
        ciphertext: Of one holder, one value a word: the very one that was summed.
        weights: int64[D], from :func:`scale_weights`.

    Returns:
        A sample of <level - offset, weights>.

    Raises:
        EncryptionError: a sum of several updates, several values a word, or weights beyond the budget.

    Guarantees:
        Exact modulo q: what is opened is the integer inner product itself.
    """
    return dots([ciphertext], weights)[0]


def dots(ciphertexts: Sequence[Ciphertext], weights: Integers) -> list[Sample]:
    """Inner products of the same weights with several holders' updates.

    Args:
        ciphertexts: Each of one holder, one value a word, all of the same parameters; at least one.
        weights: int64[D], from :func:`scale_weights`.

    Returns:
        A sample of each, as :func:`dot`.

    Raises:
        EncryptionError: as :func:`dot`; or none, or of different parameters.
    """
    if ciphertexts and not fits(None, weights, ciphertexts[0].parameters):
        raise _beyond(ciphertexts[0].parameters)
    return dots_of_rows(ciphertexts, [weights])[0]


def dots_of_rows(ciphertexts: Sequence[Ciphertext], rows: Sequence[Integers]) -> list[list[Sample]]:
    """Inner products of several rows of weights with several holders' updates; each is transformed once.

    Args:
        ciphertexts: Each of one holder, one value a word, all of the same parameters; at least one.
        rows: Each int64[D]; whether what is opened can wrap, or drown in noise, is for the caller to know
            (:func:`fits`, :mod:`fedjoint.encryption.coarse`).

    Returns:
        For each row a sample of each ciphertext.

    Raises:
        EncryptionError: as :func:`dot`; none, or of different parameters; or weights whose norm over some 65,000
            neighbours is above ``MAX_WEIGHT_NORM``.
    """
    if not ciphertexts or any(one.parameters != ciphertexts[0].parameters for one in ciphertexts):
        raise EncryptionError(
            f"inner products with {len(ciphertexts)} updates", expected="some, of the same parameters"
        )
    parameters = ciphertexts[0].parameters
    for one in ciphertexts:
        if one.count != 1:
            raise EncryptionError(f"an inner product with {one.count} updates", expected="that of one holder")
    require_room(parameters)
    for weights in rows:
        _require_weights(weights, parameters)
    b, a = _accumulated(ciphertexts, rows)
    found = []
    for weights, firsts, seconds in zip(rows, b, a, strict=True):
        total = sum(int(weights[piece].sum()) for piece in pieces(weights.size, weights))
        offset, squares = parameters.offset * total << (60 - parameters.plain_bits), squared_norm(weights)
        found.append(
            [
                Sample(parameters=parameters, b=(first - offset) % MODULUS, a=second, squared_norm=squares)
                for first, second in zip(firsts, seconds, strict=True)
            ]
        )
    return found


def _accumulated(ciphertexts: Sequence[Ciphertext], rows: Sequence[Integers]) -> tuple[list[list[int]], Words]:
    """Both parts of the inner products, [rows, ciphertexts] and [rows, ciphertexts, 4096], block by block."""
    b, a = [[0] * len(ciphertexts) for _ in rows], np.zeros((len(rows), len(ciphertexts), DEGREE), dtype=np.uint64)
    arrays = [array for one in ciphertexts for array in (one.c0, one.c1)]
    for block in blocks(ciphertexts[0].parameters, arrays=[*arrays, *rows]):
        padded = [_padded(weights, block) for weights in rows]
        prepared = [prepare_weights(one) for one in padded]
        for place, one in enumerate(ciphertexts):
            c0, seconds = one.c0[block.words], correlate(second_polynomials(one, block), prepared)
            for row, second in enumerate(seconds):
                b[row][place] += inner(c0, padded[row].reshape(-1)[: c0.size])
                add_into(a[row, place], second)
    return b, a


def _padded(weights: Integers, block: Block) -> Integers:
    """A block's weights, int64[polynomials, 4096]; the words that check a polynomial get weight zero."""
    padded = np.zeros((block.num_polynomials, DEGREE), dtype=np.int64)
    padded[:, CHECK_WORDS:] = spread(weights[block.values][None], block)[0]
    if squared_norm(padded.reshape(-1)) > MAX_WEIGHT_NORM**2:
        raise EncryptionError(
            "these weights are larger than inner products are exact for",
            expected=f"a norm of at most {MAX_WEIGHT_NORM} over the values of {block.num_polynomials} polynomials",
            remedy="Scale the weights by a smaller factor.",
        )
    return padded


def canary_sample(ciphertexts: Sequence[Ciphertext]) -> Sample:
    """The first canaries of several holders' updates, added up: a sample that opens to their number.

    It says beforehand what must come out. Where the updates were made, or the sample is opened, with another key or
    other parameters, something else does, but for a chance of 1 in 2^plain_bits.

    Args:
        ciphertexts: Each of one holder, one value a word, all of the same parameters; at least one.
    """
    parameters, unit = ciphertexts[0].parameters, np.zeros((1, DEGREE), dtype=np.int64)
    unit[0, 0] = 1  # the canary is the first word
    prepared, a = prepare_weights(unit), np.zeros(DEGREE, dtype=np.uint64)
    first = next(blocks(parameters))
    for one in ciphertexts:
        add_into(a, correlate(second_polynomials(one, first)[:1], [prepared])[0])
    b = sum(int(one.c0[0]) for one in ciphertexts) % MODULUS
    return Sample(parameters=parameters, b=b, a=a, squared_norm=len(ciphertexts))


def add_samples(samples: Sequence[Sample]) -> Sample:
    """Add inner products of several rounds, all scaled by the same factor.

    Raises:
        EncryptionError: there are none, they differ in parameters, or together they are beyond the budget.
    """
    if not samples or any(sample.parameters != samples[0].parameters for sample in samples):
        raise EncryptionError(f"a sum of {len(samples)} samples", expected="at least one, all of the same parameters")
    parameters = samples[0].parameters
    squares = sum(sample.squared_norm for sample in samples)
    terms = sum(sample.terms for sample in samples)
    if squares > parameters.weight_norm_budget**2 or terms > parameters.rounds:
        raise _beyond(parameters)
    a = np.zeros(DEGREE, dtype=np.uint64)
    for sample in samples:
        add_into(a, sample.a)
    b = sum(sample.b for sample in samples) % MODULUS
    return Sample(parameters=parameters, b=b, a=a, squared_norm=squares, terms=terms)


def mask_sample(sample: Sample, mask: int) -> MaskedSample:
    """Hide an inner product from the holder who will open it.

    Args:
        sample: What is to be opened.
        mask: Uniform in [0, t), from a cryptographic generator, used once and kept by the coordinator.

    Raises:
        EncryptionError: the mask is not in [0, t).

    Guarantees:
        The number opened is exactly uniform. A key holder also sees the noise, of deviation sqrt(10.5) times the norm
        of the weights; t does not divide q, so the inner product M shifts it by 16383 M / t, at most 8192.
    """
    t = sample.parameters.plain_modulus
    if not 0 <= mask < t:
        raise EncryptionError("this is no mask", expected=f"a uniform integer from 0 to 2^{t.bit_length() - 1} - 1")
    b = (sample.b + (MODULUS * mask + t // 2) // t) % MODULUS
    return MaskedSample(parameters=sample.parameters, b=b, a=sample.a.copy())


def unmask(opened: int, *, mask: int, sample: Sample) -> int:
    """Read what a holder opened.

    Args:
        opened: What the holder returned, in [0, t).
        mask: That of :func:`mask_sample`.
        sample: The sample that was masked.

    Returns:
        The signed integer <level - offset, weights>, summed over the sample's terms.

    Raises:
        EncryptionError: ``opened`` is not in [0, t).
    """
    t = sample.parameters.plain_modulus
    if not 0 <= opened < t:
        raise EncryptionError("a holder opened a sample to a number out of range", expected=f"0 to {t - 1}")
    value = (opened - mask) % t
    return value - t if value >= t // 2 else value


def _beyond(parameters: Parameters) -> EncryptionError:
    return EncryptionError(
        "these weights are beyond what one sample carries",
        expected=f"norm at most {parameters.weight_norm_budget} over at most {parameters.rounds} rounds",
        remedy="Start a new sample, or scale the weights by a smaller factor.",
    )
