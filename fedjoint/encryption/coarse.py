"""Inner products of which only the leading bits are opened: enough for an error, little for whoever cheats with them.

An inner product is opened modulo t, in log2(t) bits. Where its size is known beforehand, and a rough value is enough,
its sample is multiplied by a power of two until that size nearly fills the modulus, and a holder opens a few leading
bits of the phase ``b + <a, s> = M q / t + noise``. Noise that is far below the last bit opened does no harm, so that
weights may be larger than for an exact number. And the mask is uniform modulo q instead of t: the phase itself, noise
and all, is uniform to the holder that opens it.

What a coordinator that breaks the protocol learns from such a number are the bits that are opened of it, and no more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fedjoint.encryption.dot import MaskedSample, Sample
from fedjoint.encryption.parameters import ERROR_VARIANCE, MODULUS, SHORTFALL, Parameters
from fedjoint.encryption.words import Words, add_into
from fedjoint.errors import EncryptionError

__all__ = ["CoarseSample", "add_doubled", "leading_bits", "mask_coarse", "unmask_coarse"]

#: Noise is kept so many bits below the last bit opened, at one standard deviation.
_NOISE_BITS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class CoarseSample:
    """A sum of encrypted inner products, for the coordinator only: whoever has the key would read it.

    Args:
        parameters: Those of the ciphertexts.
        b: In [0, q).
        a: uint64[4096] in [0, q).
        squared_norm: Sum over terms of the squared norms of their integer weights, times the squares of what they were
            multiplied by.
    """

    parameters: Parameters
    b: int
    a: Words
    squared_norm: int

    def doublings(self, largest: float, *, bits: int) -> int | None:
        """How often it may be doubled before it is opened.

        Args:
            largest: The most that the inner product's absolute value can be.
            bits: How many will be opened.

        Returns:
            So often that ``largest`` is between a quarter and an eighth of the modulus, unless noise allows less; None
            if it is larger as it is, so that what is opened could have wrapped.
        """
        if not largest <= self.parameters.plain_modulus / 4:
            return None
        noise = math.sqrt(ERROR_VARIANCE * self.squared_norm) + SHORTFALL / 2
        by_noise = math.floor(math.log2(MODULUS / noise)) - bits - _NOISE_BITS
        by_size = math.floor(math.log2(self.parameters.plain_modulus / 4 / largest)) if largest > 0 else by_noise
        return min(by_size, by_noise) if by_noise >= 0 else None


def add_doubled(terms: Sequence[CoarseSample | Sample], *, doublings: int = 0) -> CoarseSample:
    """A sum of samples, the last of which is doubled so many times first.

    Raises:
        EncryptionError: there are none, or they differ in parameters.
    """
    if not terms or any(term.parameters != terms[0].parameters for term in terms):
        raise EncryptionError(f"a sum of {len(terms)} samples", expected="at least one, all of the same parameters")
    *others, last = terms
    a = last.a.copy()
    for _ in range(doublings):
        add_into(a, a.copy())
    for other in others:
        add_into(a, other.a)
    b = (last.b << doublings) + sum(other.b for other in others)
    squares = (last.squared_norm << 2 * doublings) + sum(other.squared_norm for other in others)
    return CoarseSample(parameters=last.parameters, b=b % MODULUS, a=a, squared_norm=squares)


def mask_coarse(sample: CoarseSample, mask: int, *, doublings: int) -> MaskedSample:
    """Hide an inner product, doubled so many times, from the holder who will open it.

    Args:
        sample: What is to be opened.
        mask: Uniform in [0, q), from a cryptographic generator, used once and kept by the coordinator.
        doublings: From :meth:`CoarseSample.doublings`.

    Raises:
        EncryptionError: the mask is not in [0, q).

    Guarantees:
        The phase is exactly uniform to whoever does not know the mask.
    """
    if not 0 <= mask < MODULUS:
        raise EncryptionError("this is no mask", expected="a uniform integer below q")
    doubled = add_doubled([sample], doublings=doublings)
    return MaskedSample(parameters=sample.parameters, b=(doubled.b + mask) % MODULUS, a=doubled.a)


def leading_bits(phase: int, bits: int) -> int:
    """The nearest of 2^bits steps around the circle, for a phase in [0, q).

    Example:
        >>> leading_bits(MODULUS // 2, 16), leading_bits(MODULUS - 1, 16)
        (32768, 0)
    """
    return ((phase << bits) + MODULUS // 2) // MODULUS % (1 << bits)


def unmask_coarse(opened: int, *, mask: int, bits: int) -> float:
    """Where on the circle an inner product is: its doubled value as a part of the modulus t, in [-1/2, 1/2).

    Args:
        opened: What the holder returned, in [0, 2^bits).
        mask: That of :func:`mask_coarse`.
        bits: How many were opened.

    Raises:
        EncryptionError: either is out of range.

    Example:
        >>> unmask_coarse(3, mask=MODULUS // 2, bits=2)
        0.25
    """
    if not (0 <= opened < 1 << bits and 0 <= mask < MODULUS):
        raise EncryptionError("a holder opened a number out of range", expected=f"0 to {(1 << bits) - 1}")
    turned = (((opened * MODULUS) >> bits) - mask) % MODULUS
    return (turned - MODULUS if turned >= MODULUS / 2 else turned) / MODULUS
