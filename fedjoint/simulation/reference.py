"""The exchange's reference set, and models trained alone or on pooled records to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fedjoint.agreement.terms import Terms
from fedjoint.data.division import Division
from fedjoint.data.records import Cells, Examples
from fedjoint.models.coalitions import CoalitionReference
from fedjoint.models.evaluate import evaluate, loss_gradient, mean_loss
from fedjoint.models.tasks import Metrics, Task
from fedjoint.models.training import PlainPlan, train_plainly
from fedjoint.models.vector import parameters_to_vector
from fedjoint.training.local_update import agreed_module, agreed_task

__all__ = ["Baselines", "ReferenceSet", "mean_metrics", "train_baselines"]

Model = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class ReferenceSet:
    """Measures models on records that belong to the exchange and to no holder.

    Args:
        examples: The records, encoded.
        holder_of: Which holder's kind each record is.
        module: The agreed model's computation.
        task: The agreed loss and metrics.
    """

    examples: Examples
    holder_of: Cells
    module: torch.nn.Module
    task: Task

    @classmethod
    def of(cls, division: Division, terms: Terms) -> ReferenceSet:
        """The reference set of a divided data set."""
        return cls(
            examples=division.reference,
            holder_of=division.reference_holder_of,
            module=agreed_module(terms),
            task=agreed_task(terms),
        )

    def loss(self, model: Model) -> float:
        """Mean loss, float64."""
        return mean_loss(
            self.module, model, features=self.examples.features, targets=self.examples.targets, task=self.task
        )

    def gradient(self, model: Model) -> npt.NDArray[np.float64]:
        """Gradient of the mean loss, float64 [D]."""
        return loss_gradient(
            self.module, model, features=self.examples.features, targets=self.examples.targets, task=self.task
        )

    def of_coalitions(self) -> CoalitionReference:
        """Measures the models of many coalitions at once."""
        return CoalitionReference(
            module=self.module,
            features=np.asarray(self.examples.features, dtype=np.float64),
            targets=self.examples.targets,
            task=self.task,
        )

    def metrics(self, model: Model) -> Metrics:
        """Metrics on all records."""
        return self._metrics(model, self.examples)

    def metrics_of(self, model: Model, holder: str) -> Metrics:
        """Metrics on the records of one holder's kind; all None if there are none."""
        index = np.flatnonzero(self.holder_of == holder)
        if not len(index):
            return dict.fromkeys(self.metrics(model))
        return self._metrics(model, self.examples.take(index))

    def _metrics(self, model: Model, examples: Examples) -> Metrics:
        return evaluate(self.module, model, features=examples.features, targets=examples.targets, task=self.task)


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """Models trained without privacy for comparison: on all records pooled, and by each holder alone."""

    pooled: npt.NDArray[np.float32]
    alone: Mapping[str, npt.NDArray[np.float32]]


def train_baselines(division: Division, terms: Terms) -> Baselines:
    """Train the agreed model with the agreed number of steps on pooled records, and on each holder's own.

    Nobody could do the first in earnest, as records may not be pooled: it is what joining is measured against.
    """
    holders = division.holders
    pooled = Examples(
        features=np.concatenate([records.examples.features for records in holders]),
        targets=np.concatenate([records.examples.targets for records in holders]),
    )
    alone = {
        records.id: _train(records.examples, terms, (terms.training.seed, place, 0))
        for place, records in enumerate(holders)
    }
    return Baselines(pooled=_train(pooled, terms, (terms.training.seed, len(holders), 0)), alone=alone)


def _train(examples: Examples, terms: Terms, seed: tuple[int, ...]) -> npt.NDArray[np.float32]:
    module, training = agreed_module(terms), terms.training
    plan = PlainPlan(
        steps=training.rounds * training.local_steps,
        learning_rate=training.learning_rate,
        sampling_rate=training.sampling_rate,
        expected_batch_size=training.sampling_rate * len(examples),
        seed=seed,
    )
    return train_plainly(
        module,
        parameters_to_vector(module),
        features=examples.features,
        targets=examples.targets,
        task=agreed_task(terms),
        plan=plan,
    )


def mean_metrics(several: Sequence[Mapping[str, float | None]]) -> Metrics:
    """The mean of each metric over those that have it; None where none has.

    Example:
        >>> mean_metrics([{"auc": 0.5}, {"auc": None}, {"auc": 1.0}])
        {'auc': 0.75}
    """
    means: Metrics = {}
    for name in several[0]:
        known = [value for metrics in several if (value := metrics[name]) is not None]
        means[name] = float(np.mean(known)) if known else None
    return means
