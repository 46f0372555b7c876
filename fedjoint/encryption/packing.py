"""Levels to plaintext words and back, and plaintext words to multiples of q / t.

Each polynomial begins with the words that check it (``tags``); packed values follow. A block of l payload words holds
k l values: value j l + w of the block is field j of payload word w, so that packing works on whole slices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedjoint.encryption.parameters import CHECK_WORDS, DEGREE, PAYLOAD_WORDS, SHORTFALL, Parameters
from fedjoint.encryption.scratch import forget_maps, mapped
from fedjoint.encryption.words import BLOCK_POLYNOMIALS, Words

__all__ = ["Block", "Progress", "blocks", "decode", "encode", "pack_block", "spread", "unpack_block"]

#: Words unpacked at a time.
_PIECE = 1 << 14
#: Hears (values done, values in all) after each block.
Progress: TypeAlias = Callable[[int, int], object]


class Block(NamedTuple):
    """One block of an update, which is worked on at a time.

    Args:
        number: From 0.
        polynomials: Those of the block.
        words: Of the ciphertext's first polynomials; the last block ends with the last word that is used.
        values: Coordinates of the update.
        num_payload: Words that hold values.
    """

    number: int
    polynomials: slice
    words: slice
    values: slice
    num_payload: int

    @property
    def num_polynomials(self) -> int:
        """Polynomials of the block, the last one perhaps used in part."""
        return int(self.polynomials.stop - self.polynomials.start)


def blocks(
    parameters: Parameters, *, arrays: Sequence[NDArray[Any] | None] = (), progress: Progress | None = None
) -> Iterator[Block]:
    """Give out the blocks of an update, in order.

    They are worked on one after another: a thread that worked a block ahead was measured on two cores, for encryption
    and for decryption, and took no less time of the clock and more of the processor, as pieces that fit the cache are
    so short that threads mostly wait for each other.

    Args:
        parameters: The agreed ones.
        arrays: Those that are read or written; of what is mapped from files only one block stays in memory.
        progress: Called after each block.

    Example:
        >>> agreed = Parameters(scheme="seal", num_parameters=70_000, max_holders=2, bound=1, value_bits=8, rounds=1)
        >>> [(block.words.stop, block.values.stop, block.num_payload) for block in blocks(agreed)]
        [(65536, 65488, 65488), (70054, 70000, 4512)]
    """
    k, size = parameters.values_per_word, parameters.num_parameters
    maps = mapped(arrays)
    for number, first in enumerate(range(0, parameters.num_polynomials, BLOCK_POLYNOMIALS)):
        last = min(first + BLOCK_POLYNOMIALS, parameters.num_polynomials)
        start, stop = first * PAYLOAD_WORDS, min(last * PAYLOAD_WORDS, parameters.num_payload_words)
        yield Block(
            number=number,
            polynomials=slice(first, last),
            words=slice(first * DEGREE, stop + CHECK_WORDS * last),
            values=slice(k * start, min(k * stop, size)),
            num_payload=stop - start,
        )
        forget_maps(maps)
        if progress is not None:
            progress(min(k * stop, size), size)


def spread(fields: NDArray[Any], block: Block) -> NDArray[Any]:
    """Lay rows of one item for each payload word out over the block's polynomials.

    Args:
        fields: [rows, num_payload].
        block: Where they are.

    Returns:
        [rows, polynomials, payload words], zeros after the last; a view if the block is full.
    """
    room = block.num_polynomials * PAYLOAD_WORDS
    if block.num_payload < room:
        fields = np.pad(fields, ((0, 0), (0, room - block.num_payload)))
    return fields.reshape(-1, block.num_polynomials, PAYLOAD_WORDS)


def pack_block(levels: Words, parameters: Parameters, block: Block) -> Words:
    """Pack the levels of one block.

    Args:
        levels: uint64, those at ``block.values``.
        parameters: The agreed ones.
        block: From :func:`blocks`.

    Returns:
        uint64[polynomials, 4096] below t: zeros where the check words go and after the last value.
    """
    k, width = parameters.values_per_word, parameters.field_bits
    if levels.size < k * block.num_payload:
        levels = np.pad(levels, (0, k * block.num_payload - levels.size))
    fields = spread(levels.reshape(k, -1), block)
    packed = np.zeros((block.num_polynomials, DEGREE), dtype=np.uint64)
    payload = packed[:, CHECK_WORDS:]
    payload[:] = fields[0]
    for number in range(1, k):
        payload |= fields[number] << np.uint64(number * width)
    return packed


def unpack_block(payload: Words, parameters: Parameters, block: Block) -> Iterator[tuple[slice, Words]]:
    """Undo :func:`pack_block`, also on sums.

    Args:
        payload: uint64[polynomials, payload words].
        parameters: The agreed ones.
        block: From :func:`blocks`.

    Yields:
        Where a piece stands among the block's k * num_payload values, and the piece, uint64: in order, and small enough
        for the nearest cache. After the block's last value come zeros, unless somebody made the words.
    """
    count, width, last = block.num_payload, parameters.field_bits, parameters.values_per_word - 1
    flat = payload.reshape(-1)[:count]
    for number in range(last + 1):
        for start in range(0, count, _PIECE):
            piece = flat[start : start + _PIECE] >> np.uint64(number * width)
            # What stands above the last field is kept, so that a sum which is none shows.
            if number < last:
                piece &= np.uint64((1 << width) - 1)
            first = number * count + start
            yield slice(first, first + piece.size), piece


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
