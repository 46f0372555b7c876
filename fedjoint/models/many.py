"""Many models at once: outputs and mean losses of models of the same module on the same records, differentiable.

Outputs lie as ``[models, outputs, records]``: linear layers are then one batched product each, and losses run along the
records. Modules that are no chain of linear layers and activations are run by ``torch.func.vmap``.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch.nn import functional

from fedjoint.models.tasks import Task

__all__ = [
    "ELEMENTWISE",
    "LossMeter",
    "Parameters",
    "Workspace",
    "activation_bytes",
    "chain_of",
    "mean_losses",
    "outputs_of",
    "split",
]

#: By name, each [models, *shape].
Parameters: TypeAlias = dict[str, torch.Tensor]

#: exp of so much and of so much below zero are normal numbers of single precision, and far from its ends.
_SAFE = 60.0
_LOG2_E = math.log2(math.e)
#: Act on every number for itself, in whatever order they lie.
ELEMENTWISE = (
    torch.nn.ELU,
    torch.nn.GELU,
    torch.nn.Identity,
    torch.nn.LeakyReLU,
    torch.nn.ReLU,
    torch.nn.SiLU,
    torch.nn.Sigmoid,
    torch.nn.Softplus,
    torch.nn.Tanh,
)


class Workspace:
    """Memory that is used again: large pieces that are new each time cost more than what is computed in them.

    Args:
        like: A tensor of the type and on the device that are wanted.
    """

    def __init__(self, like: torch.Tensor) -> None:
        self._like = like.new_empty(0)
        self._pieces: dict[str, torch.Tensor] = {}

    def __call__(self, name: str, *shape: int) -> torch.Tensor:
        """A tensor of this shape; it lies where the last one of this name lay, and holds whatever was there."""
        size = math.prod(shape)
        if name not in self._pieces or self._pieces[name].numel() < size:
            self._pieces[name] = self._like.new_empty(size)
        return self._pieces[name][:size].view(*shape)


def chain_of(module: torch.nn.Module) -> list[tuple[str, torch.nn.Module]] | None:
    """A module's linear layers and activations, each with its parameters' prefix; None if it has others."""
    named = list(module.named_children()) if type(module) is torch.nn.Sequential else [("", module)]
    if not named or not all(type(layer) is torch.nn.Linear or type(layer) in ELEMENTWISE for _, layer in named):
        return None
    return [(f"{name}." if name else "", layer) for name, layer in named]


def split(module: torch.nn.Module, models: torch.Tensor) -> Parameters:
    """Views of vectors [models, D] as parameters, in the order of ``module.named_parameters()``."""
    parameters: Parameters = {}
    start = 0
    for name, parameter in module.named_parameters():
        parameters[name] = models[:, start : start + parameter.numel()].reshape(len(models), *parameter.shape)
        start += parameter.numel()
    return parameters


def outputs_of(module: torch.nn.Module, parameters: Parameters, inputs: torch.Tensor) -> torch.Tensor:
    """Outputs of all models on the same records.

    Args:
        module: Gives the computation; it is neither read for parameters nor changed. It must treat each record for
            itself and draw nothing at random.
        parameters: Of :func:`split`; gradients flow to them.
        inputs: [records, inputs].

    Returns:
        [models, outputs, records].
    """
    chain = chain_of(module)
    if chain is None:

        def one(own: Parameters) -> torch.Tensor:
            outputs: torch.Tensor = torch.func.functional_call(module, own, (inputs,))
            return outputs

        return torch.func.vmap(one)(parameters).transpose(1, 2)
    hidden = inputs.T
    for prefix, layer in chain:
        hidden = _layer_of(layer, prefix, parameters, hidden)
    return hidden


def _layer_of(layer: torch.nn.Module, prefix: str, parameters: Parameters, hidden: torch.Tensor) -> torch.Tensor:
    """One layer of a chain: [models or none, width, records] to [models, width, records]."""
    if not isinstance(layer, torch.nn.Linear):
        # A hidden layer is nobody else's: without gradients it is changed where it lies.
        reused = type(layer) is torch.nn.ReLU and hidden.ndim == 3 and not torch.is_grad_enabled()
        outputs: torch.Tensor = hidden.relu_() if reused else layer(hidden)
        return outputs
    weight, bias = parameters[f"{prefix}weight"], parameters.get(f"{prefix}bias")
    if bias is None:
        return weight @ hidden
    if hidden.ndim == 2:  # the same records for all models: one product
        return weight @ hidden + bias[:, :, None]
    return torch.baddbmm(bias[:, :, None], weight, hidden)


def mean_losses(outputs: torch.Tensor, targets: torch.Tensor, task: Task) -> torch.Tensor:
    """From outputs [models, outputs, records] to mean losses, float64 [models]; gradients flow to the outputs."""
    return LossMeter(targets, task)(outputs)


class LossMeter:
    """As :func:`mean_losses`, again and again for the same targets.

    Args:
        targets: [records].
        task: Gives the loss.
        room: Memory that is used again; of its own if None.
    """

    def __init__(self, targets: torch.Tensor, task: Task, room: Workspace | None = None) -> None:
        self._targets, self._task, self._room = targets, task, room
        self._hits: torch.Tensor | None = None

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        """See :func:`mean_losses`."""
        models, width, records = outputs.shape
        if self._task.name != "multiclass":
            rows = outputs.transpose(1, 2).reshape(models * records, width)
            losses = self._task.per_example_loss(rows, self._targets.repeat(models))
            return losses.reshape(models, records).double().mean(dim=1)
        # along the classes, which are not last here: far faster than one by one
        if self._hits is None:
            self._hits = functional.one_hot(self._targets.long(), width).T.to(outputs.dtype).reshape(-1)
        if torch.is_grad_enabled():
            logs = functional.log_softmax(outputs, dim=1)
            return -(logs.reshape(models, width * records) @ self._hits).double() / records
        right = outputs.reshape(models, width * records) @ self._hits
        return (self._log_sums(outputs).double().sum(dim=1) - right.double()) / records

    def _log_sums(self, outputs: torch.Tensor) -> torch.Tensor:
        """Log of the sum over classes of exp(outputs), [models, records].

        Straight, without taking the largest output off first, where that is as exact: where every sum is well within
        what the numbers hold, so is its largest part.
        """
        if self._room is None:
            self._room = Workspace(outputs)
        # exp(x) as 2^(x log2 e): a third of the time, as exact to a few units of the last digit of x
        powers = torch.mul(outputs, _LOG2_E, out=self._room("powers", *outputs.shape)).exp2_()
        sums = torch.sum(powers, dim=1, out=self._room("sums", outputs.shape[0], outputs.shape[2]))
        least, most = sums.aminmax()
        if float(least) > math.exp(-_SAFE) and float(most) < math.exp(_SAFE):  # false also where one is not a number
            return sums.log_()
        return torch.logsumexp(outputs, dim=1)


def activation_bytes(module: torch.nn.Module, inputs: torch.Tensor) -> tuple[int, int]:
    """What a module's outputs and those of the modules inside it take for one model, found by running it.

    Returns:
        Bytes of the largest output, and of all together.
    """
    seen: list[int] = []
    handles = [
        child.register_forward_hook(lambda _child, _inputs, output: seen.append(inputs.element_size() * output.numel()))
        for child in module.modules()
    ]
    try:
        parameters = {name: torch.zeros_like(own, dtype=inputs.dtype) for name, own in module.named_parameters()}
        torch.func.functional_call(module, parameters, (inputs,))
    finally:
        for handle in handles:
            handle.remove()
    return max(seen), sum(seen)
