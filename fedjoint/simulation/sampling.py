"""How far contributions depend on which records are in the reference set: by every update, so in simulations only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.terms import Terms
from fedjoint.conduct.reference import ReferenceSet
from fedjoint.simulation.exact import UpdateLog, holder_steps
from fedjoint.valuation.aumann_shapley import path_nodes

__all__ = ["path_influences"]

#: An error bar needs fewer nodes than the value: two are within a fraction of a percent of it.
_POINTS = 2

Vector = npt.NDArray[np.float64]


def path_influences(
    log: UpdateLog,
    models: Sequence[Vector],
    contributors: Sequence[Sequence[str]],
    reference: ReferenceSet,
    terms: Terms,
) -> Mapping[str, Vector]:
    """Each reference record's influence on each holder's contribution, the models' path and the updates as they were.

    Args:
        log: The updates.
        models: The model before round 1 and after each round.
        contributors: Who took part in each round.
        reference: The records.
        terms: The agreement.

    Returns:
        Holder to float64 [records]; see :func:`fedjoint.valuation.uncertainty.sampling_covariance`.
    """
    totals = {holder: np.zeros(len(reference.examples)) for holder in terms.holder_ids}
    for number, steps in enumerate(holder_steps(log, contributors, terms)):
        directions = np.stack(list(steps.values()))
        for model, weight in path_nodes(models[number], models[number + 1], points=_POINTS):
            for holder, found in zip(steps, reference.influences(model, directions), strict=True):
                totals[holder] += weight * found
    return totals
