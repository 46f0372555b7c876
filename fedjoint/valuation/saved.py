"""What is kept of encrypted contributions between two processes, but for their polynomials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from fedjoint.encryption.coarse import CoarseSample
from fedjoint.encryption.dot import Sample
from fedjoint.encryption.parameters import DEGREE
from fedjoint.encryption.words import Words
from fedjoint.strict import strict

__all__ = [
    "SavedContributions",
    "SavedErrors",
    "SavedPart",
    "SavedSample",
    "polynomials_of",
    "with_polynomials",
]


@strict
@dataclass(frozen=True, kw_only=True)
class SavedSample:
    """A sample but for its polynomial; integers that JSON has no room for are decimal strings."""

    b: str
    squared_norm: str
    terms: int


@strict
@dataclass(frozen=True, kw_only=True)
class SavedPart:
    """A part of all contributions: its factor and each holder's sample."""

    factor: float
    samples: dict[str, SavedSample]


@strict
@dataclass(frozen=True, kw_only=True)
class SavedErrors:
    """The numbers from which errors are estimated.

    Args:
        factor: Scale of the integer weights; None before the first round.
        samples: For each number, holder to its sample.
        reach: For each number, holder to what it can be at most, in units of the utility.
        masks: For each number, holder to its mask, a decimal string; empty before they are masked.
    """

    factor: float | None = None
    samples: tuple[dict[str, SavedSample], ...] = ()
    reach: tuple[dict[str, float], ...] = ()
    masks: tuple[dict[str, str], ...] = ()


@strict
@dataclass(frozen=True, kw_only=True)
class SavedContributions:
    """An :class:`fedjoint.valuation.encrypted.EncryptedContributions` but for its polynomials.

    Args:
        parts: In order.
        weights: Holder to the sums of squared weights of updates and of noise for its contribution.
        masks: For each part, holder to its mask, a decimal string; empty before the contributions are masked.
        errors: The numbers for errors.
    """

    parts: tuple[SavedPart, ...] = ()
    weights: dict[str, tuple[float, float]] = field(default_factory=dict)
    masks: tuple[dict[str, str], ...] = ()
    errors: SavedErrors = SavedErrors()


def polynomials_of(samples: Mapping[str, Sample | CoarseSample]) -> bytes:
    """The polynomials of samples, sorted by holder, as little-endian uint64."""
    return b"".join(one.a.astype("<u8").tobytes() for _, one in sorted(samples.items()))


def with_polynomials(samples: Mapping[str, SavedSample], data: bytes) -> Iterator[tuple[str, SavedSample, Words]]:
    """Holder, sample and polynomial of what :func:`polynomials_of` wrote."""
    rows = np.frombuffer(data, dtype="<u8").astype(np.uint64).reshape(-1, DEGREE)
    return ((holder, one, row) for (holder, one), row in zip(sorted(samples.items()), rows, strict=True))
