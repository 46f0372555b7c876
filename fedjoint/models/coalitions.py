"""Many models at once: the losses of all coalitions of a round as one tensor program.

The models of a round's coalitions are ``before + shares @ updates``: a base and a few directions. So the first layer of
a network, where all models see the same records, is affine in the shares: one product of ``[k, n + 1]`` with
``[n + 1, width x records]`` gives it for all models. Later layers are batched products with each model's own weights.
Modules that are no chain of linear layers and activations are run by ``torch.func.vmap``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from fedjoint.errors import InvalidValue
from fedjoint.models.evaluate import loss_gradient
from fedjoint.models.tasks import Task
from fedjoint.models.vector import num_parameters

__all__ = ["CoalitionReference"]

#: Act on every number for itself, in whatever order they lie.
_ELEMENTWISE = (
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
#: Activations of so many bytes stay in a core's cache; vmap costs more to start, and wants longer steps.
_CACHE_BYTES, _VMAP_BYTES = 1 << 20, 1 << 24

Vectors = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class CoalitionReference:
    """A reference set that measures many models at once.

    Args:
        module: Gives the computation; it is neither read for parameters nor changed. It must treat each record for
            itself and draw nothing at random.
        features: [records, inputs], one record at least.
        targets: [records], as the task takes them.
        task: Gives the loss.
        precision: ``double``, or ``single``: twice as fast, and losses are off by some 1e-8.
        memory_bytes: About what weights and activations of the models evaluated at once may take, 1 MiB at least.
        progress: Told after each step how many models it evaluated.

    Raises:
        InvalidValue: features and targets do not fit each other or are empty, or the limit is too low.
    """

    module: torch.nn.Module
    features: NDArray[np.float64]
    targets: NDArray[np.generic]
    task: Task
    precision: Literal["double", "single"] = "double"
    memory_bytes: int = 1 << 28
    progress: Callable[[int], None] | None = None

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or not len(self.features) == len(self.targets) > 0:
            raise InvalidValue(
                f"features {list(self.features.shape)} and targets {list(self.targets.shape)}",
                expected="[n, inputs] and [n] with n at least 1",
            )
        if self.memory_bytes < 1 << 20:
            raise InvalidValue(f"memory_bytes = {self.memory_bytes}", expected="at least 1 MiB, 1048576")

    def losses(self, shares: Vectors, *, before: Vectors, updates: Vectors) -> Vectors:
        """Mean losses of the models ``before + shares @ updates``.

        Args:
            shares: [k, n]: how much of each update each model has.
            before: [D], in the order of ``module.named_parameters()``.
            updates: [n, D].

        Returns:
            float64 [k]; not finite where a model's loss is not.

        Raises:
            InvalidValue: shapes do not fit each other or the module.

        Guarantees:
            A model's loss does not depend on which models are evaluated with it, up to rounding.
        """
        size = num_parameters(self.module)
        if before.shape != (size,) or updates.shape[1:] != (size,) or shares.shape[1:] != updates.shape[:1]:
            raise InvalidValue(
                f"shares {list(shares.shape)}, before {list(before.shape)}, updates {list(updates.shape)}",
                expected=f"[k, n], [{size}], [n, {size}]",
            )
        # The model before is one more direction, which every model has whole.
        directions = torch.from_numpy(np.vstack([updates, before])).to(self._inputs.dtype)
        whole = torch.from_numpy(np.column_stack([shares, np.ones(len(shares))])).to(self._inputs.dtype)
        losses = np.empty(len(shares))
        with torch.no_grad():
            program = _program(self.module, directions, self._inputs)
            step = max(1, min(self.memory_bytes // program.bytes_per_model, program.step))
            for start in range(0, len(whole), step):
                outputs = program.outputs(whole[start : start + step])
                losses[start : start + step] = self._mean_losses(outputs).numpy()
                if self.progress:
                    self.progress(len(outputs))
        return losses

    def gradient(self, model: Vectors) -> Vectors:
        """Gradient of the mean loss, float64 [D] to float64 [D], in double precision."""
        return loss_gradient(self.module, model, features=self.features, targets=self.targets, task=self.task)

    @cached_property
    def _inputs(self) -> torch.Tensor:
        kind = torch.float64 if self.precision == "double" else torch.float32
        return torch.from_numpy(np.array(self.features)).to(kind)

    @cached_property
    def _wanted(self) -> torch.Tensor:
        return torch.from_numpy(np.array(self.targets))

    def _mean_losses(self, outputs: torch.Tensor) -> torch.Tensor:
        """From outputs [models, outputs, records] to losses, float64 [models]."""
        models, width, records = outputs.shape
        if self.task.name == "multiclass":  # along the classes, which are not last here: far faster than one by one
            hits = functional.one_hot(self._wanted.long(), width).T.to(outputs.dtype).reshape(-1)
            return -(functional.log_softmax(outputs, dim=1).reshape(models, -1) @ hits).double() / records
        rows = outputs.transpose(1, 2).reshape(models * records, width)
        losses = self.task.per_example_loss(rows, self._wanted.repeat(models))
        return losses.reshape(models, records).double().mean(dim=1)


class _Program(Protocol):
    """Computes models' outputs; says what a model takes in memory and how many are best computed at once."""

    bytes_per_model: int
    step: int

    def outputs(self, shares: torch.Tensor) -> torch.Tensor:
        """[models, n + 1] to [models, outputs, records]."""
        ...


