"""What was released, as frozen facts; :mod:`fedjoint.privacy.accounting` says what it cost.

A ledger is a tuple of events in the order they happened. It only ever grows.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fedjoint.errors import InvalidValue
from fedjoint.strict import strict

__all__ = [
    "MAX_STEPS",
    "PURPOSES",
    "GaussianEvent",
    "Ledger",
    "Purpose",
    "Release",
    "Releases",
    "append",
    "costs",
    "costs_if_opened",
    "num_steps",
]

#: More steps than any run takes; a count above it is a mistake, not a plan.
MAX_STEPS = 10**9


@strict
@dataclass(frozen=True, kw_only=True)
class GaussianEvent:
    """Sums of clipped gradients over Poisson samples, each released with Gaussian noise.

    Args:
        sampling_rate: Probability with which each record took part, independently, in (0, 1]; 1: every record.
            It is the rate really used for sampling, never batch size over number of records after shuffling.
        noise_multiplier: Standard deviation of the noise in units of the clip norm, 1e-6 to 1e6.
        count: How many such releases, 1 to 1e9.

    Raises:
        InvalidValue: a value is outside its range.

    Example:
        >>> GaussianEvent(sampling_rate=1.0, noise_multiplier=10.0).count
        1
    """

    sampling_rate: float
    noise_multiplier: float
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.sampling_rate <= 1:
            raise InvalidValue(f"sampling_rate = {self.sampling_rate}", expected="a probability in (0, 1]")
        if not (math.isfinite(self.noise_multiplier) and 1e-6 <= self.noise_multiplier <= 1e6):
            raise InvalidValue(
                f"noise_multiplier = {self.noise_multiplier}",
                expected="a number from 1e-6 to 1e6",
                remedy="A release without noise has no finite epsilon and is not an event.",
            )
        if not 1 <= self.count <= MAX_STEPS:
            raise InvalidValue(f"count = {self.count}", expected=f"1 to {MAX_STEPS}")


Ledger: TypeAlias = tuple[GaussianEvent, ...]
#: What a release is for: every line of an account has one of these names.
Purpose: TypeAlias = Literal["training", "statistics", "validation", "contributions", "metrics", "sizes"]
PURPOSES: tuple[Purpose, ...] = ("training", "statistics", "validation", "contributions", "metrics", "sizes")


@strict
@dataclass(frozen=True, kw_only=True)
class Release:
    """What leaves a holder, by name, and what it costs.

    Args:
        purpose: What it is for.
        event: What it costs against whoever sees what is opened.
        if_opened: What it would cost if the holder's own ciphertexts were opened, so that its own noise alone
            protected it; None: nothing beyond the other releases, as it is computed from them.

    Raises:
        InvalidValue: the two are not of the same number of releases.
    """

    purpose: Purpose
    event: GaussianEvent
    if_opened: GaussianEvent | None

    def __post_init__(self) -> None:
        if self.if_opened is not None and self.if_opened.count != self.event.count:
            raise InvalidValue(
                f"{self.event.count} releases for {self.purpose} would be {self.if_opened.count} if opened",
                expected="the same number",
            )

    def times(self, count: int) -> Release:
        """So many of the same.

        Raises:
            InvalidValue: the count is out of range.
        """
        if_opened = None if self.if_opened is None else dataclasses.replace(self.if_opened, count=count)
        return Release(purpose=self.purpose, event=dataclasses.replace(self.event, count=count), if_opened=if_opened)


Releases: TypeAlias = tuple[Release, ...]


def costs(releases: Iterable[Release]) -> Ledger:
    """What releases cost against whoever sees what is opened."""
    return tuple(release.event for release in releases)


def costs_if_opened(releases: Iterable[Release]) -> Ledger:
    """What they would cost if the holder's own ciphertexts were opened."""
    return tuple(release.if_opened for release in releases if release.if_opened is not None)


def append(ledger: Ledger, event: GaussianEvent) -> Ledger:
    """Write one more event at the end, adding counts where the last event was of the same kind.

    Merging keeps the ledger of a long run short; it never changes what the ledger costs.

    Args:
        ledger: What has happened so far.
        event: What happened now.

    Returns:
        A new ledger; the old one is unchanged.

    Raises:
        InvalidValue: the merged count is above ``MAX_STEPS``.

    Example:
        >>> step = GaussianEvent(sampling_rate=1.0, noise_multiplier=10.0)
        >>> append(append((), step), step)
        (GaussianEvent(sampling_rate=1.0, noise_multiplier=10.0, count=2),)
    """
    if not ledger:
        return (event,)
    last, rate, noise = ledger[-1], event.sampling_rate, event.noise_multiplier
    if (last.sampling_rate, last.noise_multiplier) != (rate, noise):
        return (*ledger, event)
    both = GaussianEvent(sampling_rate=rate, noise_multiplier=noise, count=last.count + event.count)
    return (*ledger[:-1], both)


def num_steps(ledger: Ledger) -> int:
    """How many releases a ledger holds.

    Example:
        >>> num_steps((GaussianEvent(sampling_rate=0.5, noise_multiplier=2.0, count=7),))
        7
    """
    return sum(event.count for event in ledger)
