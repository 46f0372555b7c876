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

from fedjoint.agreement.release_terms import SCORE_BINS, SMALL_CELL
from fedjoint.agreement.terms import TAILS_OF_DELTA, PrivacyTerms, Terms
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.errors import PrivacyError

__all__ = [
    "CUT_OFF",
    "SumPlan",
    "deviations_kept",
    "finest_plan",
    "metrics_plan",
    "most_examples",
    "size_plan",
    "stated_size",
]

_LEAST_SD, _SMOOTHING = 4, 4
_MOST_STEPS = 4096
#: Of a count's grid: noise below one is not rounded up to one.
_STEPS_OF_A_COUNT = 16
#: Probability, over a whole run, that noise is cut off at the bound: so little that a lifetime of runs adds up to less
#: than what is kept for it (:func:`fedjoint.privacy.lifetime.cut_off_allowed`).
CUT_OFF = 1e-30
#: So many kinds of noise may each be cut off.
_KINDS = 5


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
    length: int,
    sensitivity: float,
    *,
    noise_multiplier: float,
    whole: bool,
    largest: float,
    offset: int,
    deviations: float,
) -> SumPlan:
    """The finest grid on which no holder's noisy sums are cut off.

    Args:
        length: How many numbers.
        sensitivity: As in :class:`SumPlan`.
        noise_multiplier: As there.
        whole: As there.
        largest: The largest absolute sum of one holder.
        offset: Largest absolute value that the encryption holds, in steps.
        deviations: From :func:`deviations_kept`, for the numbers of all holders.

    Raises:
        PrivacyError: the encryption's values have too few bits.
    """
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
        largest=most_examples(terms),
        offset=agreed_parameters(terms).offset,
        deviations=deviations_kept(terms.privacy, 2 * SCORE_BINS * len(terms.holders)),
    )


def size_plan(noise_multiplier: float) -> SumPlan:
    """Of one count of examples, to which a holder adds all of the noise itself: one example more changes it by one."""
    return SumPlan(length=1, sensitivity=1.0, noise_multiplier=noise_multiplier, steps=_STEPS_OF_A_COUNT, whole=True)


def stated_size(noisy: float) -> int:
    """What of a noisy count an agreement states: a whole number, and a small one as the least that is ever stated.

    Example:
        >>> stated_size(302.6), stated_size(3.2), stated_size(-7.0)
        (303, 10, 10)
    """
    return max(SMALL_CELL, round(noisy))


def most_examples(terms: Terms) -> int:
    """More examples than any holder has, by public constants: the largest number stated, and what noise may hide of it.

    Guarantees:
        Exceeded with a probability as in :func:`deviations_kept` if the numbers were released with noise, else never.
    """
    largest, noise = max(holder.num_examples for holder in terms.holders), terms.releases.sizes_noise_multiplier
    if noise is None:
        return largest
    return largest + math.ceil(deviations_kept(terms.privacy, len(terms.holders)) * size_plan(noise).sd(1)) + 1


def deviations_kept(privacy: PrivacyTerms, draws: int) -> float:
    """How far out noise is still kept, in its standard deviations: P(|x| >= a sd) <= 2 exp(-a² / 2).

    Args:
        privacy: Gives delta and the larger of both epsilons; without privacy only :data:`CUT_OFF` counts.
        draws: Of discrete Gaussians, in the whole run.

    Returns:
        a, so that any of them is further out with a probability f of at most :data:`CUT_OFF`, for which five times
        f (1 + exp(epsilon)) is also at most the part of delta that is kept for it: gradients, statistics, validation,
        metrics and sizes may each be cut off.

    Source:
        Canonne, Kamath, Steinke 2020, corollary 17 (tails of the discrete Gaussian).
    """
    log_failure = math.log(CUT_OFF)
    if privacy.epsilon is not None and privacy.delta is not None:
        epsilon = max(privacy.epsilon, privacy.epsilon_if_opened or 0.0)
        kept = math.log(TAILS_OF_DELTA * privacy.delta / _KINDS) - float(np.logaddexp(0.0, epsilon))
        log_failure = min(log_failure, kept)
    return math.sqrt(2 * (math.log(2 * draws) - log_failure))
