"""Encrypted updates and their sums: what the coordinator holds, and all it can do without a key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fedjoint.encryption.parameters import DEGREE, Parameters
from fedjoint.encryption.streams import SEED_BYTES, keystream, uniform_words
from fedjoint.encryption.words import Words, add_into
from fedjoint.errors import EncryptionError

__all__ = ["Accumulator", "Ciphertext", "add", "second_polynomials"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Ciphertext:
    """The encryption of one update, or of a sum of ``count``.

    Args:
        parameters: What it was made with.
        count: Number of summed updates, 1 to ``max_holders``.
        c0: uint64[num_words] in [0, q).
        c1: uint64[num_polynomials, 4096] in [0, q) in the ``seal`` scheme, else None.
        seeds: One of 32 bytes for each update in the ``seeded`` scheme, else none.

    Raises:
        EncryptionError: the arrays do not fit the parameters.
    """

    parameters: Parameters
    count: int
    c0: Words
    c1: Words | None = None
    seeds: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        shape = self.parameters.num_polynomials, DEGREE
        whole = self.c0.dtype == np.uint64 and self.c0.shape == (self.parameters.num_words,)
        if self.parameters.scheme == "seal":
            whole &= self.c1 is not None and self.c1.dtype == np.uint64 and self.c1.shape == shape and not self.seeds
        else:
            whole &= self.c1 is None and len(set(self.seeds)) == len(self.seeds) == self.count
            whole &= all(len(seed) == SEED_BYTES for seed in self.seeds)
        if not (whole and 1 <= self.count <= self.parameters.max_holders):
            raise EncryptionError(
                f"a ciphertext of {self.count} updates whose arrays do not fit its parameters",
                expected=f"{self.parameters.num_words} words, 1 to {self.parameters.max_holders} different updates",
            )


def second_polynomials(ciphertext: Ciphertext, *, block: int, polynomials: slice) -> Words:
    """The second polynomials of one block: as received, or made again from the public seeds.

    Args:
        ciphertext: Of one update or a sum.
        block: The block's number.
        polynomials: The block's polynomials, from :func:`fedjoint.encryption.packing.blocks`.

    Returns:
        uint64[polynomials, 4096] in [0, q).
    """
    if ciphertext.c1 is not None:
        return ciphertext.c1[polynomials]
    count = (polynomials.stop - polynomials.start) * DEGREE
    total = np.zeros(count, dtype=np.uint64)
    for seed in ciphertext.seeds:
        add_into(total, uniform_words(keystream(seed, purpose="second", block=block), count))
    return total.reshape(-1, DEGREE)


class Accumulator:
    """A running sum of ciphertexts, so that replies can be added as they come and then dropped.

    Example:
        >>> import numpy as np
        >>> agreed = Parameters(scheme="seeded", num_parameters=1, max_holders=2, bound=1.0, value_bits=8, rounds=1)
        >>> total = Accumulator(agreed)
        >>> for seed in (bytes(32), bytes([1] * 32)):
        ...     total.add(Ciphertext(parameters=agreed, count=1, c0=np.array([3, 4], dtype=np.uint64), seeds=(seed,)))
        >>> total.total().c0.tolist()
        [6, 8]
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._count = 0
        self._seen: set[bytes] = set()
        self._c0: Words | None = None
        self._c1: Words | None = None
        self._seeds: tuple[bytes, ...] = ()

    @property
    def count(self) -> int:
        """Number of updates so far."""
        return self._count

    def add(self, ciphertext: Ciphertext) -> None:
        """Add one more; a refused one leaves the sum as it was.

        Raises:
            EncryptionError: other parameters, more updates than agreed, or a copy of one that is in the sum already.
        """
        if ciphertext.parameters != self._parameters:
            raise EncryptionError("a ciphertext made with other parameters", expected="those of the sum")
        if self._count + ciphertext.count > self._parameters.max_holders:
            raise EncryptionError(
                f"a sum of {self._count + ciphertext.count} updates", expected=f"at most {self._parameters.max_holders}"
            )
        # Fresh second polynomials never repeat, so a repeated one is a copy of somebody's update.
        marks = set(ciphertext.seeds) if ciphertext.c1 is None else {ciphertext.c1[0, :4].tobytes()}
        if marks & self._seen:
            raise EncryptionError("an update that is in the sum already", remedy="Drop the copy: who sent it?")
        self._seen |= marks
        self._count += ciphertext.count
        self._seeds += ciphertext.seeds
        self._c0 = _plus(self._c0, ciphertext.c0)
        self._c1 = None if ciphertext.c1 is None else _plus(self._c1, ciphertext.c1)

    def total(self) -> Ciphertext:
        """The sum so far, which later additions do not change.

        Raises:
            EncryptionError: nothing was added.
        """
        if self._c0 is None:
            raise EncryptionError("the sum of no updates", expected="at least one")
        return Ciphertext(
            parameters=self._parameters,
            count=self._count,
            c0=self._c0.copy(),
            c1=None if self._c1 is None else self._c1.copy(),
            seeds=self._seeds,
        )


def add(ciphertexts: Iterable[Ciphertext]) -> Ciphertext:
    """Add encrypted updates without any key.

    Raises:
        EncryptionError: there are none, or one does not fit the others (:meth:`Accumulator.add`).
    """
    total: Accumulator | None = None
    for ciphertext in ciphertexts:
        total = total or Accumulator(ciphertext.parameters)
        total.add(ciphertext)
    if total is None:
        raise EncryptionError("the sum of no updates", expected="at least one")
    return total.total()


def _plus(total: Words | None, words: Words) -> Words:
    if total is None:
        return words.copy()
    add_into(total, words)
    return total
