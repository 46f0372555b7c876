"""Keys and encryption under either scheme.

A scheme is a source of fresh encryptions of zero, :class:`Zeros`; the message is added to their words. All else (sums,
inner products, decryption, frames) works on words and does not know which scheme runs, nor does anybody outside this
package.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np

from fedjoint.encryption.binding import Binding
from fedjoint.encryption.ciphertext import Body, Ciphertext
from fedjoint.encryption.fixed_point import Levels, Source
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.packing import Progress, blocks, encode, pack_block
from fedjoint.encryption.parameters import CHECK_WORDS, Parameters
from fedjoint.encryption.tags import Contributors, Tagger
from fedjoint.encryption.words import Words, add_into
from fedjoint.errors import EncryptionError

__all__ = ["Encryptor", "Zeros", "make_encryptor", "make_key"]


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

    def encrypt(
        self,
        update: Words | Source,
        *,
        round_number: int,
        place: int,
        into: Body | None = None,
        progress: Progress | None = None,
    ) -> Ciphertext:
        """Encrypt one update, block by block, with the words that check it.

        Args:
            update: Levels, uint64[D] in [0, L - 1], or values that are quantised on the way.
            round_number: Greater than that of the last update under this key, at most the agreed rounds.
            place: Where this holder stands in the agreement, from 0.
            into: Where the words go, in memory or mapped from a file; new arrays if None.
            progress: Called after each block.

        Returns:
            A ciphertext with ``count`` 1.

        Raises:
            EncryptionError: values that cannot be encrypted (before the key is touched), a round that is not new, or no
                such place.
        """
        parameters = self._key.parameters
        source: Source = Levels(values=update, parameters=parameters) if isinstance(update, np.ndarray) else update
        if source.parameters != parameters or not 0 <= place < parameters.max_holders:
            raise EncryptionError(
                f"an update of other parameters, or of a holder at place {place}",
                expected=f"those of the key, and a place from 0 to {parameters.max_holders - 1}",
            )
        source.check()
        self._key.begin_round(round_number)
        zeros, body = self._fresh_zeros(), into or Body.empty(parameters)
        tagger = Tagger(self._key, Contributors(round_number=round_number, places=(place,)))
        for block in blocks(parameters, arrays=[source.values, body.c0, body.c1], progress=progress):
            packed = pack_block(source.levels(block.values), parameters, block)
            packed[:, :CHECK_WORDS] = tagger.words(packed[:, CHECK_WORDS:], block)
            first, second = zeros.block(block.number, block.num_polynomials)
            add_into(first, encode(packed, parameters).reshape(-1))
            body.c0[block.words] = first[: block.words.stop - block.words.start]
            if body.c1 is not None and second is not None:
                body.c1[block.polynomials] = second
        return Ciphertext(parameters=parameters, count=1, c0=body.c0, c1=body.c1, seeds=zeros.seeds)


def make_key(parameters: Parameters, binding: Binding) -> SecretKey:
    """Make a new key for one run, of either scheme: by SEAL, from the operating system's randomness.

    Args:
        parameters: The run's.
        binding: The run.
    """
    from fedjoint.encryption.tenseal_scheme import create_key

    return create_key(parameters, binding)


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
