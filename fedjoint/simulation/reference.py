"""The exchange's reference set, and models trained alone or on pooled records to compare with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fedjoint.agreement.schema import Schema
from fedjoint.agreement.terms import Terms
from fedjoint.data.division import Division
from fedjoint.data.records import Cells, Examples
from fedjoint.data.standardise import Standardisation
from fedjoint.models.coalitions import CoalitionReference
from fedjoint.models.evaluate import evaluate, influences, loss_gradient, mean_loss
from fedjoint.models.tasks import Metrics, Task
from fedjoint.models.training import PlainPlan, train_plainly
from fedjoint.models.utilities import NEGATIVE_LOSS, Utility, utility_of
from fedjoint.models.vector import parameters_to_vector
from fedjoint.training.local_update import agreed_module, agreed_task
from fedjoint.valuation.round_games import Reference as CoalitionMeasure

__all__ = ["Baselines", "ReferenceSet", "mean_metrics", "train_baselines"]

Model = npt.NDArray[np.floating[Any]]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ReferenceSet:
    """Measures models on records that belong to the exchange and to no holder.

    Args:
        examples: The records, encoded.
        holder_of: Which holder's kind each record is.
        module: The agreed model's computation.
        task: The agreed loss and metrics.
        utility: What a model is worth, as agreed.
    """

    examples: Examples
    holder_of: Cells
    module: torch.nn.Module
    task: Task
    utility: Utility = NEGATIVE_LOSS

    @classmethod
    def of(cls, division: Division, terms: Terms) -> ReferenceSet:
        """The reference set of a divided data set."""
        return cls(
            examples=division.reference,
            holder_of=division.reference_holder_of,
            module=agreed_module(terms),
            task=agreed_task(terms),
            utility=utility_of(terms.valuation.utility, agreed_task(terms)),
        )

    def loss(self, model: Model) -> float:
        """Loss of the agreed utility, float64."""
        return mean_loss(
            self.module,
            model,
            features=self.examples.features,
            targets=self.examples.targets,
            task=self.task,
            utility=self.utility,
        )

    def gradient(self, model: Model) -> npt.NDArray[np.float64]:
        """Gradient of :meth:`loss`, float64 [D]."""
        return loss_gradient(
            self.module,
            model,
            features=self.examples.features,
            targets=self.examples.targets,
            task=self.task,
            utility=self.utility,
        )

    def influences(self, model: Model, directions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Each record's influence on the rise of the utility along directions [h, D]: float64 [h, records]."""
        records = (self.examples.features, self.examples.targets)
        return influences(self.module, model, directions, records=records, task=self.task, utility=self.utility)

    def of_coalitions(self) -> CoalitionMeasure:
        """Measures the models of many coalitions: at once, or one by one where the utility is no mean over records."""
        if self.utility is not NEGATIVE_LOSS:
            return _OneByOne(reference=self)
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


class Yardstick:
    """The reference set of a run whose records may be standardised once it has begun.

    Args:
        reference: Encoded with public constants.
        schema: As agreed.
    """

    def __init__(self, reference: ReferenceSet, schema: Schema) -> None:
        self._schema, self.reference = schema, reference
        self.standardisation: Standardisation | None = None

    def standardise(self, standardisation: Standardisation) -> None:
        """Encode the reference set as every holder now encodes its records."""
        self.standardisation = standardisation
        examples = standardisation.apply(self.reference.examples, self._schema)
        self.reference = dataclasses.replace(self.reference, examples=examples)

    def loss(self, model: Model) -> float:
        """Mean loss, float64."""
        return self.reference.loss(model)

    def gradient(self, model: Model) -> npt.NDArray[np.float64]:
        """Gradient of the mean loss, float64 [D]."""
        return self.reference.gradient(model)

    def metrics(self, model: Model) -> Metrics:
        """Metrics on all records."""
        return self.reference.metrics(model)


@dataclass(frozen=True, kw_only=True)
class _OneByOne:
    """As :class:`fedjoint.models.coalitions.CoalitionReference`, for any utility."""

    reference: ReferenceSet

    def losses(self, shares: Vector, *, before: Vector, updates: Vector) -> Vector:
        """Loss of the models ``before + shares @ updates``, float64 [k]."""
        return np.array([self.reference.loss(before + share @ updates) for share in shares])

    def gradient(self, model: Vector) -> Vector:
        """Gradient of the loss, float64 [D]."""
        return self.reference.gradient(model)


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
