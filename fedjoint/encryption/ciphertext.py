"""Encrypted updates and their sums: what the coordinator holds, and all it can do without a key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fedjoint.encryption.packing import Block, Progress, blocks
from fedjoint.encryption.parameters import DEGREE, Parameters
from fedjoint.encryption.streams import SEED_BYTES, keystream, uniform_words
from fedjoint.encryption.words import LAZY_TERMS, Words, reduce_words
from fedjoint.errors import EncryptionError

__all__ = ["Accumulator", "Body", "Ciphertext", "add", "second_polynomials"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Body:
    """Room for the words of a ciphertext, in memory or mapped from a file.

    Args:
        c0: uint64[num_words].
        c1: uint64[num_polynomials, 4096] in the ``seal`` scheme, else None.
    """

    c0: Words
    c1: Words | None = None

    @classmethod
    def empty(cls, parameters: Parameters) -> Body:
        """New arrays that fit."""
        return cls(
            c0=np.empty(parameters.num_words, dtype=np.uint64),
            c1=np.empty((parameters.num_polynomials, DEGREE), dtype=np.uint64) if parameters.scheme == "seal" else None,
        )


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

    @property
    def marks(self) -> frozenset[bytes]:
        """What no other ciphertext has: fresh second polynomials never repeat, so an equal mark is a copy's."""
        return frozenset(self.seeds) if self.c1 is None else frozenset([self.c1[0, :4].tobytes()])


def second_polynomials(ciphertext: Ciphertext, block: Block) -> Words:
    """The second polynomials of one block: as received, or made again from the public seeds.

    Args:
        ciphertext: Of one update or a sum.
        block: From :func:`fedjoint.encryption.packing.blocks`.

    Returns:
        uint64[polynomials, 4096] in [0, q).
    """
    if ciphertext.c1 is not None:
        return ciphertext.c1[block.polynomials]
    count = block.num_polynomials * DEGREE
    total = np.zeros(count, dtype=np.uint64)
    for terms, seed in enumerate(ciphertext.seeds, start=1):
        total += uniform_words(keystream(seed, purpose="second", block=block.number), count)
        if terms % (LAZY_TERMS - 1) == 0 or terms == ciphertext.count:
            reduce_words(total)
    return total.reshape(-1, DEGREE)


class Accumulator:
    """A running sum of ciphertexts, so that replies can be added as they come and then dropped.

    Args:
        parameters: Of all of them.
        into: Where the sum grows, in memory or mapped from a file; new arrays if None.

    Example:
        >>> agreed = Parameters(scheme="seeded", num_parameters=1, max_holders=2, bound=1.0, value_bits=8, rounds=1)
        >>> total = Accumulator(agreed)
        >>> for seed in (bytes(32), bytes([1] * 32)):
        ...     total.add(Ciphertext(parameters=agreed, count=1, c0=np.arange(4, dtype=np.uint64), seeds=(seed,)))
        >>> total.total().c0.tolist()
        [0, 2, 4, 6]
    """

    def __init__(self, parameters: Parameters, *, into: Body | None = None) -> None:
        self._parameters = parameters
        self._body = into or Body.empty(parameters)
        self._count, self._unreduced, self._taken = 0, 0, False
        self._seen: frozenset[bytes] = frozenset()
        self._seeds: tuple[bytes, ...] = ()

    @property
    def count(self) -> int:
        """Number of updates so far."""
        return self._count

    def add(self, ciphertext: Ciphertext, *, progress: Progress | None = None) -> None:
        """Add one more; a refused one leaves the sum as it was.

        Args:
            ciphertext: Of one update or several; its arrays may be mapped from a file.
            progress: Called after each block.

        Raises:
            EncryptionError: other parameters, more updates than agreed, a copy of one that is in the sum already, or
                the sum was taken.
        """
        if self._taken:
            raise EncryptionError("an update after its sum was taken", remedy="Start another sum.")
        if ciphertext.parameters != self._parameters:
            raise EncryptionError("a ciphertext made with other parameters", expected="those of the sum")
        if self._count + ciphertext.count > self._parameters.max_holders:
            raise EncryptionError(
                f"a sum of {self._count + ciphertext.count} updates", expected=f"at most {self._parameters.max_holders}"
            )
        if ciphertext.marks & self._seen:
            raise EncryptionError("an update that is in the sum already", remedy="Drop the copy: who sent it?")
        if self._unreduced == LAZY_TERMS:
            self._reduce()
        arrays = [self._body.c0, self._body.c1, ciphertext.c0, ciphertext.c1]
        for block in blocks(self._parameters, arrays=arrays, progress=progress):
            self._add_block(self._body.c0[block.words], ciphertext.c0[block.words])
            if self._body.c1 is not None and ciphertext.c1 is not None:
                self._add_block(self._body.c1[block.polynomials], ciphertext.c1[block.polynomials])
        self._seen |= ciphertext.marks
        self._count += ciphertext.count
        self._seeds += ciphertext.seeds
        self._unreduced += 1

    def _add_block(self, total: Words, words: Words) -> None:
        """Words stay unreduced for as long as their sum cannot reach 2^64: a sum is one addition a word."""
        if self._count:
            total += words
        else:
            total[:] = words

    def _reduce(self) -> None:
        if self._unreduced > 1:
            for block in blocks(self._parameters, arrays=[self._body.c0, self._body.c1]):
                reduce_words(self._body.c0[block.words])
                if self._body.c1 is not None:
                    reduce_words(self._body.c1[block.polynomials])
            self._unreduced = 1

    def total(self) -> Ciphertext:
        """The sum, in the accumulator's own arrays: nothing is added any more.

        Raises:
            EncryptionError: nothing was added.
        """
        if not self._count:
            raise EncryptionError("the sum of no updates", expected="at least one")
        self._reduce()
        self._taken = True
        return Ciphertext(
            parameters=self._parameters, count=self._count, c0=self._body.c0, c1=self._body.c1, seeds=self._seeds
        )


def add(
    ciphertexts: Iterable[Ciphertext] | Sequence[Ciphertext],
    *,
    into: Body | None = None,
    progress: Progress | None = None,
) -> Ciphertext:
    """Add encrypted updates without any key.

    Raises:
        EncryptionError: there are none, or one does not fit the others (:meth:`Accumulator.add`).
    """
    total: Accumulator | None = None
    for ciphertext in ciphertexts:
        total = total or Accumulator(ciphertext.parameters, into=into)
        total.add(ciphertext, progress=progress)
    if total is None:
        raise EncryptionError("the sum of no updates", expected="at least one")
    return total.total()
