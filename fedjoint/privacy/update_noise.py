"""How much privacy noise stands in one coordinate of what a holder encrypts: public constants only."""

from __future__ import annotations

import math

from fedjoint.agreement.terms import PrivacyTerms, Terms, TrainingTerms
from fedjoint.privacy.joint_plan import JointPlan

__all__ = ["least_local_noise_sd", "local_noise_sd", "longest_projection", "longest_update", "update_noise_sd"]

#: Noise in one direction is not further out: one draw in 10^15.
_DEVIATIONS = 8.0
#: A Poisson sample is not taken to be more than so many times as large as expected.
_LARGE_SAMPLE = 2.0


def local_noise_sd(training: TrainingTerms, privacy: PrivacyTerms, *, expected_batch_size: float) -> float:
    """Standard deviation of the noise in one coordinate of an unweighted update of mode ``local``; without noise 0.

    Each of K local steps adds ``learning rate * noise multiplier * clip norm / expected batch`` to the parameters,
    independently; FedProx pulls each step's noise back in every later one. What a later step's gradient makes of the
    noise of an earlier one is of second order and not counted.

    Args:
        training: As agreed.
        privacy: As agreed.
        expected_batch_size: What noisy sums are divided by; for a weighted update, that over the weight.
    """
    if privacy.clip_norm is None or privacy.noise_multiplier is None:
        return 0.0
    per_step = training.learning_rate * privacy.noise_multiplier * privacy.clip_norm
    left = (1 - training.learning_rate * training.proximal) ** 2  # of its variance, after one more step
    steps = math.fsum(left**later for later in range(training.local_steps))
    return per_step * math.sqrt(steps) / expected_batch_size


def update_noise_sd(terms: Terms, holder_id: str) -> float:
    """Standard deviation of the noise in one coordinate of a holder's weighted update of one round.

    ``local``: see :func:`local_noise_sd`. ``joint``: the share, in units of the gradient sum. ``none``: 0.

    Args:
        terms: The agreement.
        holder_id: One of its holders.

    Raises:
        InvalidValue: no such holder.
    """
    if terms.privacy.mode == "joint":
        plan = JointPlan.of(terms)
        return plan.share_sd * plan.step
    trained_on = (1 - terms.releases.held_out) * terms.holder(holder_id).num_examples
    expected = terms.training.sampling_rate * trained_on / terms.weight(holder_id)
    return local_noise_sd(terms.training, terms.privacy, expected_batch_size=expected)


def least_local_noise_sd(terms: Terms) -> float | None:
    """The least noise of any holder's weighted update, against which rounding is judged; None but in mode ``local``.

    In mode ``joint`` rounding is part of what the noise is sized for.
    """
    if terms.privacy.mode != "local":
        return None
    return min(update_noise_sd(terms, holder) for holder in terms.holder_ids)


def longest_update(terms: Terms, holder_id: str) -> float:
    """A bound on the root mean square length of one holder's weighted update, by public constants alone; in its units.

    Steps of clipped gradients, as many as are expected of a Poisson sample, and the noise, in all coordinates. Without
    privacy nothing bounds it but the fixed point: infinite.
    """
    privacy, training = terms.privacy, terms.training
    if privacy.clip_norm is None:
        return math.inf
    noise = update_noise_sd(terms, holder_id) * math.sqrt(terms.num_parameters)
    trained_on = (1 - terms.releases.held_out) * terms.holder(holder_id).num_examples
    if privacy.mode == "joint":
        return math.hypot(training.sampling_rate * trained_on * privacy.clip_norm, noise)
    path = training.learning_rate * training.local_steps * privacy.clip_norm
    return math.hypot(terms.weight(holder_id) * path, noise)


def longest_projection(terms: Terms, holder_id: str) -> float:
    """The most that one holder's weighted update of one round is taken to be along any one direction, in its units.

    By public constants: steps of clipped gradients of a sample twice as large as expected, and noise of 8 standard
    deviations. Without privacy the agreed length of an update or, where none is agreed, the bound of the fixed point.

    Args:
        terms: The agreement.
        holder_id: One of its holders.

    Raises:
        InvalidValue: no such holder.
    """
    privacy, training, weight = terms.privacy, terms.training, terms.weight(holder_id)
    if privacy.clip_norm is None:
        agreed = training.maximum_update_norm
        widest = terms.encryption.bound * math.sqrt(terms.num_parameters)
        return widest if agreed is None else min(widest, weight * agreed)
    noise = _DEVIATIONS * update_noise_sd(terms, holder_id)
    sample = min(_LARGE_SAMPLE, 1 / training.sampling_rate)
    if privacy.mode == "joint":
        trained_on = (1 - terms.releases.held_out) * terms.holder(holder_id).num_examples
        return sample * training.sampling_rate * trained_on * privacy.clip_norm + noise
    return sample * weight * training.learning_rate * training.local_steps * privacy.clip_norm + noise
