"""Path contributions taken apart, where updates are in the clear: by round, and by class of the reference records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.terms import Terms
from fedjoint.conduct.reference import ReferenceSet
from fedjoint.valuation.aumann_shapley import path_nodes

__all__ = ["PathParts"]

Vector = npt.NDArray[np.float64]


class PathParts:
    """Adds up round by round.

    Args:
        reference: The records that the utility is measured on.
        terms: The agreement.
        holders: Whose contributions.
    """

    def __init__(self, reference: ReferenceSet, terms: Terms, holders: Sequence[str]) -> None:
        self._reference, self._terms = reference, terms
        self._per_record = {holder: np.zeros(len(reference.examples)) for holder in holders}

    def add_round(self, before: Vector, after: Vector, steps: Mapping[str, Vector]) -> dict[str, float]:
        """One round's contributions of those who have a part in its step.

        Args:
            before: The model before the round, float64 [D].
            after: The model after it.
            steps: Holder to its part in the step, float64 [D].
        """
        found = dict.fromkeys(steps, 0.0)
        if not steps:
            return found
        directions = np.stack(list(steps.values()))
        for model, weight in path_nodes(before, after, points=self._terms.valuation.quadrature_points):
            gains = -weight * (directions @ self._reference.gradient(model))
            influences = weight * self._reference.influences(model, directions)
            for holder, gain, influence in zip(steps, gains, influences, strict=True):
                found[holder] += float(gain)
                self._per_record[holder] += influence + gain / len(self._reference.examples)
        return found

    def influences(self) -> dict[str, Vector]:
        """Each reference record's influence on each holder's contribution, float64 [records].

        See :func:`fedjoint.valuation.uncertainty.sampling_covariance`.
        """
        return {holder: values - values.mean() for holder, values in self._per_record.items()}

    def by_class(self) -> dict[str, dict[str, float]]:
        """Class to holder to its contribution on the records of that class; they sum to its contribution.

        Empty where the target has no classes, or the utility is no mean over records.
        """
        target, found = self._terms.data.schema.target, self._reference.examples.targets
        if self._terms.valuation.utility != "negative_loss" or not target.classes:
            return {}
        return {
            str(name): {holder: float(values[found == place].sum()) for holder, values in self._per_record.items()}
            for place, name in enumerate(target.classes)
        }
