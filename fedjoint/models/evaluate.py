"""What a parameter vector is worth on given records: pure functions, in double precision where nothing else is said."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from fedjoint.errors import InvalidValue
from fedjoint.models.tasks import Metrics, Task
from fedjoint.models.utilities import NEGATIVE_LOSS, Utility, output_influences
from fedjoint.models.vector import check_vector

__all__ = ["evaluate", "influences", "loss_gradient", "mean_loss", "outputs_at"]


def outputs_at(module: torch.nn.Module, vector: torch.Tensor, *, features: torch.Tensor) -> torch.Tensor:
    """Run a module with other parameters than its own.

    Args:
        module: Gives the computation; it is neither read for parameters nor changed.
        vector: [D], in the order of ``module.named_parameters()``; gradients flow to it.
        features: [n, inputs] of the vector's type.

    Returns:
        Outputs [n, outputs].
    """
    outputs = torch.func.functional_call(module, _split(module, vector), (features,))
    assert isinstance(outputs, torch.Tensor)
    return outputs


def _split(module: torch.nn.Module, vector: torch.Tensor) -> dict[str, torch.Tensor]:
    """Views of a vector [D] as the module's parameters."""
    parameters: dict[str, torch.Tensor] = {}
    start = 0
    for name, parameter in module.named_parameters():
        parameters[name] = vector[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
    return parameters


def _mean_loss(
    module: torch.nn.Module, vector: torch.Tensor, records: tuple[ArrayLike, ArrayLike], task: Task, utility: Utility
) -> torch.Tensor:
    inputs, wanted = _records(*records)
    return utility.loss(outputs_at(module, vector, features=inputs), wanted, task)


def _records(features: ArrayLike, targets: ArrayLike) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, wanted = np.array(features, dtype=np.float64), np.array(targets)
    if inputs.ndim != 2 or wanted.shape != inputs.shape[:1] or not len(wanted):
        raise InvalidValue(
            f"features of shape {list(inputs.shape)} and targets of shape {list(wanted.shape)}",
            expected="[n, inputs] and [n] with n at least 1",
        )
    return torch.from_numpy(inputs), torch.from_numpy(wanted)


def mean_loss(
    module: torch.nn.Module,
    vector: ArrayLike,
    *,
    features: ArrayLike,
    targets: ArrayLike,
    task: Task,
    utility: Utility = NEGATIVE_LOSS,
) -> float:
    """The loss of a parameter vector: the task's mean loss, or that of another agreed utility.

    Args:
        module: Gives the computation; it is not changed.
        vector: Parameters [D].
        features: [n, inputs], n at least 1.
        targets: [n], as the task takes them.
        task: Gives the loss.
        utility: Whose loss.

    Returns:
        The mean over the records (of the utility ``soft_auc``: over pairs), accumulated in float64.

    Raises:
        InvalidValue: the vector does not fit the module, or features and targets do not fit each other.
    """
    with torch.no_grad():
        point = torch.from_numpy(check_vector(module, vector))
        return float(_mean_loss(module, point, (features, targets), task, utility))


def loss_gradient(
    module: torch.nn.Module,
    vector: ArrayLike,
    *,
    features: ArrayLike,
    targets: ArrayLike,
    task: Task,
    utility: Utility = NEGATIVE_LOSS,
    precision: torch.dtype = torch.float64,
) -> NDArray[np.float64]:
    """The gradient of :func:`mean_loss` in the vector, float64 [D].

    Args:
        module: Gives the computation; it is not changed.
        vector: Parameters [D].
        features: [n, inputs], n at least 1.
        targets: [n], as the task takes them.
        task: Gives the loss.
        utility: Whose loss.
        precision: What it is computed in.

    Raises:
        InvalidValue: the vector does not fit the module, or features and targets do not fit each other.
    """
    inputs, wanted = _records(features, targets)
    # Each parameter is a leaf of its own: through views of one vector each of them would cost a vector of zeros.
    own = _split(module, torch.from_numpy(check_vector(module, vector)).to(precision))
    leaves = [part.requires_grad_(True) for part in own.values()]
    outputs = torch.func.functional_call(module, own, (inputs.to(precision),))
    gradients = torch.autograd.grad(utility.loss(outputs, wanted, task), leaves)
    return np.concatenate([gradient.numpy().reshape(-1) for gradient in gradients], dtype=np.float64)


def influences(
    module: torch.nn.Module,
    vector: ArrayLike,
    directions: ArrayLike,
    *,
    records: tuple[ArrayLike, ArrayLike],
    task: Task,
    utility: Utility = NEGATIVE_LOSS,
) -> NDArray[np.float64]:
    """Each record's influence on the rise of the utility as a model moves along given directions.

    Args:
        module: Gives the computation; it is not changed.
        vector: The model, [D].
        directions: [h, D].
        records: Features [n, inputs] and targets [n].
        task: Gives the loss.
        utility: Whose rise.

    Returns:
        float64 [h, n], as :func:`fedjoint.models.utilities.output_influences`.

    Raises:
        InvalidValue: the vector does not fit the module, or features and targets do not fit each other.
    """
    point, moves = torch.from_numpy(check_vector(module, vector)), torch.from_numpy(np.array(directions, np.float64))
    inputs, wanted = _records(*records)

    def outputs_of(at: torch.Tensor) -> torch.Tensor:
        return outputs_at(module, at, features=inputs)

    outputs, pull_back = torch.func.vjp(outputs_of, point)[:2]
    # pulling back is linear, and its own pull-back pushes forward: how the outputs change along a direction
    push_forward = torch.func.vjp(lambda slopes: pull_back(slopes)[0], torch.zeros_like(outputs))[1]
    changes = torch.func.vmap(lambda move: push_forward(move)[0])(moves)
    return output_influences(outputs, changes, targets=wanted, task=task, utility=utility)


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
