"""Levels to plaintext words and back, and plaintext words to multiples of q / t.

A block of l words holds k l values: value j l + w of the block is field j of word w, so that packing works on whole
slices. The value after the last coordinate is the canary: 1 from each holder, so that a sum shows how many it is of.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fedjoint.encryption.parameters import DEGREE, SHORTFALL, Parameters
from fedjoint.encryption.words import BLOCK_POLYNOMIALS, Words

__all__ = ["blocks", "decode", "encode", "pack_block", "unpack_block"]


def blocks(parameters: Parameters) -> Iterator[tuple[int, slice, slice]]:
    """Give number, words and polynomials of each block of an update.

    Example:
        >>> agreed = Parameters(scheme="seal", num_parameters=70_000, max_holders=2, bound=1, value_bits=8, rounds=1)
        >>> list(blocks(agreed))
        [(0, slice(0, 65536, None), slice(0, 16, None)), (1, slice(65536, 70001, None), slice(16, 18, None))]
    """
    for block, first in enumerate(range(0, parameters.num_polynomials, BLOCK_POLYNOMIALS)):
        last = min(first + BLOCK_POLYNOMIALS, parameters.num_polynomials)
        yield block, slice(first * DEGREE, min(last * DEGREE, parameters.num_words)), slice(first, last)


def pack_block(levels: Words, parameters: Parameters, *, words: slice) -> Words:
    """Pack what belongs to some words of an update.

    Args:
        levels: uint64[D], all levels of the update.
        parameters: The agreed ones.
        words: A block's words, from :func:`blocks`.

    Returns:
        uint64[words], below t; the canary follows the last coordinate, zeros follow the canary.
    """
    k, count = parameters.values_per_word, words.stop - words.start
    values = np.zeros(k * count, dtype=np.uint64)
    part = levels[k * words.start : k * words.stop]
    values[: part.size] = part
    if words.stop == parameters.num_words:
        values[parameters.num_parameters - k * words.start] = 1
    packed = values[:count]
    for field in range(1, k):
        packed |= values[field * count : (field + 1) * count] << np.uint64(field * parameters.field_bits)
    return packed


def unpack_block(packed: Words, parameters: Parameters) -> Words:
    """Undo :func:`pack_block`, also on sums: uint64[k * words]."""
    width = np.uint64(parameters.field_bits)
    mask = np.uint64((1 << parameters.field_bits) - 1)
    *lower, last = (packed >> (width * np.uint64(field)) for field in range(parameters.values_per_word))
    # What stands above the last field is kept, so that a sum which is none shows.
    return np.concatenate([*(field & mask for field in lower), last])


def encode(packed: Words, parameters: Parameters) -> Words:
    """round(q m / t) for plaintext words m < t, exactly, in 64 bits.

    q m / t = m 2^(60 - p) - SHORTFALL m / 2^p, and SHORTFALL m < 2^64 as p <= 50. While SHORTFALL m < t / 2, which
    holds for every single value with k = 1, this is m 2^(60 - p) exactly, and linear in m: inner products rely on it.
    """
    bits = np.uint64(parameters.plain_bits)
    short = packed * np.uint64(SHORTFALL)
    short += np.uint64(1 << (parameters.plain_bits - 1))
    short >>= bits
    scaled = packed << (np.uint64(60) - bits)
    scaled -= short
    return scaled


def decode(phase: Words, parameters: Parameters) -> Words:
    """round(t phase / q) modulo t: the plaintext words in phases q m / t + noise modulo q.

    phase 2^60 / q is phase + SHORTFALL phase / 2^60 to within 1, which the parameters leave room for.
    """
    bits, gap = np.uint64(parameters.plain_bits), np.uint64(60 - parameters.plain_bits)
    words = phase >> gap
    words *= np.uint64(SHORTFALL)
    words += np.uint64(1 << (parameters.plain_bits - 1))
    words >>= bits
    words += phase
    words += np.uint64(1 << (59 - parameters.plain_bits))
    words >>= gap
    words &= np.uint64(parameters.plain_modulus - 1)
    return words
