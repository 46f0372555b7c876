"""What mode ``joint`` adds to a holder's sums, and what the openings of a run therefore cost: public constants only.

Everything is counted in steps of the encryption's fixed-point grid. In each round a holder encrypts D + 2 (J + 1)
integers: its clipped gradient sum rounded to the grid plus its share of discrete Gaussian noise, and J + 1 pairs of
numbers that are noise only. The first D of all holders add up to the round's opened sum. The first pair blurs the
holder's contribution; each of the others one of J ``error_numbers``, more numbers of the same updates that are opened
beside it. N_s stands for the discrete Gaussian, P(k) in proportion to exp(-k² / (2 s²)) over the integers.

**Who is protected, from whom.** A record (or all records of a patient, where that is the unit) of an honest holder,
from whoever sees every opened number and knows the noise of up to t ``colluders``. Two neighbouring data sets differ in
one such unit. The numbers of examples that the agreement states are the same for both: public constants, or releases
that are charged beside what is priced here. The coordinator keeps to the protocol: it has one sum a round opened, of at
least ``minimum_holders``, and contributions and error numbers of the sums that were opened.

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
The sums of the pairs are independent of every record. A round of fewer holders is never opened.

**5. The contributions and their error numbers, given the sums.** For holder i and public integers w_kt, one for each
number k and round t (functions of the reference set and of the opened sums, later ones included: given all sums, the
noises of the rounds are independent), the coordinator computes c_kit = <w_kt, d_it> + L_kt e_kit + f_kit: d_it the D
integers, e_kit and f_kit the pair of number k, of parameter z = ``contribution_sd``. Number 0 is the contribution, with
|w_0t| <= L_0t; in an error number noise weighs M times as much, M |w_kt| <= L_kt; and all L_kt <= z / 4. Whatever is
opened, to all bits or to the leading ones, is made of multiples of the c_kit, added up over rounds, and of noise of the
encryption, which depends on no record: a value m is encrypted as exactly m 2^(60 - ``plain_bits``). So it is enough to
protect the vectors c_it = (c_0it, .., c_Jit) as if each round's were opened; in how many parts a number comes, and how
often a round counts in it, does not matter. Let m_t honest holders be in round t, and let the samples of all other
records be known (their law is the same for both neighbours). Let W have the rows w_kt that are not zero: the other
numbers are noise alone. Given the round's sums, the noise of d_it, e_kit and f_kit has covariance s² P, z² P, z² P
among the honest, with P = I - 11' / m_t; and adding a unit to holder i moves the means of W d_t by W v along P e_i,
with |v| <= S and |P e_i|² = 1 - 1 / m_t <= 1 - 1 / n for n holders in all.

*No residue shows.* The law of the vectors is a sum over the lattice of integer vectors with given totals, whose dual
has no vector shorter than sqrt(1/2). Each L_kt e_kit + f_kit is a discrete Gaussian of parameter² z² (1 + L_kt²), as
what is summed over has parameter² z² / (1 + L_kt²) >= 15 (z >= 200). Given the d_it the numbers are independent of each
other, and the form that the d_it are summed over by, |d|² / s² + sum_k <w_kt, d>² / (z² (1 + L_kt²)), has no eigenvalue
above 1 / s² + Q <= 1/15, with Q = sum_k |w_kt|² / (z L_kt)². So the vectors are a discrete Gaussian of covariance (C +
z² I) P, where C = s² W W' + z² diag(L_kt²): as in step 2, randomised rounding of parameter z makes it of a Gaussian
release of covariance C P. All this is so up to a factor 1 ± 4 m (D + J + 1) exp(-15 pi²).

*The shift.* In every direction u, |W' u| <= sum_k |u_k| |w_kt| <= sqrt(Q sum_k u_k² z² L_kt²) by Cauchy-Schwarz. So the
variance u' C u is at least (s² + 1 / Q) |W' u|², and the shift <u, W v> is at most S |W' u|: over all T rounds at most
S sqrt(T (1 - 1 / n)) / sqrt(s² + 1 / Q) deviations, whatever the w_kt. Whether the unit was sampled only mixes such
shifts. So contributions and error numbers together are one more Gaussian release, of multiplier
``contributions_noise_multiplier``. Sampling is not counted on.

*Who pays.* Q <= 1 / z² + J / (M z)² = (1 + b) / z², as M² = J / b: the error numbers together cost b = ``ERRORS_PART``
of what the contribution costs, in 1 / noise². Where there are any, z² is 1 + b times what a contribution alone needs,
so that 1 / Q is what it is without.

**6. If one ciphertext were opened.** Its share alone protects the holder: ``noise_multiplier`` itself in every round.
Its contribution and error numbers are functions of what was opened and of the other holders' shares.

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
from fractions import Fraction

from fedjoint.agreement.terms import CONTRIBUTION_NOISES, PrivacyTerms, Terms
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.errors import PrivacyError
from fedjoint.privacy.sum_plan import deviations_kept, most_examples

__all__ = ["ERRORS_PART", "JointPlan", "coarsest_step", "noise_bound"]

#: What all error numbers of a holder together cost, as a part of what its contribution costs, in 1 / noise².
ERRORS_PART = Fraction(1, 2)

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
        contributions_noise_multiplier: Of the opened contributions and their error numbers together, likewise.
        error_numbers: J, numbers of a holder that are opened beside its contribution, at least 0.

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
    error_numbers: int = 0

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
            error_numbers=terms.valuation.error_numbers,
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
    def contribution_noises(self) -> int:
        """How many of an update's last coordinates are noise only: a pair for each number that is opened at the end."""
        return CONTRIBUTION_NOISES * (1 + self.error_numbers)

    @property
    def contribution_sd(self) -> int:
        """Parameter of those coordinates' discrete Gaussian, in steps: what the share's own noise leaves to add.

        It is never so small that the integer weights of a contribution, at most a quarter of it, would be coarse.
        """
        spread = math.sqrt(self.rounds * (1 - 1 / self.num_holders)) * self.sensitivity
        wanted = (self.contributions_noise_multiplier * spread) ** 2 + _SMOOTHING
        alone = max(_FINE_WEIGHTS * math.sqrt(self.num_parameters), math.sqrt(max(wanted - self.share_sd**2, 0)))
        return math.ceil(alone * math.sqrt(1 + ERRORS_PART) if self.error_numbers else alone)

    @property
    def largest_weight_norm(self) -> int:
        """The most that L_0t, the weight of the noise in a contribution, may be: see the module's text."""
        return self.contribution_sd // 4

    @property
    def largest_error_norm(self) -> int:
        """The most that |w_kt|, rounded up, may be in an error number, whose noise weighs more; 0 without any."""
        if not self.error_numbers:
            return 0
        return math.isqrt(math.floor(self.largest_weight_norm**2 * ERRORS_PART / self.error_numbers))

    def error_noise_weight(self, norm: int) -> int:
        """The weight L_kt of the noise in an error number: the least whole number that is not below M norm.

        Args:
            norm: |w_kt| rounded up, at least 0; at most :attr:`largest_error_norm` where no residue may show.

        Raises:
            PrivacyError: no error numbers were agreed, so there is no noise for one.

        Example:
            >>> plan = JointPlan(num_parameters=4, num_holders=3, rounds=3, sampling_rate=1.0, clip_norm=1.0,
            ...     step=0.001, noise_multiplier=2.0, contributions_noise_multiplier=9.0, error_numbers=8)
            >>> plan.error_noise_weight(100), plan.error_noise_weight(plan.largest_error_norm), plan.largest_weight_norm
            (400, 3856, 3856)
        """
        if not self.error_numbers:
            raise PrivacyError(
                "a noise weight for an error number", expected="none: valuation.error_numbers is 0 in this agreement"
            )
        square = math.ceil(self.error_numbers * norm**2 / ERRORS_PART)
        return math.isqrt(square - 1) + 1 if square else 0


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
    samples = (plan.num_parameters + plan.contribution_noises) * plan.rounds * plan.num_holders
    # one step for the rounding of the sum
    noise = deviations_kept(privacy, samples) * max(plan.share_sd, plan.contribution_sd) + 1
    return largest_holder * plan.clip_norm + noise * plan.step
