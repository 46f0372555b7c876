"""How much privacy noise stands in one coordinate of what a holder encrypts: public constants only."""

from __future__ import annotations

import math

from fedjoint.agreement.terms import Terms
from fedjoint.privacy.joint_plan import JointPlan

__all__ = ["update_noise_sd"]


def update_noise_sd(terms: Terms, holder_id: str) -> float:
    """Standard deviation of the noise in one coordinate of a holder's weighted update of one round.

    ``local``: each of K local steps adds ``learning rate * noise multiplier * clip norm / expected batch`` to the
    parameters, independently, and the update is weighted: ``w * rate * sigma * C / (q n) * sqrt(K)``. What a later
    local step makes of the noise of an earlier one is of second order and not counted. ``joint``: the share, in
    units of the gradient sum. ``none``: 0.

    Args:
        terms: The agreement.
        holder_id: One of its holders.

    Raises:
        InvalidValue: no such holder.
    """
    privacy, training = terms.privacy, terms.training
    num_examples = terms.holder(holder_id).num_examples
    if privacy.mode == "none" or privacy.clip_norm is None or privacy.noise_multiplier is None:
        return 0.0
    if privacy.mode == "joint":
        plan = JointPlan.of(terms)
        return plan.share_sd * plan.step
    per_step = training.learning_rate * privacy.noise_multiplier * privacy.clip_norm
    expected = training.sampling_rate * num_examples * (1 - terms.releases.held_out)
    return terms.weight(holder_id) * per_step * math.sqrt(training.local_steps) / expected
