"""Every holder's contribution taken apart, as only a simulation can: each holder gets a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.terms import Terms
from fedjoint.conduct.conducting import ConductedRun
from fedjoint.conduct.path_parts import PathParts
from fedjoint.conduct.reference import ReferenceSet
from fedjoint.conduct.training import TrainedRun
from fedjoint.runs.own import OwnContribution, write_own
from fedjoint.simulation.exact import UpdateLog, holder_steps

__all__ = ["Apart", "take_apart", "write_own_files"]


@dataclass(frozen=True, kw_only=True)
class Apart:
    """The contributions of a run, taken apart.

    Args:
        by_round: Holder to its contribution of each round.
        by_class: Class to holder to its contribution on the reference records of that class; may be empty.
        influences: Holder to the influence of each reference record, float64 [records].
        num_reference: Reference records.
    """

    by_round: Mapping[str, tuple[float, ...]]
    by_class: Mapping[str, Mapping[str, float]]
    influences: Mapping[str, npt.NDArray[np.float64]]
    num_reference: int


def take_apart(trained: TrainedRun, reference: ReferenceSet, terms: Terms, updates: UpdateLog) -> Apart:
    """Follow every holder's part along the path of the models.

    Args:
        trained: The run.
        reference: Its reference set, as it was at the run's end.
        terms: The agreement.
        updates: Every update in the clear.
    """
    parts = PathParts(reference, terms, terms.holder_ids)
    models = [model.astype(np.float64) for model in trained.models]
    by_round: dict[str, list[float]] = {holder: [] for holder in terms.holder_ids}
    steps = holder_steps(updates, [summary.contributors for summary in trained.rounds], terms)
    for number, moved in enumerate(steps):
        found = parts.add_round(models[number], models[number + 1], moved)
        for holder, gains in by_round.items():
            gains.append(found.get(holder, 0.0))
    return Apart(
        by_round={holder: tuple(gains) for holder, gains in by_round.items()},
        by_class=parts.by_class(),
        influences=parts.influences(),
        num_reference=len(reference.examples),
    )


def write_own_files(run: ConductedRun, apart: Apart, terms: Terms) -> None:
    """Leave each holder's file beside the run's folder, as a node would keep it: it is nobody else's.

    Args:
        run: The run.
        apart: From :func:`take_apart`.
        terms: The agreement.

    Raises:
        ValuationError: a file cannot be written.
    """
    folder = run.folder.parent / f"{run.folder.name}.own"
    for holder in run.report.holders:
        own = OwnContribution(
            run_id=run.report.run_id,
            agreement_sha256=run.report.agreement_sha256,
            holder=holder.id,
            name=holder.name,
            utility=terms.valuation.utility,
            num_reference=apart.num_reference,
            by_round=apart.by_round[holder.id],
            by_class={name: values[holder.id] for name, values in apart.by_class.items()},
            stated=holder.contribution,
        )
        write_own(folder / f"{holder.id}.json", own)
