"""The sum of clipped per-record gradients, in double precision: a closed form for linear models, Opacus for others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from fedjoint.errors import InvalidValue, PrivacyError

__all__ = ["PerExampleLoss", "clipped_gradient_sum"]

PerExampleLoss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

#: Norms end this much below the bound, so that rounding in double precision stays within it.
_MARGIN = 1 - 1e-9


def clipped_gradient_sum(
    module: torch.nn.Module,
    features: NDArray[np.floating],
    *,
    targets: NDArray[np.generic],
    per_example_loss: PerExampleLoss,
    clip_norm: float,
) -> NDArray[np.float64]:
    """Sum the records' gradients, each scaled down to a norm of at most ``clip_norm``.

    Args:
        module: With the parameters at which to differentiate; it is left as it was.
        features: [n, width]; n may be 0, as a sample can be empty.
        targets: [n], as ``per_example_loss`` takes them.
        per_example_loss: One loss per record, which depends on that record alone.
        clip_norm: > 0.

    Returns:
        float64 [D], in the order of ``module.parameters()``; zeros for no records.

    Raises:
        InvalidValue: features and targets differ in length.
        PrivacyError: a record's gradient is not finite, the loss is not one number per record, or one record's gradient
            would depend on others.

    Guarantees:
        Adding or removing a record changes the result by at most ``clip_norm``, in L2.

    Source:
        Abadi et al. 2016, algorithm 1. For a linear layer the gradient is the outer product of the output's gradient
        and (x, 1), so its norm is the product of theirs (Goodfellow 2015).
    """
    if len(features) != len(targets):
        raise InvalidValue("features and targets differ in length", expected="one target per record")
    if not len(features):
        return np.zeros(sum(parameter.numel() for parameter in module.parameters()))
    inputs, wanted = torch.from_numpy(np.array(features, dtype=np.float64)), torch.from_numpy(np.array(targets))
    if type(module) is torch.nn.Linear and module.bias is not None:
        return _linear(module, inputs, wanted, per_example_loss, clip_norm * _MARGIN)
    from fedjoint.privacy.opacus_training import opacus_clipped_sum  # a second to import, not needed for linear models

    return opacus_clipped_sum(module, inputs, wanted, per_example_loss, clip_norm=clip_norm * _MARGIN)


def _linear(
    module: torch.nn.Linear,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    per_example_loss: PerExampleLoss,
    clip_norm: float,
) -> NDArray[np.float64]:
    weight, bias = module.weight.detach().double(), module.bias.detach().double()
    outputs = (inputs @ weight.T + bias).requires_grad_(True)
    losses = per_example_loss(outputs, targets)
    if losses.shape != (len(inputs),):  # the message must not tell how many records were drawn
        raise PrivacyError("the loss does not give one number for each record", remedy="Do not reduce it.")
    (slopes,) = torch.autograd.grad(losses.sum(), outputs)
    norms = slopes.norm(dim=1) * (inputs.square().sum(dim=1) + 1).sqrt()
    if not bool(torch.isfinite(norms).all()):
        raise PrivacyError(
            "the gradient of a record is not finite",
            expected="finite numbers, as clipping cannot bound others",
            remedy="Check the table for infinite or missing numbers, or lower the learning rate.",
        )
    clipped = slopes * (clip_norm / norms.clamp(min=clip_norm))[:, None]
    return torch.cat([(clipped.T @ inputs).ravel(), clipped.sum(dim=0)]).numpy()
