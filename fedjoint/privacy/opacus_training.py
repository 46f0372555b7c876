"""DP-SGD at a holder with Opacus: per-record gradients are clipped, summed, noised, and only then used.

Opacus computes and clips the per-record gradients. The noise is ours (:mod:`fedjoint.privacy.noise`), as are the
sampling, the divisor and the account: each is taken from public constants, never from what the records happen to be.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch.nn.modules.batchnorm import _BatchNorm

from fedjoint.errors import InvalidValue, PrivacyError
from fedjoint.privacy.events import GaussianEvent
from fedjoint.privacy.local_plan import LocalPlan
from fedjoint.privacy.noise import NoiseSource

__all__ = ["PerExampleLoss", "PrivateUpdate", "check_module", "opacus_clipped_sum", "private_update"]

#: (outputs [n, k], targets [n]) to one loss per record [n]; a record's loss may depend on that record alone.
PerExampleLoss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

#: Bounds the memory that per-record gradients take.
_RECORDS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class PrivateUpdate:
    """What one round of private steps gives.

    Args:
        vector: New parameters minus old, float32 [D], in the order of ``module.parameters()``.
        event: What making it released.
    """

    vector: NDArray[np.float32]
    event: GaussianEvent


class _NoisyOptimizer(DPOptimizer):
    """Opacus' optimiser with the noise of a :class:`NoiseSource` and a check of every record's gradient."""

    def __init__(self, optimizer: torch.optim.Optimizer, *, plan: LocalPlan, noise: NoiseSource) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=plan.noise_multiplier,
            max_grad_norm=plan.clip_norm,
            expected_batch_size=plan.expected_batch_size,
            loss_reduction="mean",  # the noisy sum is divided by the expected batch size, never by the real one
        )
        self._noise = noise

    def clip_and_accumulate(self) -> None:
        """Refuse gradients that clipping cannot bound, then clip and sum."""
        _require_finite(self)
        super().clip_and_accumulate()

    def add_noise(self) -> None:
        """Put the clipped sum plus noise where the step looks for the gradient."""
        sd = self.noise_multiplier * self.max_grad_norm
        for parameter in self.params:
            summed = parameter.summed_grad
            noise = torch.from_numpy(self._noise.gaussian(tuple(summed.shape), sd=sd))
            parameter.grad = (summed.double() + noise).to(parameter.dtype).view_as(parameter)


def check_module(module: torch.nn.Module) -> None:
    """Refuse a module in which one record's gradient would depend on other records, or that keeps statistics.

    Args:
        module: What would be trained.

    Raises:
        PrivacyError: a part of the module normalises over the batch or has a buffer, or nothing can be trained.
    """
    for name, part in module.named_modules():
        label = f"'{name}' ({type(part).__name__})" if name else type(part).__name__
        if isinstance(part, _BatchNorm):
            raise PrivacyError(
                f"{label} mixes the records of a batch",
                expected="layers that treat each record by itself",
                remedy="Use LayerNorm or GroupNorm instead.",
            )
        for buffer, _ in part.named_buffers(recurse=False):
            raise PrivacyError(
                f"{label} keeps the buffer '{buffer}', which would leave with the model and without noise",
                expected="modules without buffers",
                remedy="Make it a parameter or a constant of the forward function.",
            )
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise PrivacyError("the module has no parameters to train", remedy="Choose another model.")


def private_update(
    module: torch.nn.Module,
    features: NDArray[np.float32],
    *,
    targets: NDArray[np.generic],
    per_example_loss: PerExampleLoss,
    plan: LocalPlan,
    noise: NoiseSource,
) -> PrivateUpdate:
    """Take a round's private steps from the module's present parameters.

    The loss is summed over the records and the noisy sum divided by the public expected batch size: a mean would divide
    by the number of records drawn, which is secret. Empty samples give a step of noise alone and cost the same.

    Args:
        module: With the parameters to start from; it is left as it was.
        features: float32 [n, width], n at least 1.
        targets: [n], as ``per_example_loss`` takes them.
        per_example_loss: One loss per record.
        plan: Public constants of the round.
        noise: The holder's source of noise and of secret samples.

    Returns:
        The update, float32 [D], and the event to be accounted for. The caller charges ``plan.event`` *before* calling.

    Raises:
        PrivacyError: the module cannot be trained privately, the loss is not one number per record, a record's gradient
            is not finite, or the new parameters are not. Nothing was released then, but that it happened is seen.
        InvalidValue: there are no records, or features and targets differ in length.

    Guarantees:
        (epsilon, delta)-private for add-or-remove of one record, with epsilon given by ``epsilon_of((event,), delta)``,
        if ``noise.is_secure`` and each loss depends on its own record alone.

    Source:
        Abadi et al. 2016, "Deep learning with differential privacy", algorithm 1.
    """
    check_module(module)
    if not (len(features) == len(targets) > 0):
        raise InvalidValue("there are no records, or features and targets differ in length", expected="one target each")
    trained = copy.deepcopy(module).train()  # hooks, gradients and steps stay on the copy
    start = torch.nn.utils.parameters_to_vector(trained.parameters()).detach().clone()
    inputs, wanted = torch.from_numpy(np.array(features, dtype=np.float32)), torch.from_numpy(np.array(targets))
    # summed losses: each record's gradient is its own, whatever the size of the batch
    hooked = GradSampleModule(trained, loss_reduction="sum")
    optimizer = _NoisyOptimizer(torch.optim.SGD(trained.parameters(), lr=plan.learning_rate), plan=plan, noise=noise)
    try:
        for _ in range(plan.local_steps):
            chosen = _sample(len(features), plan.sampling_rate, noise)
            _step(hooked, optimizer, inputs[chosen], wanted[chosen], per_example_loss)
    finally:
        hooked.remove_hooks()
    update = torch.nn.utils.parameters_to_vector(trained.parameters()).detach() - start
    if not bool(torch.isfinite(update).all()):
        raise PrivacyError("the update is not finite", remedy="Lower the learning rate or the clip norm.")
    return PrivateUpdate(vector=update.numpy(), event=plan.event)


def opacus_clipped_sum(
    module: torch.nn.Module,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    per_example_loss: PerExampleLoss,
    *,
    clip_norm: float,
) -> NDArray[np.float64]:
    """Sum the records' clipped gradients, computed by Opacus' hooks in double precision.

    Args:
        module: With the parameters at which to differentiate; it is left as it was.
        inputs: float64 [n, width], n at least 1.
        targets: [n].
        per_example_loss: One loss per record.
        clip_norm: > 0.

    Returns:
        float64 [D], in the order of ``module.parameters()``.

    Raises:
        PrivacyError: the module cannot be trained privately, the loss is not one number per record, or a record's
            gradient is not finite.
    """
    check_module(module)
    hooked = GradSampleModule(copy.deepcopy(module).double().train(), loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(hooked.parameters(), lr=1.0),
        noise_multiplier=0.0,
        max_grad_norm=clip_norm,
        expected_batch_size=None,
        loss_reduction="sum",
    )
    summed = torch.zeros(sum(parameter.numel() for parameter in module.parameters()), dtype=torch.float64)
    try:
        for first in range(0, len(inputs), _RECORDS_AT_ONCE):
            part = slice(first, first + _RECORDS_AT_ONCE)
            optimizer.zero_grad(set_to_none=True)
            losses = per_example_loss(hooked(inputs[part].clone().requires_grad_(True)), targets[part])
            if losses.shape != (len(inputs[part]),):
                raise PrivacyError("the loss does not give one number for each record", remedy="Do not reduce it.")
            losses.sum().backward()
            _require_finite(optimizer)
            optimizer.clip_and_accumulate()
            summed += torch.cat([parameter.summed_grad.ravel() for parameter in optimizer.params])
    finally:
        hooked.remove_hooks()
    return np.asarray(summed.numpy())


def _require_finite(optimizer: DPOptimizer) -> None:
    # NaN survives clipping and one such record would spoil the model for all; which record it is stays here
    if not all(bool(torch.isfinite(gradients).all()) for gradients in optimizer.grad_samples):
        raise PrivacyError(
            "the gradient of a record is not finite",
            expected="finite numbers, as clipping cannot bound others",
            remedy="Check the table for infinite or missing numbers, or lower the learning rate.",
        )


def _sample(count: int, sampling_rate: float, noise: NoiseSource) -> torch.Tensor:
    """Which records take part in a step: each by its own secret coin."""
    if sampling_rate == 1:
        return torch.ones(count, dtype=torch.bool)
    return torch.from_numpy(noise.uniform(count) < sampling_rate)


def _step(
    hooked: GradSampleModule,
    optimizer: _NoisyOptimizer,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    per_example_loss: PerExampleLoss,
) -> None:
    optimizer.zero_grad(set_to_none=True)
    # torch warns of backward hooks on a layer whose inputs need no gradient; that they need one costs little
    losses = per_example_loss(hooked(inputs.requires_grad_(True)), targets)
    if losses.shape != (len(inputs),):  # the message must not tell how many records were drawn
        raise PrivacyError("the loss does not give one number for each record", remedy="Do not reduce it.")
    losses.sum().backward()
    optimizer.step()
