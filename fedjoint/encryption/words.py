"""Arithmetic modulo q = 2^60 - 16383 on arrays of 64-bit words, in numpy.

Products of polynomials go through floating-point FFTs of limbs small enough that rounding to the nearest integer is
proven to give the exact one. For a cyclic convolution of length 2^k by FFTs whose twiddles are correctly rounded, every
coefficient is within |x| |y| ((1 + e)^(3k) (1 + e sqrt 5)^(3k + 1) (1 + e)^(3k) - 1) of the truth, e = 2^-53 (C.
Percival, "Rapid multiplication modulo the sum and difference of highly composite numbers", Math. Comp. 72, 2003,
theorem 5.1). With k = 11, the three twists and a sum of 16 that is below 2^-45.6 |x| |y|; each function states its own
|x| |y|.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedjoint.encryption.parameters import DEGREE, MODULUS, SHORTFALL

__all__ = [
    "BLOCK_POLYNOMIALS",
    "LAZY_TERMS",
    "Integers",
    "Words",
    "add_into",
    "correlate",
    "inner",
    "multiply_small",
    "reduce_signed",
    "reduce_words",
    "small_spectrum",
]

Words: TypeAlias = NDArray[np.uint64]
Integers: TypeAlias = NDArray[np.int64]
Complex: TypeAlias = NDArray[np.complex128]

#: Polynomials worked on at a time: 65,536 words stay in the cache and bound the working memory.
BLOCK_POLYNOMIALS = 16
#: Polynomials multiplied at a time: their transforms stay in the nearest large cache.
_GROUP = 4
#: So many words in [0, q) add up to less than 2^64.
LAZY_TERMS = 16
_Q = np.uint64(MODULUS)
_HALF = DEGREE // 2
_LIMB = (1 << 30) - 1
_TWIST = np.exp(0.5j * np.pi * np.arange(_HALF) / _HALF)
_UNTWIST = _TWIST.conj()


def reduce_signed(values: Integers) -> Words:
    """Bring int64 values from (-q, 2q) to [0, q), in place; the result shares their memory."""
    values += (values >> 63) & MODULUS
    words = values.view(np.uint64)
    # Subtracting q from less than q wraps to a huge number, so the minimum subtracts exactly where it must.
    np.minimum(words, words - _Q, out=words)
    return words


def reduce_words(words: Words) -> None:
    """Bring any words to [0, q), in place: a 2^60 + b less a q is b + a SHORTFALL, which is below 2 q."""
    excess = words >> np.uint64(60)
    excess *= _Q
    words -= excess
    np.subtract(words, _Q, out=excess)
    np.minimum(words, excess, out=words)


def add_into(total: Words, words: Words) -> None:
    """Add words modulo q to a total, in place; both in [0, q) and of one shape."""
    total += words
    np.minimum(total, total - _Q, out=total)


def small_spectrum(coefficients: NDArray[np.int8]) -> Complex:
    """Transform a polynomial of small coefficients, int8[4096], for :func:`multiply_small`."""
    return _forward(coefficients)


def multiply_small(polynomials: Words, spectrum: Complex, *, in_place: bool = False) -> Words:
    """Multiply each polynomial by a ternary one modulo (x^4096 + 1, q).

    Args:
        polynomials: uint64[P, 4096] in [0, q).
        spectrum: Of the ternary polynomial, from :func:`small_spectrum`.
        in_place: Whether the products may take the place of the polynomials.

    Returns:
        uint64[P, 4096] in [0, q).

    Guarantees:
        Exact: limbs are below 2^30, so |x| |y| < 2^36 * 2^6 and the rounding error is below 0.09.
    """
    products = polynomials.view(np.int64) if in_place else np.empty(polynomials.shape, dtype=np.int64)
    limbs = np.empty((2, min(_GROUP, len(polynomials)), DEGREE), dtype=np.int64)
    folded = np.empty((*limbs.shape[:2], _HALF), dtype=np.complex128)
    for start in range(0, len(polynomials), _GROUP):
        values = polynomials[start : start + _GROUP].view(np.int64)
        product, part, space = products[start : start + _GROUP], limbs[:, : len(values)], folded[:, : len(values)]
        np.bitwise_and(values, _LIMB, out=part[0])
        np.right_shift(values, 30, out=part[1])
        _forward(part, space)
        space *= spectrum
        _rounded(_backward(space), part)
        low, high = part
        # The product of the upper limb is below 2^42: split it again, as 2^60 = SHORTFALL modulo q.
        np.bitwise_and(high, _LIMB, out=product)
        product <<= 30
        high >>= 30
        high *= SHORTFALL
        product += high
        product += low
        reduce_signed(product)
    return products.view(np.uint64)


def prepare_weights(weights: Integers) -> Complex:
    """What :func:`correlate` makes of its weights first: the same for all who are weighed with them.

    Args:
        weights: int64[P, 4096].
    """
    transformed = _forward(weights)
    return np.conj(transformed, out=transformed)


def correlate(polynomials: Words, prepared: Sequence[Complex]) -> list[Words]:
    """Sums over P of c_p(1/x) g_p(x) modulo (x^4096 + 1, q) for several g: the mask parts of inner products.

    If u = c s, then the constant coefficient of sum_p u_p(x) g_p(1/x) is the inner product of the result with s. What
    is dear, the transforms of c, is done once for all g.

    Args:
        polynomials: c, uint64[P, 4096] in [0, q), P at most 16.
        prepared: From each g, int64[P, 4096] of norm at most 2^17 (``MAX_WEIGHT_NORM``), by :func:`prepare_weights`.

    Returns:
        For each g uint64[4096] in [0, q).

    Guarantees:
        Exact: limbs are at most 2^19, so |x| |y| <= 2^27 * 2^17 and the rounding error is below 0.34.
    """
    products = np.zeros((len(prepared), 3, _HALF), dtype=np.complex128)
    for start in range(0, len(polynomials), _GROUP):
        group, rest = slice(start, start + _GROUP), _centred(polynomials[start : start + _GROUP])
        for place in range(3):
            limb = rest
            if place < 2:
                upper = rest + (1 << 19)
                upper >>= 20
                limb, rest = rest - (upper << 20), upper
            transformed = _forward(limb)
            for product, own in zip(products, prepared, strict=True):
                product[place] += np.einsum("pk,pk->k", own[group], transformed)
    return [_joined(product) for product in products]


def _joined(products: Complex) -> Words:
    """Put the transformed limbs of a correlation, the lowest first, together."""
    total = np.zeros(DEGREE, dtype=np.uint64)
    for product in products[::-1]:
        shifted = ((total & np.uint64((1 << 40) - 1)) << np.uint64(20)) + (total >> np.uint64(40)) * np.uint64(
            SHORTFALL
        )
        # The transform of c(1/x) is the conjugate, c being real and the points on the unit circle.
        total = reduce_signed(shifted.view(np.int64) + _rounded(_backward(product.conj())))
    return total


def inner(words: Words, values: Integers) -> int:
    """Inner product of words and signed integers modulo q, exactly.

    Args:
        words: uint64[M] in [0, q).
        values: int64[M], at most 2^17 each.

    Returns:
        An integer in [0, q).
    """
    total = 0
    step = 1 << 14  # 2^30 * 2^17 * 2^14 < 2^63
    for start in range(0, words.size, step):
        part, by = words[start : start + step].view(np.int64), values[start : start + step]
        total += int((part & _LIMB) @ by) + (int((part >> 30) @ by) << 30)
    return total % MODULUS


def _centred(words: Words) -> Integers:
    """The representatives of smallest absolute value."""
    values = words.astype(np.int64)
    values -= (values > MODULUS // 2) * np.int64(MODULUS)
    return values


def _forward(coefficients: NDArray[np.int8] | Integers, folded: Complex | None = None) -> Complex:
    """R[x]/(x^4096 + 1) is C[x]/(x^2048 - i): fold the upper half into the imaginary part, twist, transform."""
    if folded is None:
        folded = np.empty((*coefficients.shape[:-1], _HALF), dtype=np.complex128)
    folded.real = coefficients[..., :_HALF]
    folded.imag = coefficients[..., _HALF:]
    folded *= _TWIST
    return np.fft.fft(folded, axis=-1, out=folded)


def _backward(transformed: Complex) -> Complex:
    """Undo :func:`_forward`, but for the folding, in place."""
    np.fft.ifft(transformed, axis=-1, out=transformed)
    transformed *= _UNTWIST
    return transformed


def _rounded(folded: Complex, values: Integers | None = None) -> Integers:
    """Unfold, to the nearest integers."""
    if values is None:
        values = np.empty((*folded.shape[:-1], DEGREE), dtype=np.int64)
    np.rint(folded.real, out=values[..., :_HALF], casting="unsafe")
    np.rint(folded.imag, out=values[..., _HALF:], casting="unsafe")
    return values