def _program(module: torch.nn.Module, directions: torch.Tensor, inputs: torch.Tensor) -> _Program:
    layers = list(module) if isinstance(module, torch.nn.Sequential) else [module]
    if layers and type(layers[0]) is torch.nn.Linear and all(_in_chain(layer) for layer in layers):
        return _Chain(layers, directions, inputs)
    return _Vmapped(module, directions, inputs)


def _in_chain(layer: torch.nn.Module) -> bool:
    return type(layer) is torch.nn.Linear or type(layer) in _ELEMENTWISE


class _Chain:
    """Linear layers and activations."""

    def __init__(self, layers: list[torch.nn.Module], directions: torch.Tensor, inputs: torch.Tensor) -> None:
        self._layers: list[tuple[torch.nn.Module, torch.Tensor, torch.Tensor | None]] = []
        start = 0
        for layer in layers:
            weight, bias = directions[:, :0], None
            if isinstance(layer, torch.nn.Linear):
                weight = directions[:, start : start + layer.weight.numel()].contiguous()
                start += layer.weight.numel()
                if layer.bias is not None:
                    bias = directions[:, start : start + layer.bias.numel()].contiguous()
                    start += layer.bias.numel()
            self._layers.append((layer, weight, bias))
        self._records, self._transposed = len(inputs), inputs.T.contiguous()
        widest = max(layer.out_features for layer in layers if isinstance(layer, torch.nn.Linear))
        activations = widest * len(inputs) * inputs.element_size()
        self.bytes_per_model = 3 * activations + directions.shape[1] * directions.element_size()
        self.step = max(1, _CACHE_BYTES // activations)
        self._first = self._first_layer(directions) if len(directions) <= inputs.shape[1] else None

    def _first_layer(self, directions: torch.Tensor) -> torch.Tensor:
        """The first layer's output along each direction: [n + 1, width x records]."""
        first, weight, bias = self._layers[0]
        assert isinstance(first, torch.nn.Linear)
        along = weight.reshape(len(directions), first.out_features, -1) @ self._transposed
        return (along if bias is None else along + bias[:, :, None]).reshape(len(directions), -1)

    def outputs(self, shares: torch.Tensor) -> torch.Tensor:
        hidden = self._transposed.expand(len(shares), -1, -1)
        for place, (layer, weight, bias) in enumerate(self._layers):
            if not isinstance(layer, torch.nn.Linear):
                hidden = layer(hidden)
            elif place == 0 and self._first is not None:
                hidden = (shares @ self._first).reshape(len(shares), -1, self._records)
            else:
                own = (shares @ weight).reshape(len(shares), layer.out_features, -1)
                hidden = own @ hidden if bias is None else torch.baddbmm((shares @ bias)[:, :, None], own, hidden)
        return hidden


class _Vmapped:
    """Any module, by ``torch.func.vmap`` over its parameters."""

    def __init__(self, module: torch.nn.Module, directions: torch.Tensor, inputs: torch.Tensor) -> None:
        self._module, self._directions, self._inputs = module, directions, inputs
        self._shapes = {name: parameter.shape for name, parameter in module.named_parameters()}
        activations = _activation_bytes(self, inputs)
        self.bytes_per_model = 2 * activations + 2 * directions.shape[1] * directions.element_size()
        self.step = max(1, _VMAP_BYTES // activations)

    def outputs(self, shares: torch.Tensor) -> torch.Tensor:
        models, start = shares @ self._directions, 0
        parameters = {}
        for name, shape in self._shapes.items():
            parameters[name] = models[:, start : start + shape.numel()].reshape(len(shares), *shape)
            start += shape.numel()

        def one(own: dict[str, torch.Tensor]) -> torch.Tensor:
            outputs: torch.Tensor = torch.func.functional_call(self._module, own, (self._inputs,))
            return outputs

        return torch.func.vmap(one)(parameters).transpose(1, 2)


def _activation_bytes(program: _Vmapped, inputs: torch.Tensor) -> int:
    """What all submodules' outputs of one model take, found by running one."""
    seen: list[int] = []
    handles = [
        child.register_forward_hook(lambda _child, _inputs, output: seen.append(inputs.element_size() * output.numel()))
        for child in program._module.modules()
    ]
    try:
        program.outputs(torch.zeros(1, len(program._directions), dtype=inputs.dtype))
    finally:
        for handle in handles:
            handle.remove()
    return max(1, sum(seen))
