"""Contributions in a run: path gradients folded into ciphertexts, opened by two holders at the end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedjoint.encryption.ciphertext import Ciphertext
from fedjoint.encryption.frames import pack_frame
from fedjoint.encryption.opened import MINIMUM_OPENERS
from fedjoint.errors import FedjointError, TrainingError, ValuationError
from fedjoint.identity.keys import Identity
from fedjoint.privacy.joint_plan import JointPlan
from fedjoint.privacy.update_noise import update_noise_sd
from fedjoint.strict import build, strict
from fedjoint.training.aggregate import ServerState, mean_rate
from fedjoint.training.checkpoint import Piece
from fedjoint.training.confirming import samples_to_open
from fedjoint.training.coordinator_state import CoordinatorMemory
from fedjoint.training.guarded import GuardedPath, SavedGuards
from fedjoint.training.optimizer import linear_step
from fedjoint.training.path_gradients import (
    AskHolders,
    ExchangeGradients,
    HolderGradients,
    PathGradients,
    Reference,
    SavedNoise,
)
from fedjoint.training.plan import (
    Channel,
    ContributionsReply,
    ContributionsTask,
    Log,
    Parcel,
    Refusal,
    SampleToOpen,
)
from fedjoint.training.quorum import confirm
from fedjoint.training.session import Session
from fedjoint.valuation.encrypted import (
    EncryptedContributions,
    MaskedContribution,
    OpenedContribution,
    SavedContributions,
    contribution_of,
)
from fedjoint.valuation.steps import Carried, CarriedWeights

__all__ = ["Contributions", "PathValuation", "UnmeasuredValuation", "Valuation", "valuation_of"]


@dataclass(frozen=True, kw_only=True)
class Contributions:
    """What the holders' updates added, in units of the utility, or where that is not measured what they count for.

    Args:
        by_holder: A number for each holder of the agreement; 0 for one that never contributed.
        noise_errors: Holder to the standard error of its contribution by privacy noise.
        numbers_opened: How many numbers of each holder left encryption (1 unless gradients grew a lot).
        openers: The holders that opened them alike.
        gains: By how much the utility rose in each round, by its gradient along the round's path; empty where it was
            not measured.
        known: What of that was gained along the direction of the round before, if the agreement shares it by size.
    """

    by_holder: Mapping[str, float]
    noise_errors: Mapping[str, float]
    numbers_opened: int
    openers: tuple[str, ...]
    gains: tuple[float, ...] = ()
    known: tuple[float, ...] = ()


class Valuation(Protocol):
    """Values a run's updates as the agreement says."""

    def add_round(self, updates: Mapping[str, Ciphertext], before: ServerState, after: ServerState) -> None:
        """Account for a round whose sum is known."""
        ...

    def saved(self) -> tuple[object, Mapping[str, Piece | Ciphertext]]:
        """What :meth:`restore` needs: facts that :func:`fedjoint.strict.plain` knows, and blobs by label."""
        ...

    def restore(self, memory: CoordinatorMemory) -> None:
        """Go on from what is kept, if anything is."""
        ...

    def open(
        self,
        channel: Channel,
        key_id: str,
        *,
        coordinator: Identity,
        holders: Sequence[str],
        log: Log,
        memory: CoordinatorMemory,
    ) -> Contributions:
        """Have the contributions opened, and write them to the run record."""
        ...


