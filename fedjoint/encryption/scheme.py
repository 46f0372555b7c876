"""Encryption of an update under either scheme.

A scheme is a source of fresh encryptions of zero; the message is added to their words. All else (sums, inner products,
decryption, frames) works on words and does not know which scheme runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np

from fedjoint.encryption.ciphertext import Ciphertext
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.packing import blocks, encode, pack_block
from fedjoint.encryption.parameters import DEGREE
from fedjoint.encryption.words import Words, add_into
from fedjoint.errors import EncryptionError

__all__ = ["Encryptor", "Zeros", "make_encryptor"]


class Zeros(Protocol):
    """Fresh encryptions of zero for the polynomials of one update."""

    @property
    def seeds(self) -> tuple[bytes, ...]:
        """The public seed of the second polynomials, if they have one."""

    def block(self, number: int, num_polynomials: int) -> tuple[Words, Words | None]:
        """First polynomials, uint64[polynomials * 4096], and second, uint64[polynomials, 4096], if without seed."""


FreshZeros: TypeAlias = Callable[[], Zeros]


class Encryptor:
    """One holder's side of a key: it encrypts one update a round.

    Args:
        key: The shared key; it remembers the rounds.
        fresh_zeros: Gives new encryptions of zero under ``key`` for each update.
    """

    def __init__(self, key: SecretKey, fresh_zeros: FreshZeros) -> None:
        self._key, self._fresh_zeros = key, fresh_zeros

    def encrypt(self, levels: Words, *, round_number: int) -> Ciphertext:
        """Encrypt the levels of one update, and the canary.

        Args:
            levels: uint64[D] in [0, L - 1], from :func:`fedjoint.encryption.fixed_point.quantise`.
            round_number: Greater than that of the last update under this key.

        Returns:
            A ciphertext with ``count`` 1.

        Raises:
            EncryptionError: levels that no quantiser made (before the key is touched), or a round that is not new.
        """
        parameters = self._key.parameters
        fits = levels.dtype == np.uint64 and levels.shape == (parameters.num_parameters,)
        if not (fits and int(levels.max()) < parameters.levels):
            raise EncryptionError(
                "these levels are not of an update",
                expected=f"{parameters.num_parameters} unsigned integers below {parameters.levels}",
            )
        self._key.begin_round(round_number)
        zeros = self._fresh_zeros()
        c0 = np.empty(parameters.num_words, dtype=np.uint64)
        c1 = None if zeros.seeds else np.empty((parameters.num_polynomials, DEGREE), dtype=np.uint64)
        for number, words, polynomials in blocks(parameters):
            first, second = zeros.block(number, polynomials.stop - polynomials.start)
            c0[words] = first[: words.stop - words.start]
            add_into(c0[words], encode(pack_block(levels, parameters, words=words), parameters))
            if c1 is not None and second is not None:
                c1[polynomials] = second
        return Ciphertext(parameters=parameters, count=1, c0=c0, c1=c1, seeds=zeros.seeds)


def make_encryptor(key: SecretKey, *, entropy: Callable[[int], bytes] = os.urandom) -> Encryptor:
    """Make the encryptor of the key's own scheme.

    Args:
        key: The shared key.
        entropy: Gives so many unpredictable bytes; used by ``seeded`` (SEAL has its own).
    """
    if key.parameters.scheme == "seeded":
        from fedjoint.encryption.seeded import SeededZeros

        return Encryptor(key, SeededZeros.source(key, entropy))
    from fedjoint.encryption.tenseal_scheme import SealZeros

    return Encryptor(key, SealZeros.source(key))
