"""Training and valuation of a run over any Grid, through the real Flower apps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fedjoint import __version__
from fedjoint.conduct.reference import Yardstick
from fedjoint.conduct.stopwatch import Stopwatch
from fedjoint.data.standardise import Standardisation
from fedjoint.errors import TrainingError
from fedjoint.flower.server_app import make_server_app
from fedjoint.identity.keys import Identity
from fedjoint.models.vector import parameters_to_vector
from fedjoint.training.aggregate import Levels
from fedjoint.training.checkpoint import CheckpointStore
from fedjoint.training.contributions import Contributions
from fedjoint.training.coordinator import Coordinator, Log, RoundSummary
from fedjoint.training.holder_release import standardisation_from
from fedjoint.training.local_update import agreed_module
from fedjoint.training.parts import PartedChannel
from fedjoint.training.plan import Channel
from fedjoint.training.release_round import OpenedRelease
from fedjoint.training.session import Session
from fedjoint.training.workplace import Workplace
from fedjoint.transport.holder_grid import HolderGrid, run_server_app

__all__ = ["Conditions", "RunSuspended", "TrainedRun", "train"]

#: In one process a holder answers at once or never.
_TIMEOUT_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Who hears of a run, and how long it waits for holders.

    Args:
        on_round: Hears each round, those too that were closed before this process took the run up; may raise
            :class:`RunSuspended`.
        stopwatch: Times the stages ``keys``, ``statistics``, ``training``, ``metrics`` and ``contributions``.
        timeout_s: Holders that have not answered a task by then are left out of it.
        workplace: Where the coordinator keeps large arrays, and who hears how far its additions are.
        store: What the run must not forget if this process is killed; None: it ends with the process.
    """

    on_round: Callable[[RoundSummary], None] = lambda summary: None
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    timeout_s: float = _TIMEOUT_S
    workplace: Workplace = field(default_factory=Workplace)
    store: CheckpointStore | None = None


class RunSuspended(TrainingError):
    """The run was interrupted between two rounds and goes on later: holders keep what they have reserved for it."""

    code = "training.suspended"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedRun:
    """A run after training and valuation, before money.

    Args:
        models: The model before round 1 and after each round, float32 [D].
        rounds: What each round came to.
        losses: Reference loss of each of ``models``.
        contributions: Of each holder.
        end: Why training ended.
        histogram: The opened histogram for private metrics, if one was agreed.
        blocks: The opened sums of agreed blocks of holders, by round and block, in levels of the fixed point.
        gradients: The opened validation gradient of each round, where contributions are measured on holders' records.
        standardisation: How records were standardised, if by private statistics.
        bytes_up: Bytes that all holders together sent in training messages since this process took the run up.
        bytes_down: Bytes that they received.
    """

    models: tuple[npt.NDArray[np.float32], ...]
    rounds: tuple[RoundSummary, ...]
    losses: tuple[float, ...]
    contributions: Contributions
    end: str
    histogram: OpenedRelease | None
    gradients: tuple[OpenedRelease, ...]
    blocks: Mapping[tuple[int, int], Levels]
    standardisation: Standardisation | None
    bytes_up: int
    bytes_down: int

    @property
    def model(self) -> npt.NDArray[np.float32]:
        """The final model."""
        return self.models[-1]

    @property
    def utility_gain(self) -> float:
        """Reference loss at the start minus at the end; on holders' records what their gradients say of it."""
        if self.gradients:
            return sum(self.contributions.gains)
        return self.losses[0] - self.losses[-1]


