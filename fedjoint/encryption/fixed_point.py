"""Updates to integer levels and back: clip, quantise without bias, and undo it on sums.

All of it is float64: clipped in float32 a coordinate of -B can end a hair below the bound and wrap to a huge unsigned
number; and NaN cast to an integer is silent. Hence the order here: refuse, scale, round, clamp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedjoint.encryption.packing import blocks
from fedjoint.encryption.parameters import Parameters
from fedjoint.encryption.words import Words
from fedjoint.errors import EncryptionError

__all__ = [
    "Levels",
    "Source",
    "Steps",
    "Update",
    "dequantise_into",
    "dequantise_sum",
    "levels_of",
    "quantise",
]

#: Values worked on at a time: what is made of them stays in the nearest cache.
_PIECE = 1 << 14


class Source(Protocol):
    """What can be encrypted: something that gives levels block by block."""

    @property
    def values(self) -> NDArray[Any]:
        """What the levels are made of, perhaps mapped from a file."""
        ...

    @property
    def parameters(self) -> Parameters:
        """Those it is quantised with."""
        ...

    def check(self) -> None:
        """Refuse what cannot be encrypted, before any key is touched."""
        ...

    def levels(self, values: slice) -> Words:
        """The levels of the next coordinates, uint64 in [0, L - 1]; in order, each once."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Update:
    """An update that is quantised block by block, as it is encrypted.

    Each coordinate is rounded at random to one of its two neighbouring levels, so that the mean is exact.

    Args:
        values: float[D], in [-B, B] once they are multiplied by the weight; in memory or mapped from a file.
        parameters: Give D, B and the levels.
        rounding: Decides up or down, in order. It protects nobody, so it need not be cryptographic.
        weight: What each coordinate is multiplied by in float64, above 0.
        clip: Move coordinates beyond the bound onto it, instead of refusing them.
    """

    values: NDArray[np.floating]
    parameters: Parameters
    rounding: np.random.Generator
    weight: float = 1.0
    clip: bool = False

    def check(self) -> None:
        """Refuse the whole update by the index of its first wrong coordinate.

        Raises:
            EncryptionError: a wrong length, or a coordinate that is NaN, infinite or beyond the bound.
        """
        if self.values.shape != (self.parameters.num_parameters,):
            raise EncryptionError(
                f"an update of shape {self.values.shape}",
                expected=f"{self.parameters.num_parameters} coordinates as agreed",
            )
        largest = np.inf if self.clip else self.parameters.bound
        for block in blocks(self.parameters, arrays=[self.values]):
            part = self.values[block.values]
            # A maximum with NaN is NaN, which is not within the bound either.
            low, high = self.weight * float(part.min()), self.weight * float(part.max())
            if not (-largest <= low and high <= largest and -np.inf < low and high < np.inf):
                exact = self.weight * np.asarray(part, dtype=np.float64)
                wrong = ~(np.abs(exact) <= largest) | np.isinf(exact)
                _refuse(wrong, exact, "a number within the agreed bound", first=block.values.start)

    def levels(self, values: slice) -> Words:
        """The levels of the next coordinates, uint64 in [0, L - 1]; in order, each once."""
        part, levels = self.values[values], np.empty(values.stop - values.start, dtype=np.int64)
        scale = self.parameters.offset / self.parameters.bound
        for start in range(0, part.size, _PIECE):
            piece = slice(start, start + _PIECE)
            scaled = part[piece].astype(np.float64)
            if self.weight != 1.0:
                scaled *= self.weight
            scaled *= scale
            scaled += self.parameters.offset
            scaled += self.rounding.random(scaled.size)
            # It clips what is beyond the bound, and at the bound itself the last bit of a float64 may lie on either
            # side; what is not negative is cast downwards.
            np.clip(scaled, 0, self.parameters.levels - 1, out=scaled)
            np.copyto(levels[piece], scaled, casting="unsafe")
        return levels.view(np.uint64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Steps:
    """An update in whole steps of the fixed point, made level by level as it is encrypted.

    Args:
        values: int64[D]; what is beyond the outermost level is moved onto it.
        parameters: Give D and the levels.
    """

    values: NDArray[np.int64]
    parameters: Parameters

    def check(self) -> None:
        """Refuse another type or length.

        Raises:
            EncryptionError: it has one.
        """
        if self.values.dtype != np.int64 or self.values.shape != (self.parameters.num_parameters,):
            raise EncryptionError(
                f"steps {self.values.dtype}{list(self.values.shape)}",
                expected=f"{self.parameters.num_parameters} whole numbers as agreed",
            )

    def levels(self, values: slice) -> Words:
        """The levels of some coordinates."""
        offset = self.parameters.offset
        return (np.clip(self.values[values], -offset, offset) + offset).view(np.uint64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Levels:
    """An update that is quantised already.

    Args:
        values: uint64[D] in [0, L - 1], from :func:`quantise`.
        parameters: Those it was quantised with.
    """

    values: Words
    parameters: Parameters

    def check(self) -> None:
        """Refuse what no quantiser made.

        Raises:
            EncryptionError: another type or length, or a level that there is not.
        """
        fits = self.values.dtype == np.uint64 and self.values.shape == (self.parameters.num_parameters,)
        top = self.parameters.levels
        if not (fits and all(self.values[b.values].max() < top for b in blocks(self.parameters, arrays=[self.values]))):
            raise EncryptionError(
                "these levels are not of an update",
                expected=f"{self.parameters.num_parameters} unsigned integers below {top}",
            )

    def levels(self, values: slice) -> Words:
        """The levels of some coordinates."""
        return self.values[values]


def quantise(values: NDArray[np.floating], parameters: Parameters, *, rounding: np.random.Generator) -> Words:
    """Quantise a whole update in memory: see :class:`Update`.

    Args:
        values: float[D] in [-B, B], clipped already.
        parameters: Give D, B and the levels.
        rounding: Decides up or down.

    Returns:
        uint64[D] in [0, L - 1].

    Raises:
        EncryptionError: a wrong length, or a coordinate that is NaN, infinite or beyond the bound, by its index; the
            whole update is refused.

    Guarantees:
        E[(level - offset) * step] is the value (to float64 precision) and the error is below one step.
    """
    return levels_of(Update(values=np.asarray(values), parameters=parameters, rounding=rounding))


def levels_of(source: Source) -> Words:
    """All levels of an update at once, uint64[D].

    Raises:
        EncryptionError: it cannot be encrypted.
    """
    source.check()
    levels = np.empty(source.parameters.num_parameters, dtype=np.uint64)
    for block in blocks(source.parameters, arrays=[source.values]):
        levels[block.values] = source.levels(block.values)
    return levels


def dequantise_sum(level_sums: NDArray[np.uint64], count: int, parameters: Parameters) -> NDArray[np.float64]:
    """Undo :func:`quantise` on a sum of updates.

    Args:
        level_sums: uint64[D], sums of ``count`` levels each.
        count: Number of summed updates, 1 to ``max_holders``.
        parameters: Those the levels were made with.

    Returns:
        float64[D], the sum of the updates, in [-count * B, count * B].

    Raises:
        EncryptionError: a wrong length or count.

    Example:
        >>> agreed = Parameters(scheme="seal", num_parameters=2, max_holders=4, bound=1.0, value_bits=8, rounds=1)
        >>> dequantise_sum(np.array([127, 0], dtype=np.uint64), 1, agreed).tolist()
        [0.0, -1.0]
    """
    if level_sums.shape != (parameters.num_parameters,) or not 1 <= count <= parameters.max_holders:
        raise EncryptionError(
            f"a sum of {count} updates of shape {level_sums.shape}",
            expected=f"1 to {parameters.max_holders} updates of {parameters.num_parameters} coordinates",
        )
    sums = np.empty(level_sums.size)
    dequantise_into(sums, level_sums, count, parameters)
    return sums


def dequantise_into(sums: NDArray[Any], level_sums: Words, count: int, parameters: Parameters) -> None:
    """:func:`dequantise_sum` for any part of a sum, unchecked, into room of its length; level sums go as they are."""
    if sums.dtype == np.uint64:
        sums[:] = level_sums
    else:
        exact = (level_sums.view(np.int64) - count * parameters.offset).astype(np.float64)
        np.multiply(exact, parameters.step, out=sums, casting="same_kind")


def _refuse(wrong: NDArray[np.bool_], values: NDArray[np.float64], expected: str, first: int = 0) -> None:
    """Refuse an update by the index of its first wrong coordinate; its value is data and is not told, unless NaN."""
    if wrong.any():
        index = int(np.argmax(wrong))
        what = "beyond the bound" if np.isfinite(values[index]) else str(values[index])
        raise EncryptionError(
            f"coordinate {first + index} of the update is {what}",
            expected=expected,
            remedy="Nothing was encrypted; check the learning rate and the data of this round.",
        )
