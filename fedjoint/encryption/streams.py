"""Seeds to polynomials: uniform words modulo q from a public seed, centred binomial errors from a secret one.

Each block of 65,536 words has a key of its own (AES-CTR keyed by SHA-256 of seed, purpose and block number), so blocks
are independent of each other: an update can be streamed, and any part of it be made again. Secret streams take AES-256.
What follows from a public seed hides nothing and must only look uniform, for which AES-128 serves (as in FrodoKEM,
which makes its public matrix so at every level).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from fedjoint.encryption.parameters import ERROR_BOUND, MODULUS
from fedjoint.encryption.words import Words

__all__ = ["PIECE_WORDS", "SEED_BYTES", "Draw", "binomial_errors", "keystream", "uniform_piece", "uniform_words"]

SEED_BYTES = 32
#: Gives the next so many 64-bit words of a stream.
Draw: TypeAlias = Callable[[int], Words]
#: Uniform words drawn at a time: a few streams of so many are added up in the cache.
PIECE_WORDS = 1 << 15
_ZEROS = bytes(1 << 16)


def keystream(seed: bytes, *, purpose: str, block: int, public: bool = False) -> Draw:
    """Open the stream of one block.

    Args:
        seed: 32 bytes.
        purpose: Streams of different purposes are independent.
        block: Its number, from 0.
        public: Whether everybody may know the seed.
    """
    key = hashlib.sha256(b"fedjoint/1/" + purpose.encode() + b"\x00" + block.to_bytes(8, "little") + seed).digest()
    key = key[:16] if public else key
    # One key makes one stream, so the counter may start at zero.
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def draw(count: int) -> Words:
        words = np.empty(count, dtype="<u8")
        room = words.data.cast("B")
        for start in range(0, len(room), len(_ZEROS)):
            piece = room[start : start + len(_ZEROS)]
            encryptor.update_into(_ZEROS[: len(piece)], piece)
        return words

    return draw


def uniform_words(draw: Draw, count: int) -> Words:
    """Draw words that are exactly uniform in [0, q), piece by piece.

    Returns:
        uint64[count]; whoever has the seed gets the same.
    """
    words = np.empty(count, dtype=np.uint64)
    for start in range(0, count, PIECE_WORDS):
        piece = words[start : start + PIECE_WORDS]
        piece[:] = uniform_piece(draw, piece.size)
    return words


def uniform_piece(draw: Draw, count: int) -> Words:
    """Draw the next at most ``PIECE_WORDS`` words of :func:`uniform_words`, by rejection."""
    mask = np.uint64((1 << 60) - 1)
    words = draw(count)
    words &= mask
    while words.max() >= MODULUS:  # with probability 2^-46 a word
        rejected = words >= np.uint64(MODULUS)
        words[rejected] = draw(int(rejected.sum())) & mask
    return words


def binomial_errors(draw: Draw, count: int) -> NDArray[np.int8]:
    """Draw errors as SEAL does: 21 fair bits minus 21 fair bits.

    Returns:
        int8[count] in [-21, 21], mean 0, variance 10.5.
    """
    bits = draw(count)
    mask = np.uint64((1 << ERROR_BOUND) - 1)
    errors: NDArray[np.int8] = np.bitwise_count(bits & mask).view(np.int8)
    bits >>= np.uint64(ERROR_BOUND)
    bits &= mask
    errors -= np.bitwise_count(bits).view(np.int8)
    return errors