class UnmeasuredValuation:
    """No valuation: nothing is folded or opened, and holders count for what the agreement says.

    Args:
        session: The run.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def add_round(self, updates: Mapping[str, Ciphertext], before: ServerState, after: ServerState) -> None:
        """Do nothing."""

    def saved(self) -> tuple[object, Mapping[str, Piece | Ciphertext]]:
        """Nothing."""
        return {}, {}

    def restore(self, memory: CoordinatorMemory) -> None:
        """Do nothing."""

    def open(
        self,
        channel: Channel,
        key_id: str,
        *,
        coordinator: Identity,
        holders: Sequence[str],
        log: Log,
        memory: CoordinatorMemory,
    ) -> Contributions:
        """Ask nobody; write down the agreed shares."""
        shares = self._session.terms.unmeasured_shares
        contributions = Contributions(
            by_holder=shares, noise_errors=dict.fromkeys(shares, 0.0), numbers_opened=0, openers=()
        )
        log("contributions.opened", _facts((), contributions, {}))
        return contributions


def valuation_of(session: Session, reference: Reference, *, ask: AskHolders) -> Valuation:
    """The agreed valuation of a run.

    Args:
        session: The run.
        reference: The exchange's reference set; not looked at where the agreement measures on holders' records.
        ask: Has the holders' gradient along a round's path released and opened; called only where that is agreed.
    """
    terms = session.terms
    if terms.valuation.method == "none":
        return UnmeasuredValuation(session)
    if terms.validated_by_holders:
        return PathValuation(session, HolderGradients(terms, ask))
    return PathValuation(session, ExchangeGradients(reference, points=terms.valuation.quadrature_points))


@strict
@dataclass(frozen=True, kw_only=True)
class _SavedRound:
    holders: tuple[str, ...]
    remembered: float


@strict
@dataclass(frozen=True, kw_only=True)
class _Saved:
    numbers: SavedContributions
    noise: SavedNoise
    gains: tuple[float, ...]
    guards: SavedGuards
    left: bool
    carried: tuple[_SavedRound, ...]


class PathValuation:
    """The Aumann-Shapley valuation of a run, round by round.

    Args:
        session: The run.
        gradients: Gives the utility's gradient along each round's path.
    """

    def __init__(self, session: Session, gradients: PathGradients) -> None:
        self._session, self._gradients = session, gradients
        self._gains: list[float] = []
        self._guards = GuardedPath(session.terms)
        self._plan = JointPlan.of(session.terms) if session.terms.privacy.mode == "joint" else None
        self._encrypted = EncryptedContributions(
            session.parameters, noise_weight=self._plan.largest_weight_norm if self._plan else None
        )
        self._carried = CarriedWeights[Mapping[str, Ciphertext]]()

    def saved(self) -> tuple[object, Mapping[str, Piece | Ciphertext]]:
        """The numbers that add up, and the rounds that later ones still change the weights of."""
        numbers, polynomials = self._encrypted.saved()
        carried, (guards, last_step) = self._carried.carried, self._guards.saved()
        facts = _Saved(
            numbers=numbers,
            noise=self._gradients.saved(),
            gains=tuple(self._gains),
            guards=guards,
            left=self._encrypted.left is not None,
            carried=tuple(_SavedRound(holders=tuple(one.item), remembered=one.remembered) for one in carried),
        )
        blobs: dict[str, Piece | Ciphertext] = {f"part.{number}": data for number, data in enumerate(polynomials)}
        blobs["last_step"] = last_step
        if self._encrypted.left is not None:
            blobs["left"] = self._encrypted.left.astype("<f8").tobytes()
        for number, one in enumerate(carried):
            blobs[f"weights.{number}"] = one.weights.astype("<f8").tobytes()
            blobs |= {f"carried.{number}.{holder}": update for holder, update in one.item.items()}
        return facts, blobs

    def restore(self, memory: CoordinatorMemory) -> None:
        """Go on from what is kept, if anything is.

        Raises:
            TrainingError: it is damaged.
        """
        if not memory.facts.valuation:
            return
        saved = build(_Saved, memory.facts.valuation, error=TrainingError, where="valuation")
        self._gradients.restore(saved.noise)
        self._gains = list(saved.gains)
        self._guards.restore(saved.guards, bytes(memory.required("valuation.last_step")))
        if saved.left:
            self._encrypted.left = np.frombuffer(memory.required("valuation.left"), "<f8").astype(np.float64)
        parts = range(len(saved.numbers.parts))
        self._encrypted.restore(saved.numbers, [bytes(memory.required(f"valuation.part.{number}")) for number in parts])
        self._carried = CarriedWeights(
            Carried(
                item={holder: memory.ciphertext(f"valuation.carried.{number}.{holder}") for holder in one.holders},
                weights=np.frombuffer(memory.required(f"valuation.weights.{number}"), "<f8").astype(np.float64),
                remembered=one.remembered,
            )
            for number, one in enumerate(saved.carried)
        )

    def add_round(self, updates: Mapping[str, Ciphertext], before: ServerState, after: ServerState) -> None:
        """Credit a round's updates with what they move along its path, and earlier ones with what is left of them."""
        terms = self._session.terms
        gradient = self._gradients.of_round(len(self._gains) + 1, before, after)
        self._gains.append(float(gradient @ (after.model.astype(np.float64) - before.model)))
        gradient = self._guards.add_round(gradient, list(updates), before, after)
        self._gradients.take_part(sorted(updates), after)
        self._fold(self._carried.add_round(updates, gradient, linear_step(after, terms.training)))

    def _fold(self, final: Iterable[tuple[Mapping[str, Ciphertext], npt.NDArray[np.float64]]]) -> None:
        for updates, weights in final:
            self._encrypted.add_round(updates, weights, rate=mean_rate(self._session.terms, updates))

    def open(
        self,
        channel: Channel,
        key_id: str,
        *,
        coordinator: Identity,
        holders: Sequence[str],
        log: Log,
        memory: CoordinatorMemory,
    ) -> Contributions:
        """Have holders decrypt the masked numbers, compare, and take the masks off.

        Args:
            channel: How holders are reached.
            key_id: Of the run's key.
            coordinator: Signs what holders are asked to open.
            holders: Who has the key; asked two at a time until two have answered.
            log: Writes the run record.
            memory: Where masks are kept before anybody is asked, and answers before they are used.

        Raises:
            ValuationError: too few holders confirmed or opened them, or two opened them differently.
        """
        self._fold(self._carried.rest())
        masked = self._encrypted.masked(again=memory.lasts)
        memory.stage_valuation(*self.saved())
        memory.commit()
        replies: Mapping[str, ContributionsReply] = memory.facts.contributions
        task = self._confirmed(
            self._task(masked, key_id, coordinator), channel, holders=holders, log=log, memory=memory
        )
        if not replies:
            replies = self._ask(channel, task, holders=holders, log=log)
            self._agreed(replies)
            memory.remember(contributions=dict(replies))
        opened = self._encrypted.opened(masked, self._agreed(replies))
        contributions = self._contributions(opened, tuple(sorted(replies)))
        log("contributions.opened", _facts(opened, contributions, replies))
        return contributions

    def _ask(
        self, channel: Channel, task: Parcel, *, holders: Sequence[str], log: Log
    ) -> dict[str, ContributionsReply]:
        replies: dict[str, ContributionsReply] = {}
        waiting = list(holders)
        while len(replies) < MINIMUM_OPENERS and waiting:
            asked, waiting = waiting[: MINIMUM_OPENERS - len(replies)], waiting[MINIMUM_OPENERS - len(replies) :]
            for holder, reply in channel.exchange("open_contributions", dict.fromkeys(asked, task)):
                checked = self._checked(holder, reply, task.body)
                if isinstance(checked, Refusal):
                    log("contributions.refused", {"holder": holder, "code": checked.code})
                else:
                    replies[holder] = checked
        return replies

    def _task(self, masked: Sequence[MaskedContribution], key_id: str, coordinator: Identity) -> Parcel:
        samples = tuple(SampleToOpen(holder=item.holder, part=item.part) for item in masked)
        frames = [
            pack_frame(item.sample, header=self._session.frame("sample", number, key_id), sender=coordinator)
            for number, item in enumerate(masked)
        ]
        blobs = {sample.blob: frame for sample, frame in zip(samples, frames, strict=True)}
        return Parcel(body=ContributionsTask(**self._session.address, samples=samples, confirmations={}), blobs=blobs)

    def _confirmed(
        self, task: Parcel, channel: Channel, *, holders: Sequence[str], log: Log, memory: CoordinatorMemory
    ) -> Parcel:
        """The task with the signatures of a quorum that these are the only samples of the run."""
        subject = samples_to_open(self._session.terms, task.body.samples, task.blobs)
        found = confirm(channel, self._session, subject, holders=holders, memory=memory, log=log)
        if not found.is_quorum:
            raise ValuationError(f"the contributions were {found.counted}. {found.reasons}")
        return Parcel(body=replace(task.body, confirmations=found.confirmations), blobs=task.blobs)

    def _checked(self, holder: str, reply: Parcel | Refusal, task: ContributionsTask) -> ContributionsReply | Refusal:
        """What a holder opened, if it signed for it and it can be what was asked for."""
        if isinstance(reply, Refusal):
            return reply
        opened: ContributionsReply = reply.body
        facts = {"samples": [sample.blob for sample in task.samples], "values": list(opened.values)}
        try:
            self._session.check(holder, "contributions", facts, opened.signature)
            if len(opened.values) != len(task.samples) or not all(map(_is_number, opened.values)):
                raise ValuationError(f"'{holder}' opened other than {len(task.samples)} whole numbers")
        except FedjointError as problem:
            return Refusal.because(problem)
        return opened

    def _agreed(self, replies: Mapping[str, ContributionsReply]) -> list[int]:
        said = {reply.values for reply in replies.values()}
        if len(replies) < MINIMUM_OPENERS or len(said) > 1:
            raise ValuationError(
                f"{len(replies)} holders opened the contributions to {len(said)} different results",
                expected=f"{MINIMUM_OPENERS} holders and the same result",
                remedy="Nobody is paid on numbers that holders do not agree on: compare their logs.",
            )
        return [int(value) for value in said.pop()]

    def _contributions(self, opened: Sequence[OpenedContribution], openers: tuple[str, ...]) -> Contributions:
        modulus = self._session.parameters.plain_modulus
        valued = {
            holder: contribution_of([part for part in opened if part.holder == holder], plain_modulus=modulus)
            for holder in self._session.terms.holder_ids
        }
        return Contributions(
            by_holder=self._guards.applied(valued),
            noise_errors={holder: self._noise_error(holder) for holder in valued},
            gains=tuple(self._gains),
            known=tuple(self._guards.known),
            numbers_opened=self._encrypted.num_parts,
            openers=openers,
        )

    def _noise_error(self, holder: str) -> float:
        of_updates = self._encrypted.noise_error(
            holder,
            update_sd=update_noise_sd(self._session.terms, holder) / self._session.parameters.step,
            noise_sd=self._plan.contribution_sd if self._plan else 0.0,
        )
        return math.hypot(of_updates, self._gradients.noise_error(holder))


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) <= 20


def _facts(
    opened: Sequence[OpenedContribution], contributions: Contributions, replies: Mapping[str, ContributionsReply]
) -> dict[str, object]:
    return {
        "parts": [
            {
                "holder": part.holder,
                "part": part.part,
                "opened": str(part.opened),
                "mask": str(part.mask),
                "factor": part.factor,
            }
            for part in opened
        ],
        "openers": {holder: reply.signature for holder, reply in sorted(replies.items())},
        "contributions": dict(contributions.by_holder),
        "noise_errors": dict(contributions.noise_errors),
        "gains": list(contributions.gains),
        "known": list(contributions.known),
    }
