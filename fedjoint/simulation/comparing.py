"""What only a simulation may know of a run: what each holder would have had alone, and what it added exactly."""

from __future__ import annotations

import numpy as np

from fedjoint.agreement.terms import Terms
from fedjoint.conduct.reference import ReferenceSet
from fedjoint.conduct.reporting import Comparison
from fedjoint.conduct.training import TrainedRun
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.division import Division, standardised
from fedjoint.runs.report import DataReport, LeftOutReport
from fedjoint.simulation.baselines import train_baselines
from fedjoint.simulation.exact import UpdateLog, exact_contributions
from fedjoint.simulation.own import Apart
from fedjoint.valuation.uncertainty import sampling_covariance

__all__ = ["compare", "describe_data"]


def compare(
    trained: TrainedRun,
    reference: ReferenceSet,
    *,
    division: Division,
    terms: Terms,
    updates: UpdateLog,
    apart: Apart | None,
) -> Comparison:
    """Train what the joint model is measured against, and value the run exactly where that is possible.

    Args:
        trained: The run.
        reference: As it was at the run's end.
        division: Everybody's records.
        terms: The agreement.
        updates: Every update in the clear.
        apart: The contributions, taken apart; None where they are not measured on the exchange's records.
    """
    if trained.standardisation is not None:
        division = standardised(division, trained.standardisation, terms.data.schema)
    baselines = train_baselines(division, terms)
    ids = terms.holder_ids
    models = [model.astype(np.float64) for model in trained.models]
    contributors = [summary.contributors for summary in trained.rounds]
    return Comparison(
        pooled=reference.metrics(baselines.pooled),
        own_on_all={holder: reference.metrics(baselines.alone[holder]) for holder in ids},
        own={holder: reference.metrics_of(baselines.alone[holder], holder) for holder in ids},
        joint_own={holder: reference.metrics_of(trained.model, holder) for holder in ids},
        num_reference={holder: reference.num_of(holder) for holder in ids},
        # on holders' own records nothing else can be computed: those are not known
        exact=None
        if terms.validated_by_holders
        else exact_contributions(updates, models, contributors, reference, terms),
        sampling=sampling_covariance(apart.influences) if apart is not None else None,
    )


def describe_data(dataset: Dataset, division: Division) -> DataReport:
    """What a report says of the data."""
    notes = [*dataset.notes, *dataset.schema.notes]
    notes += [f"'{holder}' trains on records of one class only" for holder in division.one_class]
    return DataReport(
        title=dataset.title or dataset.name,
        task=dataset.schema.target.task,
        target=dataset.schema.target.name,
        num_features=dataset.schema.width,
        num_reference=len(division.reference),
        licence=dataset.licence,
        citation=dataset.citation,
        notes=tuple(dict.fromkeys(notes)),
        left_out=tuple(LeftOutReport(name=one.name, reason=one.reason) for one in division.left_out),
    )
