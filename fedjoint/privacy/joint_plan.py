"""What mode ``joint`` adds to a holder's sums, and what the openings of a run therefore cost: public constants only.

Everything is counted in steps of the encryption's fixed-point grid. In each round a holder encrypts D + 2 integers: its
clipped gradient sum rounded to the grid plus its share of discrete Gaussian noise, and two numbers that are noise only.
The first D of all holders add up to the round's opened sum. The last two blur the holder's contribution.

**The opened sums.** Adding or removing one record changes the rounded sum by at most S = ``clip / step + sqrt(D)`` in
L2: the clipped gradient, and one step a coordinate for the rounding. A discrete Gaussian of parameter s is, for
every integer shift alike, what randomised rounding makes of a continuous Gaussian of variance s² - 4, up to a factor
1 ± 4 exp(-8 pi²) a coordinate (smoothing, Peikert 2010, theorem 3.1): post-processing, whatever is composed or sampled.
The sum of m discrete Gaussians of parameter s has the probabilities of one of parameter s sqrt(m) up to a factor
exp(± 10 sum_k exp(-2 pi² s² k / (k + 1))) a coordinate (Kairouz et al. 2021, theorem 10). With s at least 4 both
together come to less than 1e-23 of epsilon for 10^6 coordinates in 10^4 rounds: below what the account resolves.

**The contributions.** The coordinator computes, for holder i and public integers w_t, the one number
sum_t (<w_t, d_it> + L_t e_it + f_it), with d_it the D integers, e_it and f_it the last two, of parameter z =
``contribution_sd``, and |w_t| <= L_t <= z / 4. Sums over the holders of d, e and f are opened too. Given those, one
record moves the mean of d_it by v_t (1 - 1/m), |v_t| <= S, and that of each other honest holder's by -v_t / m, m being
the honest holders of that sum. The noise L_t e_it + f_it, given its sum, has among the holders the covariance
z² (L_t² + 1) (I - 11'/m), along which that shift lies; as f_it has parameter at least z / sqrt(2) > 2.8 L_t, no residue
of L_t shows through and the two are one discrete Gaussian up to exp(-100). The shift is at most S sum_t |w_t| <=
S sqrt(T sum_t L_t²), the noise's deviation at least z sqrt(sum_t L_t²): their ratio never exceeds S sqrt(T) / z,
whatever the w_t. So this is one Gaussian release of multiplier ``contributions_noise_multiplier``, also if it is opened
in several parts; without amplification by sampling. It holds for a coordinator that keeps to the protocol.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fedjoint.agreement.terms import CONTRIBUTION_NOISES, TAILS_OF_DELTA, PrivacyTerms, Terms
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.errors import PrivacyError

__all__ = ["CUT_OFF", "JointPlan", "coarsest_step", "noise_bound"]

#: Rounding to the grid may raise the sensitivity by this fraction.
_INFLATION = 0.01
#: Least noise of a share, in steps: see the module's text.
_LEAST_SD = 4
#: Variance that smoothing takes, in steps².
_SMOOTHING = 4
#: Probability, over a whole run, that noise is cut off at the bound: so little that a lifetime of runs adds up to less
#: than what is kept for it (:func:`fedjoint.privacy.lifetime.cut_off_allowed`).
CUT_OFF = 1e-30


@dataclass(frozen=True, kw_only=True)
class JointPlan:
    """A holder's share of a round.

    Args:
        num_parameters: D, at least 1.
        rounds: T, of the whole run.
        sampling_rate: Probability with which each record takes part in a round, in (0, 1].
        clip_norm: Bound on the L2 norm of one record's gradient.
        step: Of the grid, in units of the gradient.
        noise_multiplier: Of one share, in units of what one record can change.
        contributions_noise_multiplier: Of the opened contributions, likewise.

    Raises:
        PrivacyError: the grid is too coarse for the noise.
    """

    num_parameters: int
    rounds: int
    sampling_rate: float
    clip_norm: float
    step: float
    noise_multiplier: float
    contributions_noise_multiplier: float

    def __post_init__(self) -> None:
        if self.share_sd < _LEAST_SD or self.step > coarsest_step(self.clip_norm, self.num_parameters) * (1 + 1e-9):
            raise PrivacyError(
                f"a grid of {self.step:g} for a clip norm of {self.clip_norm:g} and noise of {self.share_sd} steps",
                expected=f"steps of at most {coarsest_step(self.clip_norm, self.num_parameters):g}, and noise of "
                f"at least {_LEAST_SD} of them",
                remedy="Raise encryption.value_bits or privacy.noise_multiplier.",
            )

    @classmethod
    def of(cls, terms: Terms) -> JointPlan:
        """The plan of agreed terms of mode ``joint``.

        Raises:
            PrivacyError: the grid is too coarse, or its bound too small for what must pass unclipped.
        """
        privacy, parameters = terms.privacy, agreed_parameters(terms)
        assert privacy.clip_norm is not None and privacy.noise_multiplier is not None  # PrivacyTerms made sure
        assert privacy.contributions_noise_multiplier is not None
        plan = cls(
            num_parameters=terms.num_parameters,
            rounds=terms.training.rounds,
            sampling_rate=terms.training.sampling_rate,
            clip_norm=privacy.clip_norm,
            step=parameters.step,
            noise_multiplier=privacy.noise_multiplier,
            contributions_noise_multiplier=privacy.contributions_noise_multiplier,
        )
        largest = max(holder.num_examples for holder in terms.holders)
        least = noise_bound(plan, privacy, num_holders=len(terms.holders), largest_holder=largest)
        if parameters.bound < least:
            raise PrivacyError(
                f"encryption.bound = {parameters.bound:g} in mode joint",
                expected=f"at least {least:g}, so that noise is not cut off",
                remedy="Raise encryption.bound, and encryption.value_bits with it.",
            )
        return plan

    @property
    def sensitivity(self) -> float:
        """What one record can change in a rounded sum, L2, in steps."""
        return self.clip_norm / self.step + math.sqrt(self.num_parameters)

    @property
    def share_sd(self) -> int:
        """Parameter of a share's discrete Gaussian, in steps."""
        return math.ceil(math.hypot(self.noise_multiplier * self.sensitivity, math.sqrt(_SMOOTHING)))

    @property
    def contribution_sd(self) -> int:
        """Parameter of the last two coordinates' discrete Gaussian, in steps."""
        wanted = self.contributions_noise_multiplier * math.sqrt(self.rounds) * self.sensitivity
        return max(_LEAST_SD, math.ceil(math.hypot(wanted, math.sqrt(_SMOOTHING))))

    @property
    def largest_weight_norm(self) -> int:
        """The most that L_t, the weight of the noise in a contribution, may be: see the module's text."""
        return self.contribution_sd // 4


