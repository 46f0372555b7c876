"""What a parameter vector is worth on given records: pure functions, in double precision where nothing else is said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from fedjoint.errors import InvalidValue
from fedjoint.models.tasks import Metrics, Task
from fedjoint.models.utilities import NEGATIVE_LOSS, Utility, output_influences, slopes_along
from fedjoint.models.vector import check_vector

__all__ = ["evaluate", "group_gradients", "influences", "loss_gradient", "mean_loss", "outputs_at"]

#: Parameters by name, and features [n, inputs] with targets [n].
_Leaves: TypeAlias = dict[str, torch.Tensor]
_Records: TypeAlias = tuple[torch.Tensor, torch.Tensor]


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
    leaves = _leaves(module, vector, precision)
    outputs = torch.func.functional_call(module, leaves, (inputs.to(precision),))
    gradients = torch.autograd.grad(utility.loss(outputs, wanted, task), list(leaves.values()))
    return np.concatenate([gradient.numpy().reshape(-1) for gradient in gradients], dtype=np.float64)


def _leaves(module: torch.nn.Module, vector: ArrayLike, precision: torch.dtype) -> _Leaves:
    """Each parameter a leaf of its own: through views of one vector each of them would cost a vector of zeros."""
    own = _split(module, torch.from_numpy(check_vector(module, vector)).to(precision))
    return {name: part.requires_grad_(True) for name, part in own.items()}


def group_gradients(
    module: torch.nn.Module,
    vector: ArrayLike,
    *,
    groups: NDArray[np.int64],
    records: tuple[ArrayLike, ArrayLike],
    task: Task,
    utility: Utility = NEGATIVE_LOSS,
    precision: torch.dtype = torch.float32,
) -> Iterator[NDArray[np.floating[Any]]]:
    """What each group of records does to the gradient of the loss, group by group.

    With p_g for group g and s_g for its share of the records, ``p_g - s_g sum_h p_h`` is the derivative of
    :func:`loss_gradient` as the weights of all its records grow from one. Minus its inner product with a direction is
    the sum of the group's :func:`influences` in that direction.

    Args:
        module: Gives the computation; it is not changed.
        vector: Parameters [D].
        groups: The group of each record, [n] of 0 to G - 1, none of them empty.
        records: Features [n, inputs] and targets [n].
        task: Gives the loss.
        utility: Whose loss. Of a mean over records each group takes a pass over its own records, of any other a
            backward pass over all.
        precision: What it is computed and given in.

    Returns:
        p, G times [D].

    Raises:
        InvalidValue: the vector does not fit the module, or features, targets and groups do not fit each other.
    """
    inputs, wanted = _records(*records)
    if groups.shape != wanted.shape:
        raise InvalidValue(f"groups of shape {list(groups.shape)}", expected=f"one for each of {len(wanted)} records")
    leaves, members = (
        _leaves(module, vector, precision),
        torch.from_numpy(np.arange(groups.max() + 1)[:, None] == groups),
    )
    parts = (leaves, (inputs.to(precision), wanted), members)
    found = _of_mean(module, *parts, task) if utility is NEGATIVE_LOSS else _of_any(module, *parts, task, utility)
    return (np.concatenate([gradient.numpy().reshape(-1) for gradient in gradients]) for gradients in found)


def _of_mean(
    module: torch.nn.Module, leaves: _Leaves, records: _Records, members: torch.Tensor, task: Task
) -> Iterator[tuple[torch.Tensor, ...]]:
    """What each group adds to the gradient of the mean loss."""
    inputs, wanted = records
    for chosen in members:
        outputs = torch.func.functional_call(module, leaves, (inputs[chosen],))
        loss = task.per_example_loss(outputs, wanted[chosen]).sum() / len(wanted)
        yield torch.autograd.grad(loss, list(leaves.values()))


def _of_any(
    module: torch.nn.Module, leaves: _Leaves, records: _Records, members: torch.Tensor, task: Task, utility: Utility
) -> Iterator[tuple[torch.Tensor, ...]]:
    """How the gradient of a loss changes as the weights of each group grow; these add up to zero."""
    inputs, wanted = records
    outputs = torch.func.functional_call(module, leaves, (inputs,))
    for slopes in slopes_along(outputs, members.to(outputs.dtype), targets=wanted, task=task, utility=utility):
        yield torch.autograd.grad(outputs, list(leaves.values()), grad_outputs=slopes, retain_graph=True)


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
