"""Training and valuation of a simulated run through the real Flower apps, in this process."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedjoint import __version__
from fedjoint.data.standardise import Standardisation
from fedjoint.errors import TrainingError
from fedjoint.flower.client_app import make_client_app
from fedjoint.flower.server_app import make_server_app
from fedjoint.models.vector import parameters_to_vector
from fedjoint.simulation.agreeing import Parties
from fedjoint.simulation.reference import Yardstick
from fedjoint.training.contributions import Contributions, valuation_of
from fedjoint.training.coordinator import Coordinator, Log, RoundSummary
from fedjoint.training.holder_release import standardisation_from
from fedjoint.training.local_update import agreed_module
from fedjoint.training.plan import Channel
from fedjoint.training.release_round import OpenedRelease
from fedjoint.training.session import Session
from fedjoint.transport.inline import HOLDER_KEY, InlineGrid, run_inline

__all__ = ["Stopwatch", "TrainedRun", "train_inline"]

#: In one process a holder answers at once or never.
_TIMEOUT_S = 3600.0


class Stopwatch:
    """Wall-clock seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; a stage entered again adds up."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True, kw_only=True)
class _Ended:
    """What the server app leaves behind."""

    contributions: Contributions
    end: str
    histogram: OpenedRelease | None
    gradients: tuple[OpenedRelease, ...]


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
        gradients: The opened validation gradient of each round, where contributions are measured on holders' records.
        standardisation: How records were standardised, if by private statistics.
        bytes_up: Bytes that all holders together sent in training messages.
        bytes_down: Bytes that they received.
    """

    models: tuple[npt.NDArray[np.float32], ...]
    rounds: tuple[RoundSummary, ...]
    losses: tuple[float, ...]
    contributions: Contributions
    end: str
    histogram: OpenedRelease | None
    gradients: tuple[OpenedRelease, ...]
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


def train_inline(
    session: Session,
    parties: Parties,
    reference: Yardstick,
    *,
    log: Log,
    on_round: Callable[[RoundSummary], None],
    stopwatch: Stopwatch,
    reachable: Callable[[str, str], bool] | None = None,
) -> TrainedRun:
    """Run the ServerApp with the holders' ClientApp on an in-process Grid.

    Args:
        session: The run.
        parties: Everybody.
        reference: The exchange's reference set.
        log: Writes the run record.
        on_round: Hears each round.
        stopwatch: Times the stages ``keys``, ``training`` and ``contributions``.
        reachable: See :class:`fedjoint.transport.inline.InlineGrid`.

    Raises:
        FedjointError: why no round could be trained, or holders disagreed.
    """
    holders = {holder.id: holder for holder in parties.holders}
    traffic: Counter[str] = Counter()

    def tap(direction: Literal["up", "down"], holder: str, message_type: str, data: bytes) -> None:
        if message_type == "train":
            traffic[direction] += len(data)

    app = make_client_app(lambda context: holders[str(context.node_config[HOLDER_KEY])])
    grid = InlineGrid(app, holders, tap=tap, reachable=reachable)
    start = parameters_to_vector(agreed_module(session.terms))
    models, losses, rounds = [start], [reference.loss(start)], list[RoundSummary]()
    terms, ended = session.terms, list[_Ended]()

    def run(channel: Channel) -> None:
        gradients: list[OpenedRelease] = []

        def ask(number: int) -> OpenedRelease:
            gradients.append(coordinator.release_once("validation", number=number))
            return gradients[-1]

        valuation = valuation_of(session, reference, ask=ask)
        coordinator = Coordinator(
            parties.coordinator,
            session,
            start=start,
            channel=channel,
            reference=reference,
            contributions=valuation,
            log=log,
        )
        with stopwatch.stage("keys"):
            coordinator.prepare()
        try:
            if terms.releases.statistics_noise_multiplier is not None:
                with stopwatch.stage("statistics"):
                    opened = coordinator.release_once("statistics")
                    reference.standardise(standardisation_from(terms, opened.values, opened.contributors))
                losses[0] = reference.loss(start)
                log("run.standardised", {"loss": losses[0], "metrics": dict(reference.metrics(start))})
            with stopwatch.stage("training"):
                for summary in coordinator.rounds():
                    models.append(coordinator.model)
                    losses.append(summary.loss)
                    rounds.append(summary)
                    on_round(summary)
            histograms = []
            if terms.releases.metrics_noise_multiplier is not None:
                with stopwatch.stage("metrics"):
                    histograms.append(coordinator.release_once("metrics"))
            with stopwatch.stage("contributions"):
                contributions = valuation.open(
                    channel, coordinator.key_id, coordinator=parties.coordinator, holders=coordinator.holders, log=log
                )
        finally:  # also where a round was refused: others have reserved for it
            coordinator.finish()
        ended.append(
            _Ended(
                contributions=contributions,
                end=coordinator.end,
                histogram=(*histograms, None)[0],
                gradients=tuple(gradients),
            )
        )

    log("run.opened", _opening_facts(session, losses[0], reference.metrics(start)))
    run_inline(make_server_app(run, lambda _: grid.nodes, timeout_s=_TIMEOUT_S), grid)
    if not ended:
        raise TrainingError("the server app ended without a result")
    return TrainedRun(
        models=tuple(models),
        rounds=tuple(rounds),
        losses=tuple(losses),
        contributions=ended[0].contributions,
        end=ended[0].end,
        histogram=ended[0].histogram,
        gradients=ended[0].gradients,
        standardisation=reference.standardisation,
        bytes_up=traffic["up"],
        bytes_down=traffic["down"],
    )


def _opening_facts(session: Session, loss: float, metrics: Mapping[str, float | None]) -> dict[str, object]:
    return {
        "run_id": session.run_id,
        "agreement_sha256": session.agreement.sha256,
        "fedjoint_version": __version__,
        "loss": loss,
        "metrics": dict(metrics),
    }
