"""Whether a way to per-record gradients is right for a model: it is compared with single records, before any is used.

A model's own code may use a layer's weights behind its back, use a layer twice, or mix the records of a batch; nothing
in a list of layers tells. The comparison uses made-up inputs, so its outcome says nothing about anybody's records.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch.nn.modules.dropout import _DropoutNd

from fedjoint.privacy.book_keeping import PerExampleLoss
from fedjoint.privacy.layer_gradients import RecordGradients

__all__ = ["Gradients", "agrees_with_single_records"]

#: (inputs [n, ...], targets [n], loss) to the gradients by parameter; None where that way cannot be gone.
Gradients: TypeAlias = Callable[[torch.Tensor, torch.Tensor, PerExampleLoss], list[RecordGradients] | None]

_TOLERANCE = 1e-3
_WEIGHTS = (1.0, -0.5)


def agrees_with_single_records(
    gradients: Gradients,
    module: torch.nn.Module,
    *,
    unhooked: torch.nn.Module,
    like: tuple[torch.Tensor, torch.Tensor],
    loss: PerExampleLoss,
) -> bool:
    """Compare norms and a weighted sum for two made-up records with what each gives by itself.

    Args:
        gradients: The way to be judged; it runs ``module``.
        module: At the parameters in question.
        unhooked: A copy that nothing listens to.
        like: Inputs and targets whose shape and type are imitated; no number of theirs is read.
        loss: One loss per record.

    Returns:
        Whether both agree to a thousandth. Dropout is switched off meanwhile.
    """
    inputs, targets = _made_up(like[0]), torch.arange(2).to(like[1].dtype)
    trained = {name for name, parameter in unhooked.named_parameters() if parameter.requires_grad}
    values = {
        name: parameter.detach().clone().requires_grad_(name in trained)
        for name, parameter in module.named_parameters()
    }
    quiet = [part for model in (module, unhooked) for part in model.modules() if isinstance(part, _DropoutNd)]
    was_training = [part.training for part in quiet]
    for part in quiet:
        part.eval()
    singles = torch.stack(
        [_alone(unhooked, values, inputs[[k]], targets=targets[[k]], loss=loss) for k in range(len(inputs))]
    )
    try:
        found = gradients(inputs, targets, loss)
    except RuntimeError:  # torch, or Opacus, cannot go this way: single records were no trouble a line above
        return False
    finally:
        for part, training in zip(quiet, was_training, strict=True):
            part.train(training)
    if found is None:
        return False
    with torch.no_grad():
        weights = torch.tensor(_WEIGHTS, dtype=singles.dtype)
        total = torch.cat([one.weighted_sum(weights).reshape(-1) for one in found])
        norms = torch.stack([one.squared_norms for one in found]).sum(0).sqrt()
        scale = singles.norm() * _TOLERANCE
        return bool((total - weights @ singles).norm() <= scale and (norms - singles.norm(dim=1)).norm() <= scale)


def _made_up(like: torch.Tensor) -> torch.Tensor:
    """Two inputs: standard normal numbers, or the indices 0 and 1, which any embedding has."""
    shape = (2, *like.shape[1:])
    if like.is_floating_point():
        return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(like.dtype)
    places = torch.arange(like[:1].numel() if len(like) else 1)
    return torch.stack([places % 2, (places // 2) % 2]).reshape(shape).to(like.dtype)


def _alone(
    module: torch.nn.Module,
    values: dict[str, torch.Tensor],
    inputs: torch.Tensor,
    *,
    targets: torch.Tensor,
    loss: PerExampleLoss,
) -> torch.Tensor:
    """The gradient [D] of one record in a batch of its own."""
    asked = [value for value in values.values() if value.requires_grad]
    losses = loss(torch.func.functional_call(module, values, (inputs,)), targets)
    parts = torch.autograd.grad(losses.sum(), asked, allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(value) if part is None else part).reshape(-1)
            for value, part in zip(asked, parts, strict=True)
        ]
    )
