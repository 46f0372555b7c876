"""Choose rounds and sampling rate for a target epsilon, on public or made-up records: no private record is read.

Each candidate's agreement is written by the same code as a run's, so its noise is what the run would have. Training is
the holders' own clipping, sampling and noise (:class:`~fedjoint.training.local_update.LocalTrainer`), on the same fixed
point; only encryption is left out, which adds up to the same levels. Private statistics and metrics, where they are
configured, are charged, and records held out for metrics are not trained on; made-up records are scaled by the schema.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import shlex
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fedjoint.agreement.schema import Schema
from fedjoint.agreement.terms import Terms
from fedjoint.config import SimulationConfig
from fedjoint.data.datasets.breast_cancer import load_breast_cancer
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.datasets.heart import HEART_SCHEMA
from fedjoint.data.datasets.load import DataOptions
from fedjoint.data.datasets.synthetic import divide_synthetic, synthetic_dataset
from fedjoint.data.division import Division, divide
from fedjoint.data.schema_file import load_schema
from fedjoint.errors import ConfigError, PrivacyError, TrainingError
from fedjoint.models.evaluate import evaluate
from fedjoint.models.vector import parameters_to_vector
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.events import costs
from fedjoint.privacy.noise import NoiseSource
from fedjoint.privacy.releases import epsilon_if_opened, worst_case
from fedjoint.simulation.agreeing import bring_together, compose_terms
from fedjoint.simulation.exact import UpdateLog
from fedjoint.simulation.sizes import released_sizes
from fedjoint.training.aggregate import Levels, apply_sum
from fedjoint.training.local_update import LocalTrainer, agreed_module, agreed_task
from fedjoint.training.optimizer import start_state

__all__ = ["ROUNDS", "SIZES", "Calibration", "Candidate", "Grid", "calibrate"]

ROUNDS = (5, 10, 20, 40, 100)
SIZES = (150, 150, 150, 150)
#: By mode: sampling in mode ``joint`` blurs contributions by as much as it saves, so it is tried only when asked for.
_RATES = {"joint": (1.0,), "local": (1.0, 0.3)}


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What is tried.

    Args:
        rounds: Numbers of rounds, 1 to 10,000 each.
        rates: Sampling rates, in (0, 1]; None: 1, and in mode ``local`` also .3.
        sizes: Records of each made-up holder, at least 2 holders; None: four of 150, or public data as they are.
        repeats: Trainings of each candidate, at least 2: other made-up records, another truth, other noise each.
    """

    rounds: tuple[int, ...] = ROUNDS
    rates: tuple[float, ...] | None = None
    sizes: tuple[int, ...] | None = None
    repeats: int = 3

    def candidates(self, mode: str) -> tuple[tuple[int, float], ...]:
        """Rounds and sampling rate of each candidate in a privacy mode."""
        return tuple(itertools.product(self.rounds, self.rates or _RATES.get(mode, ())))

    def num_trainings(self, mode: str) -> int:
        """How often :func:`calibrate` trains."""
        return self.repeats * len(self.candidates(mode))


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to spend the epsilon.

    Args:
        rounds: Of the run.
        sampling_rate: Of every step.
        noise_multiplier: The least with which all fits into epsilon; in mode ``joint`` that of one holder's share.
        epsilon: What the whole run would cost (add-or-remove adjacency).
        epsilon_if_opened: What it would cost if a holder's ciphertexts were opened; mode ``joint`` only.
        utility: Mean of the metric over the repeats.
        utility_sd: Its standard deviation over them.
    """

    rounds: int
    sampling_rate: float
    noise_multiplier: float
    epsilon: float
    epsilon_if_opened: float | None
    utility: float
    utility_sd: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What came out.

    Args:
        mode: ``local`` or ``joint``.
        epsilon: The target.
        delta: At which it is stated.
        unit: What is added or removed: ``record`` or ``patient``.
        data: ``synthetic``, or the name of public data.
        sizes: Records of each holder that was trained with.
        metric: ``auc`` or ``r2``.
        candidates: In the order they were tried.
        refused: Candidates that no run could have, in words.
        recommended: Place of the recommended one.
        overrides: For ``fedjoint simulate``, which finds the same noise for as many holders: KEY=VALUE each.
    """

    mode: str
    epsilon: float
    delta: float
    unit: str
    data: str
    sizes: tuple[int, ...]
    metric: str
    candidates: tuple[Candidate, ...]
    refused: tuple[str, ...]
    recommended: int
    overrides: tuple[str, ...]
    adjacency: Literal["add-or-remove"] = "add-or-remove"

    @property
    def command_line(self) -> str:
        """The overrides as a shell takes them."""
        return shlex.join(self.overrides)