def coarsest_step(clip_norm: float, num_parameters: int) -> float:
    """The coarsest grid on which rounding raises the sensitivity by at most a hundredth.

    Example:
        >>> coarsest_step(1.0, 25)
        0.002
    """
    return _INFLATION * clip_norm / math.sqrt(num_parameters)


def noise_bound(plan: JointPlan, privacy: PrivacyTerms, *, num_holders: int, largest_holder: int) -> float:
    """The least bound of the fixed point at which no coordinate of a share is cut off.

    Clipped gradients cannot exceed it. Noise can, in the whole run with a probability f of at most :data:`CUT_OFF`, for
    which f * (1 + exp(epsilon)) is also at most the part of delta that is kept for it, by the tails of a discrete
    Gaussian: P(|x| >= a sd) <= 2 exp(-a² / 2).

    Args:
        plan: The shares.
        privacy: Gives delta and the larger of both epsilons.
        num_holders: All of the agreement.
        largest_holder: Most examples of one holder.

    Returns:
        In units of the gradient.

    Source:
        Canonne, Kamath, Steinke 2020, corollary 17.
    """
    assert privacy.epsilon is not None and privacy.delta is not None and privacy.epsilon_if_opened is not None
    samples = (plan.num_parameters + CONTRIBUTION_NOISES) * plan.rounds * num_holders
    epsilon = max(privacy.epsilon, privacy.epsilon_if_opened)
    log_failure = min(math.log(CUT_OFF), math.log(TAILS_OF_DELTA * privacy.delta) - float(np.logaddexp(0.0, epsilon)))
    deviations = math.sqrt(2 * (math.log(2 * samples) - log_failure))
    noise = deviations * max(plan.share_sd, plan.contribution_sd) + 1  # one step for the rounding of the sum
    return largest_holder * plan.clip_norm + noise * plan.step
