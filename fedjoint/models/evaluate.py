"""What a parameter vector is worth on given records: pure functions, in double precision."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from fedjoint.errors import InvalidValue
from fedjoint.models.tasks import Metrics, Task
from fedjoint.models.vector import check_vector

__all__ = ["evaluate", "loss_gradient", "mean_loss", "outputs_at"]


def outputs_at(module: torch.nn.Module, vector: torch.Tensor, *, features: torch.Tensor) -> torch.Tensor:
    """Run a module with other parameters than its own.

    Args:
        module: Gives the computation; it is neither read for parameters nor changed.
        vector: [D], in the order of ``module.named_parameters()``; gradients flow to it.
        features: [n, inputs] of the vector's type.

    Returns:
        Outputs [n, outputs].
    """
    parameters: dict[str, torch.Tensor] = {}
    start = 0
    for name, parameter in module.named_parameters():
        parameters[name] = vector[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
    outputs = torch.func.functional_call(module, parameters, (features,))
    assert isinstance(outputs, torch.Tensor)
    return outputs


def _mean_loss(
    module: torch.nn.Module, vector: torch.Tensor, features: ArrayLike, targets: ArrayLike, task: Task
) -> torch.Tensor:
    inputs, wanted = _records(features, targets)
    return task.per_example_loss(outputs_at(module, vector, features=inputs), wanted).mean()


def _records(features: ArrayLike, targets: ArrayLike) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, wanted = np.array(features, dtype=np.float64), np.array(targets)
    if inputs.ndim != 2 or wanted.shape != inputs.shape[:1] or not len(wanted):
        raise InvalidValue(
            f"features of shape {list(inputs.shape)} and targets of shape {list(wanted.shape)}",
            expected="[n, inputs] and [n] with n at least 1",
        )
    return torch.from_numpy(inputs), torch.from_numpy(wanted)


def mean_loss(
    module: torch.nn.Module, vector: ArrayLike, *, features: ArrayLike, targets: ArrayLike, task: Task
) -> float:
    """The mean loss of a parameter vector.

    Args:
        module: Gives the computation; it is not changed.
        vector: Parameters [D].
        features: [n, inputs], n at least 1.
        targets: [n], as the task takes them.
        task: Gives the loss.

    Returns:
        The mean over the records, accumulated in float64.

    Raises:
        InvalidValue: the vector does not fit the module, or features and targets do not fit each other.
    """
    with torch.no_grad():
        return float(_mean_loss(module, torch.from_numpy(check_vector(module, vector)), features, targets, task))


def loss_gradient(
    module: torch.nn.Module, vector: ArrayLike, *, features: ArrayLike, targets: ArrayLike, task: Task
) -> NDArray[np.float64]:
    """The gradient of :func:`mean_loss` in the vector, float64 [D].

    Args:
        module: Gives the computation; it is not changed.
        vector: Parameters [D].
        features: [n, inputs], n at least 1.
        targets: [n], as the task takes them.
        task: Gives the loss.

    Raises:
        InvalidValue: the vector does not fit the module, or features and targets do not fit each other.
    """
    point = torch.from_numpy(check_vector(module, vector)).requires_grad_(True)
    (gradient,) = torch.autograd.grad(_mean_loss(module, point, features, targets, task), point)
    return np.asarray(gradient.numpy(), dtype=np.float64)


def evaluate(
    module: torch.nn.Module, vector: ArrayLike, *, features: ArrayLike, targets: ArrayLike, task: Task
) -> Metrics:
    """The metrics of a parameter vector.

    Args:
        module: Gives the computation; it is not changed.
        vector: Parameters [D].
        features: [n, inputs], n at least 1.
        targets: [n], as the task takes them.
        task: Gives the metrics.

    Returns:
        ``auc`` and ``accuracy``, or ``r2`` and ``rmse``; None where a metric has no meaning for these records.

    Raises:
        InvalidValue: the vector does not fit the module, features and targets do not fit each other, or the module's
            outputs are not finite.
    """
    inputs, wanted = _records(features, targets)
    with torch.no_grad():
        outputs = outputs_at(module, torch.from_numpy(check_vector(module, vector)), features=inputs)
    if not bool(torch.isfinite(outputs).all()):
        raise InvalidValue(
            "the model's outputs are not finite", remedy="Check the features, or lower the learning rate."
        )
    return task.metrics(outputs.numpy(), wanted.numpy())
