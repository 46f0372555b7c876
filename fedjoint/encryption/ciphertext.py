"""Encrypted updates and their sums: what the coordinator holds, and all it can do without a key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fedjoint.encryption.packing import Block, Progress, blocks
from fedjoint.encryption.parameters import DEGREE, Parameters
from fedjoint.encryption.streams import PIECE_WORDS, SEED_BYTES, keystream, uniform_piece
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
    draws = [keystream(seed, purpose="second", block=block.number, public=True) for seed in ciphertext.seeds]
    total = np.empty(count, dtype=np.uint64)
    for start in range(0, count, PIECE_WORDS):
        piece = total[start : start + PIECE_WORDS]
        for terms, draw in enumerate(draws, start=1):
            words = uniform_piece(draw, piece.size)
            if terms == 1:
                piece[:] = words
            else:
                piece += words
            if terms % (LAZY_TERMS - 1) == 0 or terms == len(draws):
                reduce_words(piece)
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
        self._count, self._terms, self._taken = 0, 0, False
        self._seen: frozenset[bytes] = frozenset()
        self._seeds: tuple[bytes, ...] = ()

    @property
    def count(self) -> int:
        """Number of updates so far."""
        return self._count

    def add(self, *ciphertexts: Ciphertext, progress: Progress | None = None) -> None:
        """Add more; if one is refused, the sum stays as it was.

        Several at once cost less than one after another: each block of the sum is then read and written once.

        Args:
            ciphertexts: Of one update or several each; their arrays may be mapped from files.
            progress: Called after each block.

        Raises:
            EncryptionError: other parameters, more updates than agreed, a copy of one that is in the sum already, or
                the sum was taken.
        """
        seen = self._check(ciphertexts)
        arrays = [self._body.c0, self._body.c1]
        arrays += [array for one in ciphertexts for array in (one.c0, one.c1)]
        terms = self._terms
        for block in blocks(self._parameters, arrays=arrays, progress=progress):
            total = self._body.c0[block.words]
            terms = _add_block(total, [one.c0[block.words] for one in ciphertexts], self._terms)
            if self._body.c1 is not None:
                second = [one.c1[block.polynomials] for one in ciphertexts if one.c1 is not None]
                _add_block(self._body.c1[block.polynomials], second, self._terms)
        self._terms, self._seen = terms, seen
        self._count += sum(one.count for one in ciphertexts)
        self._seeds += tuple(seed for one in ciphertexts for seed in one.seeds)

    def _check(self, ciphertexts: Sequence[Ciphertext]) -> frozenset[bytes]:
        """Refuse what may not be added; give all marks there are then."""
        count, seen = self._count + sum(one.count for one in ciphertexts), self._seen
        if self._taken:
            raise EncryptionError("an update after its sum was taken", remedy="Start another sum.")
        if any(one.parameters != self._parameters for one in ciphertexts):
            raise EncryptionError("a ciphertext made with other parameters", expected="those of the sum")
        if count > self._parameters.max_holders:
            raise EncryptionError(f"a sum of {count} updates", expected=f"at most {self._parameters.max_holders}")
        for one in ciphertexts:
            if one.marks & seen:
                raise EncryptionError("an update that is in the sum already", remedy="Drop the copy: who sent it?")
            seen |= one.marks
        return seen

    def total(self) -> Ciphertext:
        """The sum, in the accumulator's own arrays: nothing is added any more.

        Raises:
            EncryptionError: nothing was added.
        """
        if not self._count:
            raise EncryptionError("the sum of no updates", expected="at least one")
        if self._terms > 1:
            for block in blocks(self._parameters, arrays=[self._body.c0, self._body.c1]):
                reduce_words(self._body.c0[block.words])
                if self._body.c1 is not None:
                    reduce_words(self._body.c1[block.polynomials])
        self._taken, self._terms = True, 1
        return Ciphertext(
            parameters=self._parameters, count=self._count, c0=self._body.c0, c1=self._body.c1, seeds=self._seeds
        )


def _add_block(total: Words, parts: Sequence[Words], terms: int) -> int:
    """Add to a total of so many unreduced terms, piece by piece, so that it is read and written in the cache.

    Returns:
        The unreduced terms it then has: 1 if several parts came at once, which are reduced while they are at hand; one
        part alone is reduced only when the total could reach 2^64.
    """
    after = terms
    for start in range(0, total.size, PIECE_WORDS):
        piece = slice(start, start + PIECE_WORDS)
        after = _add_piece(total.reshape(-1)[piece], [part.reshape(-1)[piece] for part in parts], terms)
    return after


def _add_piece(total: Words, parts: Sequence[Words], terms: int) -> int:
    waiting = list(parts)
    if not terms:
        first, *waiting = waiting
        if waiting:
            np.add(first, waiting.pop(0), out=total)
            terms = 2
        else:
            total[:] = first
            terms = 1
    for words in waiting:
        if terms == LAZY_TERMS:
            reduce_words(total)
            terms = 1
        total += words
        terms += 1
    if len(parts) > 1:
        reduce_words(total)
        terms = 1
    return terms


def add(
    ciphertexts: Iterable[Ciphertext],
    *,
    into: Body | None = None,
    progress: Progress | None = None,
) -> Ciphertext:
    """Add encrypted updates without any key.

    Raises:
        EncryptionError: there are none, or one does not fit the others (:meth:`Accumulator.add`).
    """
    parts = tuple(ciphertexts)
    if not parts:
        raise EncryptionError("the sum of no updates", expected="at least one")
    total = Accumulator(parts[0].parameters, into=into)
    total.add(*parts, progress=progress)
    return total.total()
