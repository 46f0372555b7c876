"""A run valued again, in the form that tables and pages are made from."""

from __future__ import annotations

import math

from fedjoint.pool.shares import shares_from_contributions
from fedjoint.runs.valued import ValuedHolder, ValuedRun
from fedjoint.simulation.revalue import KeptRun, Revaluation
from fedjoint.valuation.methods import METHODS

__all__ = ["as_valued_run"]


def as_valued_run(name: str, run: KeptRun, found: Revaluation) -> ValuedRun:
    """Put both methods side by side.

    Args:
        name: Of the run.
        run: What was valued.
        found: Its values.
    """
    values = {str(holder): value for holder, value in found.estimate.by_player().items()}
    errors = zip(values, map(float, found.estimate.standard_errors), strict=True)
    sampling = {holder: error if math.isfinite(error) else None for holder, error in errors}
    paid, other = shares_from_contributions(found.recorded), shares_from_contributions(values)
    return ValuedRun(
        run=name,
        method=found.method,
        summary=METHODS[found.method].summary,
        evaluations=found.estimate.evaluations,
        reached=found.estimate.reached,
        misallocated=float(sum(abs(paid[holder] - other[holder]) for holder in paid) / 2),
        holders=tuple(
            ValuedHolder(
                id=holder,
                name=run.terms.holder(holder).identity.name,
                paid_by=found.recorded[holder],
                standard_error=found.errors.standard_error(holder),
                value=values[holder],
                sampling_error=sampling[holder],
                by_round=tuple(map(float, found.by_round[holder])),
                by_class={name: by_holder[holder] for name, by_holder in found.by_class.items()},
            )
            for holder in run.terms.holder_ids
        ),
    )
