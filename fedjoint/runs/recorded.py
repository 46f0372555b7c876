"""A run as its record tells it: the bodies of the record's events, each read strictly."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fedjoint.agreement.signing import SignedAgreement
from fedjoint.encryption.opened import ConfirmedOpening, OpenReply
from fedjoint.errors import InvalidValue, RecordError, ValuationError
from fedjoint.privacy.receipts import RoundReceipt
from fedjoint.record.log import CLOSED, Event
from fedjoint.runs.settling import Revenue
from fedjoint.strict import build, strict
from fedjoint.valuation.encrypted_errors import OpenedError
from fedjoint.valuation.uncertainty import ErrorBars

__all__ = [
    "OpenedBlock",
    "OpenedGradient",
    "OpenedRound",
    "RecordedPart",
    "RecordedRun",
    "SummedRound",
    "read_recorded_run",
]


@strict
@dataclass(frozen=True, kw_only=True)
class SummedRound:
    """Body of ``round.summed``."""

    round: int
    receipts: dict[str, RoundReceipt]
    signatures: dict[str, str]
    refusals: dict[str, str]


@strict
@dataclass(frozen=True, kw_only=True)
class OpenedRound:
    """Body of ``round.opened``."""

    round: int
    model_sha256: str
    opened: dict[str, OpenReply]
    metrics: dict[str, float | None]
    loss: float


@strict
@dataclass(frozen=True, kw_only=True)
class RecordedPart:
    """One opened number of one holder."""

    holder: str
    part: int
    opened: str
    mask: str
    factor: float


@strict
@dataclass(frozen=True, kw_only=True)
class OpenedContributions:
    """Body of ``contributions.opened``."""

    parts: tuple[RecordedPart, ...]
    openers: dict[str, str]
    contributions: dict[str, float]
    noise_errors: dict[str, float]
    gains: tuple[float, ...]
    known: tuple[float, ...]
    novel: tuple[float, ...]
    errors: tuple[OpenedError, ...] = ()
    sampling_bounds: dict[str, float] | None = None


@strict
@dataclass(frozen=True, kw_only=True)
class SampledContributions:
    """Body of ``contributions.sampled``: as :class:`fedjoint.valuation.uncertainty.ErrorBars`, of all holders in order.

    It follows from the numbers that were opened for it or, where none were agreed, a simulation writes it, which has
    every update in the clear.
    """

    sampling: tuple[tuple[float, ...], ...]


@strict
@dataclass(frozen=True, kw_only=True)
class SettledRevenue:
    """Body of ``run.settled``."""

    gross_minor: int
    currency: str
    buyer: str
    at: str
    utility_gain: float
    payouts_minor: dict[str, int]


@strict
@dataclass(frozen=True, kw_only=True)
class OpenedRun:
    """Body of ``run.opened``."""

    run_id: str
    agreement_sha256: str
    fedjoint_version: str
    loss: float
    metrics: dict[str, float | None]


@strict
@dataclass(frozen=True, kw_only=True)
class StandardisedRun:
    """Body of ``run.standardised``: the start again, measured on records standardised by private statistics."""

    loss: float
    metrics: dict[str, float | None]


@strict
@dataclass(frozen=True, kw_only=True)
class OnceReleased:
    """Body of ``release.opened``: values are whole numbers in steps of the release's grid, as text."""

    purpose: Literal["statistics", "metrics"]
    contributors: tuple[str, ...]
    values: tuple[str, ...]
    opened: dict[str, str]
    refusals: dict[str, str]

    def __post_init__(self) -> None:
        if not all(_WHOLE.fullmatch(value) for value in self.values):
            raise InvalidValue(f"an opened number of the {self.purpose} is no whole number")


@strict
@dataclass(frozen=True, kw_only=True)
class OpenedGradient:
    """Body of ``validation.opened``: the holders' gradient along a round's path, by its hash."""

    purpose: Literal["validation"]
    round: int
    contributors: tuple[str, ...]
    gradient_sha256: str
    opened: dict[str, str]
    refusals: dict[str, str]


@strict
@dataclass(frozen=True, kw_only=True)
class OpenedBlock:
    """Body of ``block.opened``: the sum of an agreed block's updates of a round, by its hash."""

    round: int
    block: int
    contributors: tuple[str, ...]
    sum_sha256: str
    opened: dict[str, str]
    refusals: dict[str, str]


@strict
@dataclass(frozen=True, kw_only=True)
class ClosedRun:
    """Body of ``run.closed``."""

    end: str
    files: dict[str, str]


