"""How much of a run's epsilon goes to what is released beside updates and contributions: statistics and metrics."""

from __future__ import annotations

import math

from fedjoint.agreement.release_terms import ReleaseTerms
from fedjoint.agreement.terms import TAILS_OF_DELTA, TrainingTerms
from fedjoint.config import PrivacyConfig, SimulationConfig
from fedjoint.errors import PrivacyError
from fedjoint.privacy.accounting import noise_multiplier_for
from fedjoint.privacy.events import GaussianEvent, Ledger

__all__ = ["agreed_releases", "honest_holders", "spent_on"]

#: The part of 1 / noise², summed over releases, that each of them gets.
_PART = 0.1


def agreed_releases(config: SimulationConfig, training: TrainingTerms) -> ReleaseTerms:
    """The releases that a configuration asks for, each with a tenth of what epsilon allows (in 1 / noise²).

    Raises:
        PrivacyError: they are asked for without a privacy mode or its epsilon.
    """
    privacy = config.privacy
    statistics, metrics = config.data.standardise == "private", privacy.metrics
    if not (statistics or metrics):
        return ReleaseTerms()
    if privacy.mode == "none" or privacy.epsilon is None or privacy.delta is None:
        raise PrivacyError(
            "data.standardise=private or privacy.metrics=true without an epsilon to charge them to",
            remedy="Choose a privacy mode, with epsilon and delta.",
        )
    accounted = privacy.delta * (1 - TAILS_OF_DELTA)
    noise = noise_multiplier_for(privacy.epsilon, accounted, sampling_rate=1.0, steps=1) * _PART**-0.5
    # a hair more: the root must not round below what the whole needs
    share = noise / math.sqrt(honest_holders(privacy, training)) * (1 + 1e-12)
    return ReleaseTerms(
        statistics_noise_multiplier=share if statistics else None,
        metrics_noise_multiplier=share if metrics else None,
        held_out=privacy.held_out if metrics else 0.0,
    )


def spent_on(releases: ReleaseTerms, honest: int = 1) -> Ledger:
    """What they cost with the noise of so many holders; of one: if a holder's ciphertexts were opened."""
    noises = (releases.statistics_noise_multiplier, releases.metrics_noise_multiplier)
    return tuple(
        GaussianEvent(sampling_rate=1.0, noise_multiplier=noise * math.sqrt(honest))
        for noise in noises
        if noise is not None
    )


def honest_holders(privacy: PrivacyConfig, training: TrainingTerms) -> int:
    """How many holders' noise an opened sum carries at least that no coalition agreed upon can subtract."""
    return max(training.minimum_holders - (privacy.colluders or 0), 1) if privacy.mode == "joint" else 1
