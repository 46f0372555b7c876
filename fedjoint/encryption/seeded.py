"""The ``seeded`` scheme: the second polynomial is made from a public 32-byte seed, so only the first travels.

This is what SEAL itself does when a symmetric encryptor saves (``Serializable<Ciphertext>``), which TenSEAL does not
expose. The sums are ordinary SEAL ciphertexts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.parameters import DEGREE
from fedjoint.encryption.streams import SEED_BYTES, binomial_errors, keystream, uniform_words
from fedjoint.encryption.words import Words, reduce_signed
from fedjoint.errors import EncryptionError

__all__ = ["SeededZeros"]


class SeededZeros:
    """Encryptions of zero, -(a s) + e, for one update.

    Args:
        key: The shared key.
        seed: Public, 32 bytes, never used before: a second use would tell the difference of two updates.
        secret: 32 bytes for the errors, never used before and forgotten with this object.
    """

    def __init__(self, key: SecretKey, *, seed: bytes, secret: bytes) -> None:
        self._key, self._seed, self._secret = key, seed, secret

    @classmethod
    def source(cls, key: SecretKey, entropy: Callable[[int], bytes]) -> Callable[[], SeededZeros]:
        """Make a source that draws fresh seeds for each update.

        Args:
            key: The shared key.
            entropy: Gives so many unpredictable bytes.

        Returns:
            A function that raises EncryptionError when ``entropy`` falls short or repeats itself.
        """
        used: set[bytes] = set()

        def fresh() -> SeededZeros:
            seed, secret = entropy(SEED_BYTES), entropy(SEED_BYTES)
            if len({seed, secret} - used) != 2 or {len(seed), len(secret)} != {SEED_BYTES}:
                raise EncryptionError(
                    "the source of randomness repeated itself or fell short",
                    expected=f"{SEED_BYTES} fresh bytes at a time",
                    remedy="Nothing was encrypted; repair the machine's random generator.",
                )
            used.update((seed, secret))
            return cls(key, seed=seed, secret=secret)

        return fresh

    @property
    def seeds(self) -> tuple[bytes, ...]:
        """The public seed."""
        return (self._seed,)

    def block(self, number: int, num_polynomials: int) -> tuple[Words, Words | None]:
        """First polynomials of one block, uint64[polynomials * 4096]; the second ones follow from the seed."""
        count = num_polynomials * DEGREE
        second = uniform_words(keystream(self._seed, purpose="second", block=number, public=True), count)
        zeros = self._key.multiply(second.reshape(-1, DEGREE), in_place=True).reshape(-1).view(np.int64)
        errors = binomial_errors(keystream(self._secret, purpose="error", block=number), count)
        np.subtract(errors, zeros, out=zeros)
        return reduce_signed(zeros), None