_WHOLE = re.compile(r"-?[0-9]{1,20}")
_BODIES: Mapping[str, type[Any]] = {
    "run.opened": OpenedRun,
    "run.standardised": StandardisedRun,
    "release.opened": OnceReleased,
    "validation.opened": OpenedGradient,
    "block.opened": OpenedBlock,
    "round.summed": SummedRound,
    "round.opened": OpenedRound,
    "opening.confirmed": ConfirmedOpening,
    "contributions.opened": OpenedContributions,
    "contributions.sampled": SampledContributions,
    "run.settled": SettledRevenue,
    CLOSED: ClosedRun,
}


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """The parts of a record that can be checked against each other."""

    opened: OpenedRun
    standardised: StandardisedRun | None
    released: tuple[OnceReleased, ...]
    gradients: tuple[OpenedGradient, ...]
    blocks: tuple[OpenedBlock, ...]
    summed: Mapping[int, SummedRound]
    rounds: tuple[OpenedRound, ...]
    confirmed: Mapping[int, ConfirmedOpening]
    valued: OpenedContributions
    sampled: SampledContributions | None
    settled: SettledRevenue
    closed: ClosedRun

    @property
    def rounds_of_holders(self) -> dict[str, int]:
        """In how many rounds each holder's update was summed; compute costs are claimed for no more."""
        return dict(Counter(holder for summed in self.summed.values() for holder in summed.receipts))

    @property
    def contributors(self) -> tuple[tuple[str, ...], ...]:
        """Whose updates were summed in each opened round, sorted."""
        return tuple(tuple(sorted(self.summed[opened.round].receipts)) for opened in self.rounds)

    @property
    def run_id(self) -> str:
        """The run."""
        return self.opened.run_id

    @property
    def files(self) -> Mapping[str, str]:
        """SHA-256 of each file when the run closed."""
        return self.closed.files

    @property
    def end(self) -> str:
        """Why training ended."""
        return self.closed.end

    @property
    def contributions(self) -> dict[str, float]:
        """Of each holder, as stated."""
        return self.valued.contributions

    @property
    def errors(self) -> ErrorBars:
        """Standard errors of the contributions, as stated."""
        return ErrorBars(
            noise=self.valued.noise_errors,
            sampling=self.sampled.sampling if self.sampled else None,
            numbers=max((error.number for error in self.valued.errors), default=None),
            bounds=self.valued.sampling_bounds,
        )

    @property
    def payouts_minor(self) -> dict[str, int]:
        """Of each holder, as stated."""
        return self.settled.payouts_minor

    @property
    def utility_gain(self) -> float:
        """Loss at the start minus after the last round; on holders' records what their gradients say of it."""
        if self.gradients:
            return sum(self.valued.gains)
        start = self.opened.loss if self.standardised is None else self.standardised.loss
        return start - self.rounds[-1].loss

    @property
    def revenue(self) -> Revenue:
        """What was settled."""
        return Revenue(gross_minor=self.settled.gross_minor, buyer=self.settled.buyer, at=self.settled.at)

    @property
    def epsilons(self) -> dict[str, float | None]:
        """What each holder's last opened round had cost it."""
        none: dict[str, float | None] = dict.fromkeys(self.contributions)
        return none | {holder: receipt.epsilon for holder, receipt in self.last_receipts.items()}

    @property
    def last_receipts(self) -> dict[str, RoundReceipt]:
        """What each holder signed for in its last opened round."""
        return {
            holder: receipt for opened in self.rounds for holder, receipt in self.summed[opened.round].receipts.items()
        }


def read_recorded_run(events: Sequence[Event], agreement: SignedAgreement) -> RecordedRun:
    """Put a record's events together.

    Raises:
        RecordError: an event's body is malformed, one is missing or stands twice, or the rounds are not 1, 2, 3, ...
    """
    bodies: dict[str, list[Any]] = {kind: [] for kind in _BODIES}
    for event in events:
        if event.type in _BODIES:
            where = f"record event {event.seq} ({event.type})"
            bodies[event.type].append(build(_BODIES[event.type], event.body, error=RecordError, where=where))
    for kind in ("run.opened", "contributions.opened", "run.settled", CLOSED):
        if len(bodies[kind]) != 1:
            raise RecordError(f"the record has {len(bodies[kind])} events '{kind}'", expected="one")
    wanted = int(agreement.terms.releases.statistics_noise_multiplier is not None)
    if len(bodies["run.standardised"]) != wanted:
        raise RecordError(
            f"the record has {len(bodies['run.standardised'])} events 'run.standardised'", expected=f"{wanted}"
        )
    if len(bodies["contributions.sampled"]) > 1:
        raise RecordError("the record has more than one event 'contributions.sampled'", expected="one at most")
    rounds = bodies["round.opened"]
    summed = {body.round: body for body in bodies["round.summed"]}
    confirmed = {body.subject.slot: body for body in bodies["opening.confirmed"]}
    if len(confirmed) != len(bodies["opening.confirmed"]):
        raise RecordError("the record has two confirmed sums of one round", expected="one of each")
    numbers = [body.round for body in rounds]
    if not rounds or numbers != list(range(1, len(rounds) + 1)) or not set(numbers) <= set(summed):
        raise RecordError(f"the record opens rounds {numbers[:5]}…", expected="1, 2, 3, …, each summed before")
    run = RecordedRun(
        opened=bodies["run.opened"][0],
        standardised=(*bodies["run.standardised"], None)[0],
        released=tuple(bodies["release.opened"]),
        gradients=tuple(bodies["validation.opened"]),
        blocks=tuple(bodies["block.opened"]),
        summed=summed,
        rounds=tuple(rounds),
        confirmed=confirmed,
        valued=bodies["contributions.opened"][0],
        sampled=next(iter(bodies["contributions.sampled"]), None),
        settled=bodies["run.settled"][0],
        closed=bodies[CLOSED][0],
    )
    if run.opened.agreement_sha256 != agreement.sha256 or set(run.contributions) != set(agreement.terms.holder_ids):
        raise RecordError("the record is of another agreement or other holders")
    _check_errors(run)
    return run


def _check_errors(run: RecordedRun) -> None:
    try:
        errors = run.errors
    except ValuationError as problem:
        raise RecordError(f"the standard errors in the record: {problem}") from None
    if set(errors.noise) != set(run.contributions):
        raise RecordError("the standard errors in the record are of other holders than the contributions")
