"""How sums over records are counted and blurred: public constants only.

As for gradients (:mod:`fedjoint.privacy.joint_plan`): values are counted in steps of a grid, one record changes the
rounded sums by at most S in L2, and each holder adds a discrete Gaussian of parameter s = hypot(multiplier * S, 2).
What is opened is then at least as private as a Gaussian release of the multiplier, times the root of the honest holders
in mode ``joint``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedjoint.agreement.release_terms import SCORE_BINS
from fedjoint.agreement.terms import Terms
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.errors import PrivacyError
from fedjoint.privacy.joint_plan import CUT_OFF

__all__ = ["SumPlan", "finest_plan", "metrics_plan"]

_LEAST_SD, _SMOOTHING = 4, 4
_MOST_STEPS = 4096


@dataclass(frozen=True, kw_only=True)
class SumPlan:
    """Sums of one kind; public constants only.

    Args:
        length: How many numbers, at least 1.
        sensitivity: The most that one record changes them by, L2, before rounding.
        noise_multiplier: Of one holder's noise, in units of what one record can change; 0 without privacy.
        steps: Of the grid in a unit, a whole number: sums of whole numbers are not rounded.
        whole: Whether they are.
    """

    length: int
    sensitivity: float
    noise_multiplier: float
    steps: int
    whole: bool

    @property
    def share_sd(self) -> int:
        """Parameter of a holder's discrete Gaussian, in steps; 0 without privacy."""
        if not self.noise_multiplier:
            return 0
        of_one_record = self.sensitivity * self.steps + (0.0 if self.whole else math.sqrt(self.length))
        return max(_LEAST_SD, math.ceil(math.hypot(self.noise_multiplier * of_one_record, math.sqrt(_SMOOTHING))))

    def read(self, total: NDArray[np.int64]) -> NDArray[np.float64]:
        """The opened sum of several holders in units, float64 [length]."""
        return total.astype(np.float64) / self.steps

    def sd(self, num_holders: int) -> float:
        """Standard deviation of the noise in such a sum, in units."""
        return self.share_sd * math.sqrt(num_holders) / self.steps


def finest_plan(
    length: int, sensitivity: float, *, noise_multiplier: float, whole: bool, largest: float, offset: int, holders: int
) -> SumPlan:
    """The finest grid on which no holder's noisy sums are cut off, but with the probability :data:`CUT_OFF`.

    Args:
        length: How many numbers.
        sensitivity: As in :class:`SumPlan`.
        noise_multiplier: As there.
        whole: As there.
        largest: The largest absolute sum of one holder.
        offset: Largest absolute value that the encryption holds, in steps.
        holders: All of the agreement.

    Raises:
        PrivacyError: the encryption's values have too few bits.

    Source:
        Canonne, Kamath, Steinke 2020, corollary 17 (tails of the discrete Gaussian).
    """
    deviations = math.sqrt(2 * (math.log(2 * length * holders) - math.log(CUT_OFF)))
    for steps in (2**power for power in range(int(math.log2(_MOST_STEPS)), -1, -1)):
        plan = SumPlan(
            length=length, sensitivity=sensitivity, noise_multiplier=noise_multiplier, steps=steps, whole=whole
        )
        if largest * steps + deviations * plan.share_sd + 1 <= offset:
            return plan
    raise PrivacyError(
        f"sums of up to {largest:g} with noise do not fit values of at most {offset} steps",
        remedy="Raise encryption.value_bits.",
    )


def metrics_plan(terms: Terms) -> SumPlan:
    """Of the histogram for metrics: one record is one count.

    Raises:
        PrivacyError: no metrics were agreed, or they do not fit the encryption.
    """
    noise = terms.releases.metrics_noise_multiplier
    if noise is None:
        raise PrivacyError("no metrics were agreed to be released", remedy="Agree on them first.")
    return finest_plan(
        2 * SCORE_BINS,
        1.0,
        noise_multiplier=noise,
        whole=True,
        largest=max(holder.num_examples for holder in terms.holders),
        offset=agreed_parameters(terms).offset,
        holders=len(terms.holders),
    )
