"""The exchange's reference set: records that are no holder's, on which the model is measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fedjoint.agreement.schema import Schema
from fedjoint.agreement.terms import Terms
from fedjoint.data.records import Cells, Examples, Index
from fedjoint.data.standardise import Standardisation
from fedjoint.encryption.scratch import IN_MEMORY, Scratch, forget
from fedjoint.models.coalitions import CoalitionReference
from fedjoint.models.evaluate import evaluate, group_gradients, influences, loss_gradient, mean_loss
from fedjoint.models.tasks import Metrics, Task
from fedjoint.models.utilities import NEGATIVE_LOSS, Utility, utility_of
from fedjoint.training.local_update import agreed_module, agreed_task
from fedjoint.valuation.record_groups import RecordGroups
from fedjoint.valuation.round_games import Reference as CoalitionMeasure

__all__ = ["ReferenceSet", "Yardstick"]

Model = npt.NDArray[np.floating[Any]]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ReferenceSet:
    """Measures models on records that belong to the exchange and to no holder.

    Args:
        examples: The records, encoded.
        module: The agreed model's computation.
        task: The agreed loss and metrics.
        utility: What a model is worth, as agreed.
        holder_of: Which holder's kind each record is; None: it is not known.
    """

    examples: Examples
    module: torch.nn.Module
    task: Task
    utility: Utility = NEGATIVE_LOSS
    holder_of: Cells | None = None

    @classmethod
    def of(cls, examples: Examples, terms: Terms, *, holder_of: Cells | None = None) -> ReferenceSet:
        """The reference set of an agreement."""
        return cls(
            examples=examples,
            holder_of=holder_of,
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
        """Gradient of :meth:`loss`, float64 [D], computed in the models' own precision.

        Its rounding, some 1e-7 of it, is far below the fixed point of the ciphertexts that it is folded into.
        """
        return loss_gradient(
            self.module,
            model,
            features=self.examples.features,
            targets=self.examples.targets,
            task=self.task,
            utility=self.utility,
            precision=torch.float32,
        )

    def contrast_gradients(
        self, model: Model, groups: RecordGroups, *, scratch: Scratch = IN_MEMORY
    ) -> npt.NDArray[np.floating[Any]]:
        """Gradients of contrasts between groups of the records, float32 [J, D].

        The inner product of row k with an update is the sum over records of ``xi_k`` times their :meth:`influences` in
        its direction.

        Args:
            model: Parameters [D].
            groups: Of these records.
            scratch: Where they are kept, in an array of G rows.

        Raises:
            InvalidValue: groups of another number of records.
        """
        records = (self.examples.features, self.examples.targets)
        found = group_gradients(
            self.module, model, groups=groups.groups, records=records, task=self.task, utility=self.utility
        )
        count = groups.contrasts.shape[1]
        rows: npt.NDArray[np.float32] = scratch.array("<f4", count * model.size).reshape(count, -1)
        for row, gradient in zip(rows, found, strict=True):
            row[:] = gradient
            forget(rows)
        return groups.contrast(rows)

    def influences(self, model: Model, directions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Each record's influence on the rise of the utility along directions [h, D]: float64 [h, records]."""
        records = (self.examples.features, self.examples.targets)
        return influences(self.module, model, directions, records=records, task=self.task, utility=self.utility)

    def of_coalitions(self, *, progress: Callable[[int], None] | None = None) -> CoalitionMeasure:
        """Measures the models of many coalitions: at once, or one by one where the utility is no mean over records.

        Args:
            progress: Told after each step how many models it evaluated.
        """
        if self.utility is not NEGATIVE_LOSS:
            return _OneByOne(reference=self, progress=progress)
        return CoalitionReference(
            module=self.module,
            features=np.asarray(self.examples.features, dtype=np.float64),
            targets=self.examples.targets,
            task=self.task,
            progress=progress,
        )

    def metrics(self, model: Model) -> Metrics:
        """Metrics on all records."""
        return self._metrics(model, self.examples)

    def metrics_of(self, model: Model, holder: str) -> Metrics:
        """Metrics on the records of one holder's kind; all None if there are none."""
        index = self._of_kind(holder)
        if not len(index):
            return dict.fromkeys(self.metrics(model))
        return self._metrics(model, self.examples.take(index))

    def num_of(self, holder: str) -> int:
        """How many records are of a holder's kind."""
        return len(self._of_kind(holder))

    def _of_kind(self, holder: str) -> Index:
        return np.flatnonzero(self.holder_of == holder) if self.holder_of is not None else np.zeros(0, dtype=np.int64)

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

    def contrast_gradients(
        self, model: Model, groups: RecordGroups, *, scratch: Scratch = IN_MEMORY
    ) -> npt.NDArray[np.floating[Any]]:
        """Gradients of contrasts between groups of the records, float32 [J, D]."""
        return self.reference.contrast_gradients(model, groups, scratch=scratch)

    def metrics(self, model: Model) -> Metrics:
        """Metrics on all records."""
        return self.reference.metrics(model)


@dataclass(frozen=True, kw_only=True)
class _OneByOne:
    """As :class:`fedjoint.models.coalitions.CoalitionReference`, for any utility."""

    reference: ReferenceSet
    progress: Callable[[int], None] | None = None

    def losses(self, shares: Vector, *, before: Vector, updates: Vector) -> Vector:
        """Loss of the models ``before + shares @ updates``, float64 [k]."""
        losses = np.empty(len(shares))
        for place, share in enumerate(shares):
            losses[place] = self.reference.loss(before + share @ updates)
            if self.progress is not None:
                self.progress(1)
        return losses

    def gradient(self, model: Vector) -> Vector:
        """Gradient of the loss, float64 [D]."""
        return self.reference.gradient(model)
