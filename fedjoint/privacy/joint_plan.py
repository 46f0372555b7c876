"""What mode ``joint`` adds to a holder's sums, and what the openings of a run therefore cost: public constants only.

Everything is counted in steps of the encryption's fixed-point grid. In each round a holder encrypts D + 2 integers: its
clipped gradient sum rounded to the grid plus its share of discrete Gaussian noise, and two numbers that are noise only.
The first D of all holders add up to the round's opened sum. The last two blur the holder's contribution. N_s stands for
the discrete Gaussian, P(k) in proportion to exp(-k² / (2 s²)) over the integers.

**Who is protected, from whom.** A record (or all records of a patient, where that is the unit) of an honest holder,
from whoever sees every opened number and knows the noise of up to t ``colluders``. Two neighbouring data sets differ in
one such unit. The numbers of examples that the agreement states are the same for both: public constants, or releases
that are charged beside what is priced here. The coordinator keeps to the protocol: it has one sum a round opened, of at
least ``minimum_holders``, and contributions of the sums that were opened.

**1. Sensitivity.** A unit changes the exact sum by at most ``clip_norm``, and rounding moves each coordinate by at
most 1/2 on either side: S = ``clip_norm / step + sqrt(D)`` in L2, in whole numbers.

**2. One share is Gaussian.** Around any real centre, the sum of exp(-(k - x)² / 8) over the integers is the same up
to a factor 1 ± 2 exp(-8 pi²) (Poisson's formula). So N_s is what randomised rounding makes of a continuous Gaussian of
variance s² - 4, up to 1 ± 4 exp(-8 pi²) a coordinate (Peikert 2010, theorem 3.1), and so is N_s shifted by any integer:
post-processing of a Gaussian release, whatever is composed, sampled or chosen adaptively.

**3. A sum of shares is Gaussian.** m shares N_s add up to N of parameter s sqrt(m) up to exp(± 10 sum_k exp(-2 pi² s²
k / (k + 1))) a coordinate (Kairouz et al. 2021, sums of discrete Gaussians). With s >= 4, steps 2 and 3 together come
to less than 1e-23 of epsilon for 10^6 coordinates in 10^4 rounds: below what the account resolves.

**4. The opened sums.** At least m = ``minimum_holders`` - t shares are honest, so a round is a Gaussian release of
multiplier ``noise_multiplier * sqrt(m)`` or more on a Poisson sample: what :mod:`fedjoint.privacy.accounting` composes.
The sums of the last two coordinates are independent of every record. A round of fewer holders is never opened.

**5. The contributions, given the sums.** For holder i and public integers w_t (functions of the opened sums, later
ones included: given all sums, the noises of the rounds are independent), the coordinator computes sum_t (<w_t, d_it> +
L_t e_it + f_it): d_it the D integers, e_it and f_it the last two, of parameter z = ``contribution_sd``, and |w_t| <=
L_t <= z / 4. Let m_t honest holders be in round t, and let the samples of all other records be known (their law is the
same for both neighbours). Given the round's sums, the noise of d_it, e_it and f_it has covariance s² P, z² P, z² P
among the honest, with P = I - 11' / m_t; and adding a unit to holder i moves the means of <w_t, d_t> along P e_i, by
at most S |w_t| |P e_i|, |P e_i|² = 1 - 1 / m_t <= 1 - 1 / n for n holders in all. Written as one sum over the lattice
of integer vectors with a given total, the law of the contributions is a discrete Gaussian of covariance at least (z²
L_t² + s² |w_t|²) P, because what is summed over has parameter² at least 1 / (1 / s² + 1 / z²) >= 8 and z² / (1 + L_t²)
>= 8, and the lattice's dual has no vector shorter than sqrt(1/2): no residue shows but for a factor 1 ± 2 m exp(-8
pi²). By Cauchy-Schwarz, the shift over all T rounds is, in every direction, at most S sqrt(T (1 - 1 / n)) / sqrt(z² +
s²) deviations, whatever the w_t. Whether the unit was sampled only mixes such shifts. So the contributions are one
more Gaussian release, of multiplier ``contributions_noise_multiplier``, also if a holder's comes in several parts
(each round is in one). Sampling is not counted on.

**6. If one ciphertext were opened.** Its share alone protects the holder: ``noise_multiplier`` itself in every round.
Its contribution is a function of what was opened and of the other holders' shares.

**7. Tails.** What the grid's bound would cut off has, in the whole run, a probability f with f (1 + exp(epsilon))
within the part of delta that is kept for it (:func:`noise_bound`); a run in which nothing is cut off is the one above.

Not covered: time, refusals, and a coordinator that cheats (``SECURITY.md``).

Source:
    Canonne, Kamath, Steinke 2020, "The discrete Gaussian for differential privacy"; Kairouz, Liu, Steinke 2021, "The
    distributed discrete Gaussian mechanism"; Peikert 2010, "An efficient and parallel Gaussian sampler for lattices".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedjoint.agreement.terms import CONTRIBUTION_NOISES, PrivacyTerms, Terms
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.errors import PrivacyError
from fedjoint.privacy.sum_plan import deviations_kept, most_examples

__all__ = ["JointPlan", "coarsest_step", "noise_bound"]

#: Rounding to the grid may raise the sensitivity by this fraction.
_INFLATION = 0.01
#: Least noise of a share, in steps: see the module's text.
_LEAST_SD = 4
#: Least noise of a contribution for each root of a parameter: weights of a quarter of it, and a quarter of that where
#: gradients grow, still have 12 steps a coordinate.
_FINE_WEIGHTS = 200
#: Variance that smoothing takes, in steps².
_SMOOTHING = 4


@dataclass(frozen=True, kw_only=True)
class JointPlan:
    """A holder's share of a round.

    Args:
        num_parameters: D, at least 1.
        num_holders: n, all of the agreement.
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
    num_holders: int
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
            num_holders=len(terms.holders),
            rounds=terms.training.rounds,
            sampling_rate=terms.training.sampling_rate,
            clip_norm=privacy.clip_norm,
            step=parameters.step,
            noise_multiplier=privacy.noise_multiplier,
            contributions_noise_multiplier=privacy.contributions_noise_multiplier,
        )
        least = noise_bound(plan, privacy, largest_holder=most_examples(terms))
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
        """Parameter of the last two coordinates' discrete Gaussian, in steps: what the share's own noise leaves to add.

        It is never so small that the integer weights of a contribution, at most a quarter of it, would be coarse.
        """
        spread = math.sqrt(self.rounds * (1 - 1 / self.num_holders)) * self.sensitivity
        wanted = (self.contributions_noise_multiplier * spread) ** 2 + _SMOOTHING
        return math.ceil(
            max(_FINE_WEIGHTS * math.sqrt(self.num_parameters), math.sqrt(max(wanted - self.share_sd**2, 0)))
        )

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


def noise_bound(plan: JointPlan, privacy: PrivacyTerms, *, largest_holder: int) -> float:
    """The least bound of the fixed point at which no coordinate of a share is cut off.

    Clipped gradients cannot exceed it. Noise can, with a probability that delta has room for
    (:func:`fedjoint.privacy.sum_plan.deviations_kept`).

    Args:
        plan: The shares.
        privacy: Gives delta and the larger of both epsilons.
        largest_holder: From :func:`fedjoint.privacy.sum_plan.most_examples`.

    Returns:
        In units of the gradient.
    """
    samples = (plan.num_parameters + CONTRIBUTION_NOISES) * plan.rounds * plan.num_holders
    # one step for the rounding of the sum
    noise = deviations_kept(privacy, samples) * max(plan.share_sd, plan.contribution_sd) + 1
    return largest_holder * plan.clip_norm + noise * plan.step
