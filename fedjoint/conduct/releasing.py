"""How much of a run's epsilon goes to what is released beside updates and contributions: statistics, metrics, sizes."""

from __future__ import annotations

import math

from fedjoint.agreement.release_terms import ReleaseTerms
from fedjoint.agreement.terms import TAILS_OF_DELTA, TrainingTerms
from fedjoint.config import PrivacyConfig, SimulationConfig
from fedjoint.errors import PrivacyError
from fedjoint.privacy.accounting import noise_multiplier_for
from fedjoint.privacy.events import GaussianEvent, Ledger, costs
from fedjoint.privacy.releases import size_release

__all__ = ["agreed_releases", "honest_holders", "sizes_noise", "spent_on"]

#: The part of 1 / noise², summed over releases, that each of them gets.
_PART = 0.1
#: The same of all validation gradients together.
_VALIDATION_PART = 0.2


def agreed_releases(config: SimulationConfig, training: TrainingTerms) -> ReleaseTerms:
    """The releases that a configuration asks for, each with its part of what epsilon allows (in 1 / noise²).

    A tenth is for statistics, a tenth for metrics, a fifth for the holders' validation gradients of all rounds.

    Raises:
        PrivacyError: they are asked for without a privacy mode or its epsilon.
    """
    privacy = config.privacy
    statistics, metrics = config.data.standardise == "private", privacy.metrics
    by_holders, sizes = config.valuation.reference == "holders", sizes_noise(privacy)
    if privacy.mode == "none" and by_holders and not (statistics or metrics):
        return ReleaseTerms(held_out=privacy.held_out)
    if not (statistics or metrics or by_holders):
        return ReleaseTerms(sizes_noise_multiplier=sizes)
    if privacy.mode == "none" or privacy.epsilon is None or privacy.delta is None:
        raise PrivacyError(
            "data.standardise=private or privacy.metrics=true without an epsilon to charge them to",
            remedy="Choose a privacy mode, with epsilon and delta.",
        )
    accounted = privacy.delta * (1 - TAILS_OF_DELTA)
    whole = noise_multiplier_for(privacy.epsilon, accounted, sampling_rate=1.0, steps=1)
    # a hair more: the root must not round below what the whole needs
    of_a_holder = whole / math.sqrt(honest_holders(privacy, training)) * (1 + 1e-12)
    share = of_a_holder * _PART**-0.5
    return ReleaseTerms(
        statistics_noise_multiplier=share if statistics else None,
        metrics_noise_multiplier=share if metrics else None,
        sizes_noise_multiplier=sizes,
        validation_noise_multiplier=of_a_holder * (training.rounds / _VALIDATION_PART) ** 0.5 if by_holders else None,
        held_out=privacy.held_out if metrics or by_holders else 0.0,
    )


def sizes_noise(privacy: PrivacyConfig) -> float | None:
    """Noise on the number of each holder's examples, in examples; None where that number is a public constant."""
    return None if privacy.mode == "none" else privacy.sizes_noise_multiplier


def spent_on(releases: ReleaseTerms, rounds: int, honest: int = 1) -> Ledger:
    """What they cost over so many rounds with the noise of so many holders; of one: if its ciphertexts were opened.

    A size is a holder's own release, with all of the noise.
    """
    noise = releases.sizes_noise_multiplier
    own = () if noise is None else costs([size_release(noise)])
    noises = (
        (releases.statistics_noise_multiplier, 1),
        (releases.metrics_noise_multiplier, 1),
        (releases.validation_noise_multiplier, rounds),
    )
    return own + tuple(
        GaussianEvent(sampling_rate=1.0, noise_multiplier=noise * math.sqrt(honest), count=count)
        for noise, count in noises
        if noise is not None
    )


def honest_holders(privacy: PrivacyConfig, training: TrainingTerms) -> int:
    """How many holders' noise an opened sum carries at least that no coalition agreed upon can subtract."""
    return max(training.minimum_holders - (privacy.colluders or 0), 1) if privacy.mode == "joint" else 1