def calibrate(
    config: SimulationConfig,
    grid: Grid,
    *,
    overrides: Sequence[str] = (),
    on_trained: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Try a grid of rounds and sampling rates at the configured epsilon.

    Args:
        config: Gives the privacy target, the model, the optimiser and the schema. Its own rounds, sampling rate and
            records are not used.
        grid: What is tried.
        overrides: What the configuration was composed of; the recommended overrides start with them.
        on_trained: Hears the name of a candidate after each of its trainings.

    Returns:
        All candidates; recommended is the one of fewest rounds that is no worse than the best by more than the
        standard error of their difference over the repeats.

    Raises:
        ConfigError: there is nothing to choose, or the columns would have to be read off the records.
        PrivacyError: no candidate fits into epsilon.

    Guarantees:
        No record of the configured data is read, except public ``breast_cancer``.

    Source:
        Breiman et al. 1984, "Classification and regression trees" (the one-standard-error rule).
    """
    _check(config)
    dataset, divisions = _material(config, grid)
    found: list[Candidate] = []
    utilities: list[list[float]] = []
    refused: list[str] = []
    for rounds, rate in grid.candidates(config.privacy.mode):
        name = f"{rounds} rounds at rate {rate:g}"
        try:
            terms = _terms(config, dataset, divisions[0], schedule=(rounds, rate))
            utility = []
            for seed, division in enumerate(divisions):
                utility.append(_utility(terms, division, seed=config.seed + seed))
                on_trained(name)
        except (PrivacyError, TrainingError) as problem:
            refused.append(f"{name}: {problem}")
            continue
        found.append(_candidate(terms, utility))
        utilities.append(utility)
    if not found:
        raise PrivacyError("no candidate could be run", remedy=" ".join(refused))
    best = _recommended(found, utilities)
    privacy, target = config.privacy, dataset.schema.target
    assert privacy.epsilon is not None and privacy.delta is not None  # the terms were written
    return Calibration(
        mode=privacy.mode,
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        unit=privacy.unit,
        data=dataset.name,
        sizes=tuple(len(holder.examples) for holder in divisions[0].holders),
        metric=_metric(target.task),
        candidates=tuple(found),
        refused=tuple(refused),
        recommended=best,
        overrides=_with_schedule(overrides, found[best]),
    )


def _check(config: SimulationConfig) -> None:
    if config.privacy.mode == "none":
        raise ConfigError("privacy=none has no noise to choose", expected="privacy=joint or privacy=local")
    if config.privacy.noise_multiplier is not None:
        raise ConfigError(
            f"privacy.noise_multiplier = {config.privacy.noise_multiplier:g} is set, and it is what is to be found",
            remedy="Leave it out, and set privacy.epsilon and privacy.delta.",
        )


def _material(config: SimulationConfig, grid: Grid) -> tuple[Dataset, tuple[Division, ...]]:
    """A data set for the agreement, and a division for each repeat: all public or made up."""
    if config.data.kind == "breast_cancer" and grid.sizes is None:
        public, data = load_breast_cancer(), config.data
        division = divide(
            public,
            reference_fraction=data.reference_fraction,
            minimum_examples=data.minimum_examples,
            seed=config.seed,
        )
        return public, (division,) * grid.repeats
    schema, sizes = _public_schema(config.data), grid.sizes or SIZES
    drawn = [synthetic_dataset(schema, sizes, seed=config.seed + repeat) for repeat in range(grid.repeats)]
    divisions = tuple(divide_synthetic(dataset, sizes) for dataset in drawn)
    if config.privacy.unit == "patient":
        divisions = tuple(map(_one_record_a_patient, divisions))
    return drawn[0], divisions


def _public_schema(data: DataOptions) -> Schema:
    if data.kind == "heart":
        return HEART_SCHEMA
    if data.kind == "breast_cancer":
        return load_breast_cancer().schema
    if data.schema is None:
        raise ConfigError(
            "data.schema is not set, and columns would have to be inferred from private records",
            remedy="Declare them: fedjoint plan … --write-schema FILE, correct it, then data.schema=FILE.",
        )
    return load_schema(Path(data.schema).expanduser())


def _one_record_a_patient(division: Division) -> Division:
    holders = tuple(
        dataclasses.replace(
            holder, examples=dataclasses.replace(holder.examples, groups=np.arange(len(holder.examples)))
        )
        for holder in division.holders
    )
    return dataclasses.replace(division, holders=holders)


def _terms(config: SimulationConfig, dataset: Dataset, division: Division, *, schedule: tuple[int, float]) -> Terms:
    rounds, rate = schedule
    training = dataclasses.replace(config.training, rounds=rounds, sampling_rate=rate)
    # nobody's records: their number needs no secret noise
    sizes = released_sizes(dataclasses.replace(config.privacy, insecure_seed=config.seed), division)
    with closing(bring_together(division, observer=UpdateLog(), sizes=sizes)) as parties:
        return compose_terms(dataclasses.replace(config, training=training), dataset, division, parties)


def _utility(terms: Terms, division: Division, *, seed: int) -> float:
    """Train as the holders would, and measure the last model on the reference records."""
    module, ids = agreed_module(terms), terms.holder_ids
    trainers = [
        LocalTrainer(
            terms=terms,
            holder_id=records.id,
            examples=records.examples.take(np.arange(math.ceil((1 - terms.releases.held_out) * len(records.examples)))),
            noise=NoiseSource.insecure(seed, f"calibrate/{records.id}"),  # nobody's records: nothing to protect
        )
        for records in division.holders
    ]
    state = start_state(parameters_to_vector(module), terms.training)
    for round_number in range(1, terms.training.rounds + 1):
        each = np.stack([trainer.levels(state.model, round_number) for trainer in trainers])
        levels: Levels = each.sum(axis=0, dtype=np.uint64)
        state = apply_sum(state, levels, ids, terms)
    reference, task = division.reference, agreed_task(terms)
    metrics = evaluate(module, state.model, features=reference.features, targets=reference.targets, task=task)
    value = metrics[_metric(terms.data.schema.target.task)]
    if value is None:
        raise TrainingError("the reference records have one class only", remedy="Take another seed.")
    return value


def _metric(task: str) -> str:
    return {"number": "r2", "survival": "concordance"}.get(task, "auc")


def _candidate(terms: Terms, utility: Sequence[float]) -> Candidate:
    privacy, training = terms.privacy, terms.training
    assert privacy.noise_multiplier is not None and privacy.accounted_delta is not None  # modes with noise only
    return Candidate(
        rounds=training.rounds,
        sampling_rate=training.sampling_rate,
        noise_multiplier=privacy.noise_multiplier,
        epsilon=epsilon_of(costs(worst_case(terms)), privacy.accounted_delta),
        epsilon_if_opened=epsilon_if_opened(terms, training.rounds * training.local_steps),
        utility=float(np.mean(utility)),
        utility_sd=float(np.std(utility, ddof=1)),
    )


def _recommended(found: Sequence[Candidate], utilities: Sequence[Sequence[float]]) -> int:
    """The fewest rounds within one standard error of the best; repeats are paired, as they share their records."""
    best = max(range(len(found)), key=lambda place: found[place].utility)
    behind = np.array(utilities[best]) - np.array(utilities)
    error = behind.std(axis=1, ddof=1) / math.sqrt(behind.shape[1])
    close: list[int] = np.flatnonzero(behind.mean(axis=1) <= error).tolist()
    return min(close, key=lambda place: (found[place].rounds, -found[place].utility))


def _with_schedule(overrides: Sequence[str], chosen: Candidate) -> tuple[str, ...]:
    found = {"training.rounds": f"{chosen.rounds}", "training.sampling_rate": f"{chosen.sampling_rate:g}"}
    kept = (text for text in overrides if text.partition("=")[0] not in found)
    return (*kept, *(f"{key}={value}" for key, value in found.items()))
