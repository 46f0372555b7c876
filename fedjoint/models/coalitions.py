"""Many models at once: the losses of all coalitions of a round as one tensor program.

The models of a round's coalitions are ``before + shares @ updates``: a base and a few directions, which
:mod:`fedjoint.models.shared_first` makes use of. Other chains of linear layers and activations are batched products,
and whatever else there is is run by ``torch.func.vmap``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from fedjoint.errors import InvalidValue
from fedjoint.models.evaluate import loss_gradient
from fedjoint.models.many import LossMeter, Workspace, activation_bytes, chain_of, mean_losses, outputs_of, split
from fedjoint.models.shared_first import SharedFirst
from fedjoint.models.tasks import Task
from fedjoint.models.vector import num_parameters

__all__ = ["CoalitionReference"]

#: Activations of so many bytes stay in a core's cache; vmap costs more to start, and wants longer steps.
_CACHE_BYTES, _VMAP_BYTES = 3 << 20, 1 << 24
#: Small models too are not evaluated all at once: fresh pieces of memory cost more than what is computed in them.
_MOST_MODELS = 512

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
        precision: ``double``, or ``single``: twice as fast, and losses are off by some 1e-7.
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
        directions = torch.from_numpy(np.vstack([updates, before])).to(self.inputs.dtype)
        whole = torch.from_numpy(np.column_stack([shares, np.ones(len(shares))])).to(self.inputs.dtype)
        losses = np.empty(len(shares))
        with torch.no_grad():
            program = _Program(
                self.module,
                directions,
                self.inputs,
                whole,
                room=self._room,
                activations=self._activations,
                memory_bytes=self.memory_bytes,
            )
            meter = LossMeter(self._wanted, self.task, self._room)
            for start in range(0, len(whole), program.step):
                outputs = program.outputs(slice(start, start + program.step))
                losses[start : start + program.step] = meter(outputs).numpy()
                if self.progress:
                    self.progress(len(outputs))
        return losses

    def losses_of(self, models: Vectors) -> Vectors:
        """Mean losses of models that have nothing in common, float64 [k, D] to float64 [k]; reports no progress."""
        losses = np.empty(len(models))
        largest, all_together = self._activations
        step = max(1, min(self.memory_bytes // (2 * all_together), _CACHE_BYTES // largest))
        with torch.no_grad():
            for start in range(0, len(models), step):
                own = split(self.module, torch.from_numpy(models[start : start + step]).to(self.inputs.dtype))
                outputs = outputs_of(self.module, own, self.inputs)
                losses[start : start + step] = mean_losses(outputs, self._wanted, self.task).numpy()
        return losses

    def gradient(self, model: Vectors) -> Vectors:
        """Gradient of the mean loss, float64 [D] to float64 [D], in double precision."""
        return loss_gradient(self.module, model, features=self.features, targets=self.targets, task=self.task)

    @cached_property
    def inputs(self) -> torch.Tensor:
        """The features in the precision that losses are computed in."""
        kind = torch.float64 if self.precision == "double" else torch.float32
        return torch.from_numpy(np.array(self.features)).to(kind)

    @cached_property
    def _activations(self) -> tuple[int, int]:
        return activation_bytes(self.module, self.inputs)

    @cached_property
    def _room(self) -> Workspace:
        return Workspace(self.inputs)

    @cached_property
    def _wanted(self) -> torch.Tensor:
        return torch.from_numpy(np.array(self.targets))


class _Program:
    """Computes the outputs of models given as shares of directions.

    Args:
        module: Gives the computation.
        directions: [n + 1, D]; the last one is the model before.
        inputs: [records, inputs].
        shares: Of all models, [models, n + 1].
        room: Memory for what is large.
        activations: Of :func:`activation_bytes`.
        memory_bytes: About what the models of a step may take.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        directions: torch.Tensor,
        inputs: torch.Tensor,
        shares: torch.Tensor,
        *,
        room: Workspace,
        activations: tuple[int, int],
        memory_bytes: int,
    ) -> None:
        self._module, self._directions, self._inputs, self._shares = module, directions, inputs, shares
        self._shared = SharedFirst.of(module, directions, inputs, room)
        largest, all_together = activations
        bytes_per_model = 2 * all_together + 2 * directions.shape[1] * directions.element_size()
        is_chain = self._shared is not None or chain_of(module) is not None
        fitting = (_CACHE_BYTES if is_chain else _VMAP_BYTES) // largest
        most = max(1, min(fitting, memory_bytes // bytes_per_model, _MOST_MODELS))
        #: How many models are evaluated at once.
        self.step = most if self._shared is None else self._shared.prepare(shares, most=most)

    def outputs(self, rows: slice) -> torch.Tensor:
        """Of these of the models, [models, outputs, records]."""
        if self._shared is not None:
            return self._shared.outputs(rows)
        return outputs_of(self._module, split(self._module, self._shares[rows] @ self._directions), self._inputs)
