"""A finished run valued again, by any method, from the updates that its agreement kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.signing import read_agreement
from fedjoint.agreement.terms import Terms
from fedjoint.conduct.path_parts import PathParts
from fedjoint.conduct.reference import ReferenceSet
from fedjoint.conduct.reference_file import read_reference
from fedjoint.errors import RecordError, ValuationError
from fedjoint.models.vector import parameters_to_vector
from fedjoint.record.log import read_record
from fedjoint.runs.folder import AGREEMENT, RECORD
from fedjoint.runs.recorded import RecordedRun, read_recorded_run
from fedjoint.runs.verify import verify_run
from fedjoint.simulation.exact import UpdateLog, holder_steps
from fedjoint.simulation.kept_updates import REFERENCE, read_updates
from fedjoint.valuation.estimate import Estimate, Sampling
from fedjoint.valuation.methods import METHODS, RunGames, value_run
from fedjoint.valuation.round_games import RenormalisedGame, RoundGame
from fedjoint.valuation.uncertainty import ErrorBars

__all__ = ["KeptRun", "Revaluation", "read_kept_run", "revalue"]

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptRun:
    """A run as its folder tells it, with every holder's part in every step.

    Args:
        terms: The agreement.
        recorded: What the record says.
        models: Before round 1 and after each round, float64 [D].
        steps: Round by round, holder to its part in the step.
        contributors: Who took part in each round.
        reference: Measures models.
    """

    terms: Terms
    recorded: RecordedRun
    models: tuple[Vector, ...]
    steps: tuple[Mapping[str, Vector], ...]
    contributors: tuple[tuple[str, ...], ...]
    reference: ReferenceSet


@dataclass(frozen=True, kw_only=True, eq=False)
class Revaluation:
    """A run valued again.

    Args:
        method: A key of :data:`fedjoint.valuation.methods.METHODS`.
        estimate: The method's.
        recorded: What was opened and paid by.
        errors: Standard errors of that.
        by_round: Holder to its path contribution round by round, float64 [rounds].
        by_class: Class to holder to its path contribution on the reference records of that class; empty where the
            target has none, or the utility is no mean over records.
    """

    method: str
    estimate: Estimate
    recorded: Mapping[str, float]
    errors: ErrorBars
    by_round: Mapping[str, Vector]
    by_class: Mapping[str, Mapping[str, float]]


def read_kept_run(folder: Path) -> KeptRun:
    """Read a finished run whose agreement kept its updates.

    Raises:
        RecordError: there is no such folder, or a check of ``fedjoint verify`` fails.
        ValuationError: the agreement kept no updates, or they do not lead to the recorded model.
    """
    failed = [check for check in verify_run(folder) if check.outcome != "passed"]
    if failed:
        raise RecordError(f"{folder} does not verify: {failed[0].name}: {failed[0].detail}")
    agreement = read_agreement((folder / AGREEMENT).read_bytes())
    terms = agreement.terms
    log = read_updates(folder, terms)
    witnesses = {holder.identity.id: holder.identity for holder in terms.holders}
    record = read_record(folder / RECORD, agreement.sha256, terms.coordinator, witnesses=witnesses)
    recorded = read_recorded_run(record.events, agreement)
    contributors = tuple(tuple(sorted(recorded.summed[opened.round].receipts)) for opened in recorded.rounds)
    reference = ReferenceSet.of(read_reference(folder / REFERENCE, terms), terms)
    return _followed(terms, recorded, log, contributors, reference)


def _followed(
    terms: Terms,
    recorded: RecordedRun,
    log: UpdateLog,
    contributors: tuple[tuple[str, ...], ...],
    reference: ReferenceSet,
) -> KeptRun:
    """The run with its models, which the updates must lead to."""
    steps = tuple(holder_steps(log, contributors, terms))
    models = [parameters_to_vector(reference.module).astype(np.float64)]
    for parts in steps:
        moved: Vector = models[-1] + np.sum(list(parts.values()), axis=0)
        models.append(moved.astype(np.float32).astype(np.float64))
    if abs(reference.loss(models[-1]) - recorded.rounds[-1].loss) > 1e-5 * max(1.0, abs(recorded.rounds[-1].loss)):
        raise ValuationError("the kept updates lead to another model than the run's", remedy="Get the folder again.")
    return KeptRun(
        terms=terms,
        recorded=recorded,
        models=tuple(models),
        steps=steps,
        contributors=contributors,
        reference=reference,
    )


def revalue(
    run: KeptRun, method: str, sampling: Sampling, *, progress: Callable[[int], None] | None = None
) -> Revaluation:
    """Value a run by a method, beside what was paid by.

    Args:
        run: From :func:`read_kept_run`.
        method: A key of :data:`fedjoint.valuation.methods.METHODS`.
        sampling: What a method that samples may spend.
        progress: Told after each step how many models of coalitions it evaluated.

    Raises:
        ValuationError: no such method, one that needs more than updates, or too many holders for it.
    """
    if method in METHODS and METHODS[method].games == "retraining":
        raise ValuationError(
            f"method {method} trains again on every holder's records, which a run's folder does not hold",
            expected="one of: " + ", ".join(name for name, one in METHODS.items() if one.games != "retraining"),
        )
    by_round, by_class = _path_parts(run)
    return Revaluation(
        method=method,
        estimate=value_run(method, _games(run, progress), sampling),
        recorded=run.recorded.contributions,
        errors=run.recorded.errors,
        by_round=by_round,
        by_class=by_class,
    )


def _games(run: KeptRun, progress: Callable[[int], None] | None) -> RunGames:
    measure, terms = run.reference.of_coalitions(progress=progress), run.terms
    as_run, renormalised = [], []
    for before, steps in zip(run.models, run.steps, strict=False):
        players, updates = tuple(steps), np.stack(list(steps.values()))
        weights = np.array([terms.weight(holder) for holder in players])
        as_run.append(RoundGame(players=players, before=before, updates=updates, reference=measure))
        renormalised.append(
            RenormalisedGame(players=players, before=before, updates=updates, reference=measure, weights=weights)
        )
    return RunGames(players=terms.holder_ids, as_run=tuple(as_run), renormalised=tuple(renormalised))


def _path_parts(run: KeptRun) -> tuple[dict[str, Vector], dict[str, dict[str, float]]]:
    """Path contributions round by round, and on the records of each class."""
    parts = PathParts(run.reference, run.terms, run.terms.holder_ids)
    by_round = {holder: np.zeros(len(run.steps)) for holder in run.terms.holder_ids}
    for number, steps in enumerate(run.steps):
        for holder, gain in parts.add_round(run.models[number], run.models[number + 1], steps).items():
            by_round[holder][number] = gain
    return by_round, parts.by_class()
