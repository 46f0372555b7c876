"""Randomness that hides records: Gaussian noise and secret samples from an AES-256 keystream.

General-purpose generators can be predicted from their output; a keystream cannot without its key. What leaves a holder
is rounded to a fixed-point grid afterwards, so the last bits of these floats are never released.
"""

from __future__ import annotations

import hashlib
import math
import os
from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedjoint.errors import InvalidValue, PrivacyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NoiseSource"]

_KEY_BYTES = 32
#: Numbers drawn in one piece, so that the pieces stay in the processor's cache.
_PIECE = 1 << 15


class NoiseSource:
    """A stream of secret random numbers that is never read twice.

    Make one with :meth:`secure`; :meth:`insecure` is for tests and for runs that state that they are not private. One
    source serves one thread.

    Args:
        key: 32 bytes; whoever knows them can subtract the noise.

    Raises:
        InvalidValue: the key has another length.

    Guarantees:
        Each call consumes fresh keystream. A source is neither copied, pickled nor used in a forked process: two
        users of one stream would add the same noise twice.

    Example:
        >>> NoiseSource.secure().gaussian(3, sd=2.0).shape
        (3,)

    Source:
        NIST SP 800-38A (counter mode); Wichura 1988 (inverse normal distribution function).
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != _KEY_BYTES:
            raise InvalidValue(f"a noise key of {len(key)} bytes", expected=f"{_KEY_BYTES} bytes")
        # a counter from zero is safe because every key is used for one stream only
        self._stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
        self._process = os.getpid()
        self._secure = False

    @classmethod
    def secure(cls) -> NoiseSource:
        """Make a source keyed by the operating system's randomness."""
        source = cls(os.urandom(_KEY_BYTES))
        source._secure = True
        return source

    @classmethod
    def insecure(cls, seed: int, label: str) -> NoiseSource:
        """Make a reproducible source. Its noise protects nobody: whoever knows the seed can subtract it.

        Args:
            seed: ``privacy.insecure_seed`` of the agreement.
            label: What this stream is for (holder and round, say): different labels give independent streams.
        """
        return cls(hashlib.sha256(f"fedjoint/1/insecure noise/{seed}/{label}".encode()).digest())

    @property
    def is_secure(self) -> bool:
        """Whether the key came from the operating system and is known to nobody."""
        return self._secure

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next ``count`` words of 64 uniform bits.

        Raises:
            PrivacyError: the process was forked after the source was made.
        """
        if os.getpid() != self._process:
            raise PrivacyError(
                "a noise source was used in a forked process",
                expected="a source made in the process that uses it",
                remedy="Call NoiseSource.secure() after the fork.",
            )
        return np.frombuffer(self._stream.update(bytes(8 * count)), dtype="<u8")

    def gaussian(self, shape: int | tuple[int, ...], *, sd: float) -> NDArray[np.float64]:
        """Draw Gaussian noise.

        Args:
            shape: Of the result.
            sd: Standard deviation, finite and > 0.

        Returns:
            float64 of that shape: finite and never zero; its tails end at 9.2 standard deviations, beyond which lies
            a probability of 5e-20.

        Raises:
            InvalidValue: the standard deviation is not finite and positive.
            PrivacyError: the process was forked after the source was made.
        """
        if not (math.isfinite(sd) and sd > 0):
            raise InvalidValue(f"sd = {sd}", expected="a finite number above 0")
        noise = np.empty(shape, dtype=np.float64)
        flat = noise.reshape(-1)
        for start in range(0, flat.size, _PIECE):
            piece = flat[start : start + _PIECE]
            piece[:] = _standard_normal(self.words(piece.size))
        flat *= sd
        return noise

    def uniform(self, count: int) -> NDArray[np.float64]:
        """Draw ``count`` multiples of 2^-53 in [0, 1), for secret Poisson samples: ``uniform(n) < sampling_rate``.

        Raises:
            PrivacyError: the process was forked after the source was made.
        """
        return (self.words(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def __repr__(self) -> str:
        return f"NoiseSource(secure={self._secure}, key hidden)"

    def __reduce__(self) -> str:
        raise PrivacyError("a noise source is not copied or pickled", remedy="Make another with NoiseSource.secure().")


def _standard_normal(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Inverse distribution function of 63 bits in the lower half, and one bit for the sign."""
    from scipy.special import ndtri  # half a second to load, and many commands make no noise

    # the lower half keeps all bits near zero, where the tail is decided; the least is 2^-65, so never an infinity
    lower = (words >> np.uint64(1)).view(np.int64) * 2.0**-64 + 2.0**-65
    np.minimum(lower, 0.5 - 2.0**-54, out=lower)  # rounding up to exactly one half would give a noise of zero
    noise: NDArray[np.float64] = ndtri(lower)
    noise.view(np.uint64)[:] ^= words << np.uint64(63)
    return noise