def train(
    session: Session,
    coordinator: Identity,
    grid: HolderGrid,
    reference: Yardstick,
    *,
    log: Log,
    conditions: Conditions,
) -> TrainedRun:
    """Run the ServerApp on a Grid, from the ceremony of keys to the opened contributions.

    Args:
        session: The run.
        coordinator: Its coordinator's keys.
        grid: How the holders are reached.
        reference: The exchange's reference set.
        log: Writes the run record.
        conditions: Who hears of it, and how long holders have.

    Raises:
        FedjointError: why no round could be trained, or holders disagreed.
        RunSuspended: it is to go on later.
    """
    running = _Running(session, coordinator, reference, log=log, conditions=conditions)
    log("run.opened", running.opening_facts())
    run_server_app(make_server_app(running, lambda _: grid.nodes, timeout_s=conditions.timeout_s), grid)
    return running.trained(bytes_up=grid.bytes_of("up", "train"), bytes_down=grid.bytes_of("down", "train"))


class _Running:
    """What a run has come to so far; called once, with the channel to its holders."""

    def __init__(
        self, session: Session, coordinator: Identity, reference: Yardstick, *, log: Log, conditions: Conditions
    ) -> None:
        self._session, self._identity, self._reference = session, coordinator, reference
        self._log, self._conditions = log, conditions
        self._start = parameters_to_vector(agreed_module(session.terms))
        self._models, self._losses = [self._start], [reference.loss(self._start)]
        self._rounds: list[RoundSummary] = []
        self._histogram: OpenedRelease | None = None
        self._gradients: tuple[OpenedRelease, ...] = ()
        self._blocks: Mapping[tuple[int, int], Levels] = {}
        self._ended: tuple[Contributions, str] | None = None

    def opening_facts(self) -> dict[str, object]:
        return {
            "run_id": self._session.run_id,
            "agreement_sha256": self._session.agreement.sha256,
            "fedjoint_version": __version__,
            "loss": self._losses[0],
            "metrics": dict(self._reference.metrics(self._start)),
        }

    def __call__(self, channel: Channel) -> None:
        stage = self._conditions.stopwatch.stage
        coordinator = Coordinator(
            self._identity,
            self._session,
            start=self._start,
            channel=PartedChannel(channel, self._session, self._conditions.workplace),
            reference=self._reference,
            log=self._log,
            store=self._conditions.store,
        )
        with stage("keys"):
            coordinator.prepare()
        try:
            self._train(coordinator)
            with stage("contributions"):
                self._ended = coordinator.value(), coordinator.end
            self._gradients, self._blocks = coordinator.gradients, coordinator.block_sums
        except RunSuspended:
            raise
        except BaseException:  # also where a round was refused: others have reserved for it
            coordinator.finish()
            raise
        coordinator.finish()

    def _train(self, coordinator: Coordinator) -> None:
        stage, terms = self._conditions.stopwatch.stage, self._session.terms
        if terms.releases.statistics_noise_multiplier is not None:
            with stage("statistics"):
                self._standardise(coordinator)
        with stage("training"):
            for summary in coordinator.rounds():
                self._models.append(coordinator.model)
                self._losses.append(summary.loss)
                self._rounds.append(summary)
                self._conditions.on_round(summary)
        if terms.releases.metrics_noise_multiplier is not None:
            with stage("metrics"):
                self._histogram = coordinator.release_once("metrics")

    def _standardise(self, coordinator: Coordinator) -> None:
        terms = self._session.terms
        opened = coordinator.release_once("statistics")
        self._reference.standardise(standardisation_from(terms, opened.values, opened.contributors))
        self._losses[0] = self._reference.loss(self._start)
        facts = {"loss": self._losses[0], "metrics": dict(self._reference.metrics(self._start))}
        self._log("run.standardised", facts)

    def trained(self, *, bytes_up: int, bytes_down: int) -> TrainedRun:
        if self._ended is None:
            raise TrainingError("the server app ended without a result")
        contributions, end = self._ended
        return TrainedRun(
            models=tuple(self._models),
            rounds=tuple(self._rounds),
            losses=tuple(self._losses),
            contributions=contributions,
            end=end,
            histogram=self._histogram,
            gradients=self._gradients,
            blocks=self._blocks,
            standardisation=self._reference.standardisation,
            bytes_up=bytes_up,
            bytes_down=bytes_down,
        )
