"""DP-SGD at a holder: per-record gradients are clipped, summed, noised, and only then used.

Noise (:mod:`fedjoint.privacy.noise`), sampling, divisor and account are taken from public constants, never from what
the records happen to be. There is no optimiser state: each round starts from the agreed model with plain steps.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fedjoint.errors import InvalidValue, PrivacyError
from fedjoint.privacy.batch import Batch, poisson_sample
from fedjoint.privacy.clipped_sum import GradientSummer, PerExampleLoss, as_tensor
from fedjoint.privacy.events import GaussianEvent
from fedjoint.privacy.local_plan import LocalPlan
from fedjoint.privacy.noise import NoiseSource

__all__ = ["PrivateUpdate", "private_update"]

#: Numbers of noise: drawing a few costs nearly as much as drawing thousands.
_NOISE_AT_ONCE = 1 << 14


@dataclass(frozen=True, kw_only=True)
class PrivateUpdate:
    """What one round of private steps gives.

    Args:
        vector: New parameters minus old, float32 [D], in the order of ``module.parameters()``; 0 where not trained.
        event: What making it released.
        not_finite: How many gradients were left out of the steps' sums, as they were not finite. Private: it stays with
            the holder.
    """

    vector: NDArray[np.float32]
    event: GaussianEvent
    not_finite: int


def private_update(
    module: torch.nn.Module, batch: Batch, *, per_example_loss: PerExampleLoss, plan: LocalPlan, noise: NoiseSource
) -> PrivateUpdate:
    """Take a round's private steps from the module's present parameters.

    The loss is summed over the records and the noisy sum divided by the public expected batch size: a mean would divide
    by the number of records drawn, which is secret. Empty samples give a step of noise alone and cost the same.

    Args:
        module: With the parameters to start from; it is left as it was.
        batch: All of the holder's records, at least one; with groups each group is protected as a whole.
        per_example_loss: One loss per record, which depends on that record alone.
        plan: Public constants of the round.
        noise: The holder's source of noise and of secret samples.

    Returns:
        The update and the event to be accounted for. The caller charges ``plan.event`` *before* calling.

    Raises:
        PrivacyError: the module cannot be trained privately, the loss is not one number per record, or the new
            parameters are not finite. Nothing was released then, but that it happened is seen.
        InvalidValue: there are no records.

    Guarantees:
        (epsilon, delta)-private for add-or-remove of one unit, with epsilon given by ``epsilon_of((event,), delta)``,
        if ``noise.is_secure`` and each loss depends on its own record alone.

    Source:
        Abadi et al. 2016, "Deep learning with differential privacy", algorithm 1.
    """
    if not len(batch):
        raise InvalidValue("there are no records", expected="at least one")
    trained = copy.deepcopy(module)  # hooks and steps stay on the copy
    vector = _as_one_vector(trained)
    summer = GradientSummer(trained, per_example_loss)
    inputs, targets = as_tensor(batch.features, vector.dtype), torch.from_numpy(np.array(batch.targets))
    groups = None if batch.groups is None else torch.from_numpy(np.array(batch.groups))
    noises = _noise_of_steps(noise, plan, size=len(vector))
    before, not_finite = torch.nn.utils.parameters_to_vector(module.parameters()).detach(), 0
    start = vector.clone()
    for _ in range(plan.local_steps):
        sample = inputs, targets, groups
        if plan.sampling_rate < 1:
            drawn = torch.from_numpy(np.flatnonzero(poisson_sample(batch, plan.sampling_rate, noise)))
            sample = inputs[drawn], targets[drawn], None if groups is None else groups[drawn]
        clipped = summer.sum(sample[0], sample[1], clip_norm=plan.clip_norm, groups=sample[2])
        noisy = next(noises).add_(clipped.total)
        step = noisy.mul_(plan.learning_rate / plan.expected_batch_size).to(vector.dtype)
        if plan.proximal:  # towards what everybody knows, by what is released already
            step += (plan.learning_rate * plan.proximal) * (vector - start)
        vector -= step
        not_finite += clipped.not_finite
    update = torch.nn.utils.parameters_to_vector(trained.parameters()).detach() - before
    if not bool(torch.isfinite(update).all()):
        raise PrivacyError("the update is not finite", remedy="Lower the learning rate or the clip norm.")
    return PrivateUpdate(vector=update.numpy(), event=plan.event, not_finite=not_finite)


def _noise_of_steps(noise: NoiseSource, plan: LocalPlan, *, size: int) -> Iterator[torch.Tensor]:
    """The noise of each step, float64 [size]; drawn for some steps at once where no sample is drawn in between."""
    at_once = max(1, _NOISE_AT_ONCE // size) if plan.sampling_rate == 1 else 1
    for first in range(0, plan.local_steps, at_once):
        count = min(at_once, plan.local_steps - first)
        yield from torch.from_numpy(noise.gaussian((count, size), sd=plan.noise_multiplier * plan.clip_norm))


def _as_one_vector(module: torch.nn.Module) -> torch.Tensor:
    """Lay the parameters that are trained side by side, so that a step is one operation on all of them."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        raise PrivacyError("the module has no parameters to train", remedy="Choose another model.")
    vector = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
    start = 0
    for parameter in parameters:
        parameter.data = vector[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
    return vector
