"""Federated averaging by every coalition, all trainings at once: the game that other values are judged by.

What would the model have been worth if only these holders had trained it? All coalitions' models that a holder trains
in a round see the same records in the same order, so that they are one batch of a tensor program.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fedjoint.errors import InvalidValue, TrainingError
from fedjoint.models.coalitions import CoalitionReference
from fedjoint.models.many import activation_bytes, mean_losses, outputs_of, split

__all__ = ["RetrainingGame", "Shard", "local_training"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Shard:
    """One holder's records.

    Args:
        features: [records, inputs].
        targets: [records], as the task takes them.
        weight: In the average, above 0.

    Raises:
        InvalidValue: features and targets differ in length or are empty, or the weight is not above 0.
    """

    features: NDArray[np.float64]
    targets: NDArray[np.generic]
    weight: float

    def __post_init__(self) -> None:
        if not (self.features.ndim == 2 and len(self.features) == len(self.targets) > 0 and self.weight > 0):
            raise InvalidValue(
                f"{len(self.features)} records, {len(self.targets)} targets, weight {self.weight}",
                expected="as many targets as records, one at least, and a weight above 0",
            )


#: (place of the holder, round from 1) to the records of each local step.
Schedule = Callable[[int, int], Sequence[NDArray[np.intp]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class RetrainingGame:
    """A coalition is worth by how much its own training lowers the reference set's loss.

    Args:
        players: Whose shards they are.
        shards: One for each player.
        reference: Measures models; gives module, task, precision, memory limit and progress (told trainings).
        start: Parameters before the first round, float64 [D].
        rounds: Of averaging, at least 1.
        learning_rate: Of a local step on the mean loss of its records.
        schedule: Must be a pure function: every coalition sees the same steps.

    Raises:
        InvalidValue: players and shards differ in number, or there are no rounds.

    Guarantees:
        The empty coalition is worth exactly 0: its model is the start.

    Source: McMahan et al. (2017), FedAvg, by members only, with weights renormalised among them.
    """

    players: tuple[Hashable, ...]
    shards: tuple[Shard, ...]
    reference: CoalitionReference
    start: NDArray[np.float64]
    rounds: int
    learning_rate: float
    schedule: Schedule

    def __post_init__(self) -> None:
        if not 0 < len(self.players) == len(self.shards) or self.rounds < 1:
            raise InvalidValue(
                f"{len(self.players)} players, {len(self.shards)} shards, {self.rounds} rounds",
                expected="one shard for each player, and at least one round",
            )

    def values(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Utilities, bool [k, n] to float64 [k].

        Raises:
            TrainingError: a coalition's parameters are no longer finite.
        """
        module, inputs = self.reference.module, self.reference.inputs
        activations = activation_bytes(module, inputs[:1])[1] * max(len(shard.targets) for shard in self.shards)
        step = max(1, self.reference.memory_bytes // (8 * self.start.size * inputs.element_size() + 4 * activations))
        losses = np.empty(len(masks))
        for first in range(0, len(masks), step):
            models = self._trained(masks[first : first + step])
            losses[first : first + step] = self.reference.losses_of(models)
            if self.reference.progress:
                self.reference.progress(len(models))
        (before,) = self.reference.losses_of(self.start[None])
        return np.where(masks.any(axis=1), before - losses, 0.0)

    def _trained(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The model of every coalition after all rounds, float64 [k, D]."""
        inputs = self.reference.inputs
        models = torch.from_numpy(np.tile(self.start, (len(masks), 1))).to(inputs.dtype)
        present = masks @ np.array([shard.weight for shard in self.shards])
        for number in range(1, self.rounds + 1):
            total = torch.where(torch.from_numpy(present > 0)[:, None], 0, models)
            for place, shard in enumerate(self.shards):
                rows = np.flatnonzero(masks[:, place])
                if not rows.size:
                    continue
                steps = self.schedule(place, number)
                trained = local_training(models[rows], shard, self.reference, steps, learning_rate=self.learning_rate)
                total[rows] += trained * torch.from_numpy(shard.weight / present[rows])[:, None].to(inputs.dtype)
            models = total
        if not bool(torch.isfinite(models).all()):
            raise TrainingError("a coalition's parameters are no longer finite", remedy="Lower the learning rate.")
        return models.double().numpy()


def local_training(
    models: torch.Tensor,
    shard: Shard,
    reference: CoalitionReference,
    steps: Sequence[NDArray[np.intp]],
    *,
    learning_rate: float,
) -> torch.Tensor:
    """Models after the same steps of gradient descent on one holder's records, [k, D] to [k, D].

    Args:
        models: [k, D], not changed.
        shard: The holder's records.
        reference: Gives module and task.
        steps: The records of each step; the gradient is of their mean loss.
        learning_rate: Of a step.
    """
    module, task = reference.module, reference.task
    features = torch.from_numpy(shard.features).to(models.dtype)
    targets = torch.from_numpy(shard.targets)
    parameters = {name: part.clone().requires_grad_(True) for name, part in split(module, models).items()}
    for chosen in steps:
        # A model's loss depends on its own parameters only: the sum's gradient is each model's own.
        loss = mean_losses(outputs_of(module, parameters, features[chosen]), targets[chosen], task).sum()
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        with torch.no_grad():
            for part, gradient in zip(parameters.values(), gradients, strict=True):
                part.sub_(gradient, alpha=learning_rate)
    return torch.cat([part.detach().reshape(len(models), -1) for part in parameters.values()], dim=1)
