"""Contributions in a run: path gradients folded into ciphertexts, opened by two holders at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedjoint.encryption.ciphertext import Ciphertext
from fedjoint.encryption.frames import pack_frame
from fedjoint.encryption.opened import MINIMUM_OPENERS, slot_of
from fedjoint.errors import FedjointError, ValuationError
from fedjoint.identity.keys import Identity
from fedjoint.privacy.joint_plan import JointPlan
from fedjoint.privacy.update_noise import update_noise_sd
from fedjoint.training.aggregate import ServerState, mean_rate
from fedjoint.training.confirming import confirm, samples_to_open
from fedjoint.training.coordinator import Log, Reference
from fedjoint.training.optimizer import linear_step
from fedjoint.training.plan import (
    Channel,
    ContributionsReply,
    ContributionsTask,
    Parcel,
    Refusal,
    SampleToOpen,
)
from fedjoint.training.session import Session
from fedjoint.valuation.aumann_shapley import path_gradient
from fedjoint.valuation.encrypted import (
    EncryptedContributions,
    MaskedContribution,
    OpenedContribution,
    contribution_of,
)
from fedjoint.valuation.steps import CarriedWeights

__all__ = ["Contributions", "PathValuation", "UnmeasuredValuation", "Valuation", "valuation_of"]


@dataclass(frozen=True, kw_only=True)
class Contributions:
    """What the holders' updates added, in units of the utility, or where that is not measured what they count for.

    Args:
        by_holder: A number for each holder of the agreement; 0 for one that never contributed.
        noise_errors: Holder to the standard error of its contribution by privacy noise.
        numbers_opened: How many numbers of each holder left encryption (1 unless gradients grew a lot).
        openers: The holders that opened them alike.
    """

    by_holder: Mapping[str, float]
    noise_errors: Mapping[str, float]
    numbers_opened: int
    openers: tuple[str, ...]


class Valuation(Protocol):
    """Values a run's updates as the agreement says."""

    def add_round(self, updates: Mapping[str, Ciphertext], before: ServerState, after: ServerState) -> None:
        """Account for a round whose sum is known."""
        ...

    def open(
        self, channel: Channel, key_id: str, *, coordinator: Identity, holders: Sequence[str], log: Log
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

    def open(
        self, channel: Channel, key_id: str, *, coordinator: Identity, holders: Sequence[str], log: Log
    ) -> Contributions:
        """Ask nobody; write down the agreed shares."""
        shares = self._session.terms.unmeasured_shares
        contributions = Contributions(
            by_holder=shares, noise_errors=dict.fromkeys(shares, 0.0), numbers_opened=0, openers=()
        )
        log("contributions.opened", _facts((), contributions, {}))
        return contributions


def valuation_of(session: Session, reference: Reference) -> Valuation:
    """The agreed valuation of a run."""
    if session.terms.valuation.method == "none":
        return UnmeasuredValuation(session)
    return PathValuation(session, reference)


class PathValuation:
    """The Aumann-Shapley valuation of a run, round by round.

    Args:
        session: The run.
        reference: Gives the utility's gradient.
    """

    def __init__(self, session: Session, reference: Reference) -> None:
        self._session, self._reference = session, reference
        self._plan = JointPlan.of(session.terms) if session.terms.privacy.mode == "joint" else None
        self._encrypted = EncryptedContributions(
            session.parameters, noise_weight=self._plan.largest_weight_norm if self._plan else None
        )
        self._carried = CarriedWeights[Mapping[str, Ciphertext]]()

    def add_round(self, updates: Mapping[str, Ciphertext], before: ServerState, after: ServerState) -> None:
        """Credit a round's updates with what they move along its path, and earlier ones with what is left of them."""
        terms = self._session.terms
        gradient = path_gradient(
            self._reference.gradient,
            before.model.astype(np.float64),
            after.model.astype(np.float64),
            points=terms.valuation.quadrature_points,
        )
        self._fold(self._carried.add_round(updates, gradient, linear_step(after, terms.training)))

    def _fold(self, final: Iterable[tuple[Mapping[str, Ciphertext], npt.NDArray[np.float64]]]) -> None:
        for updates, weights in final:
            self._encrypted.add_round(updates, weights, rate=mean_rate(self._session.terms, updates))

    def open(
        self, channel: Channel, key_id: str, *, coordinator: Identity, holders: Sequence[str], log: Log
    ) -> Contributions:
        """Have holders decrypt the masked numbers, compare, and take the masks off.

        Args:
            channel: How holders are reached.
            key_id: Of the run's key.
            coordinator: Signs what holders are asked to open.
            holders: Who has the key; asked two at a time until two have answered.
            log: Writes the run record.

        Raises:
            ValuationError: too few holders confirmed or opened them, or two opened them differently.
        """
        self._fold(self._carried.rest())
        masked = self._encrypted.masked()
        task = self._confirmed(self._task(masked, key_id, coordinator), channel, holders, log)
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
        values = self._agreed(replies)
        opened = self._encrypted.opened(masked, values)
        contributions = self._contributions(opened, tuple(sorted(replies)))
        log("contributions.opened", _facts(opened, contributions, replies))
        return contributions

    def _task(self, masked: Sequence[MaskedContribution], key_id: str, coordinator: Identity) -> Parcel:
        samples = tuple(SampleToOpen(holder=item.holder, part=item.part) for item in masked)
        frames = [
            pack_frame(item.sample, header=self._session.frame("sample", number, key_id), sender=coordinator)
            for number, item in enumerate(masked)
        ]
        blobs = {sample.blob: frame for sample, frame in zip(samples, frames, strict=True)}
        return Parcel(body=ContributionsTask(**self._session.address, samples=samples, confirmations={}), blobs=blobs)

    def _confirmed(self, task: Parcel, channel: Channel, holders: Sequence[str], log: Log) -> Parcel:
        """The task with the signatures of a quorum that these are the only samples of the run."""
        slot = slot_of("contributions", rounds=self._session.terms.training.rounds)
        names = [(sample.holder, sample.blob) for sample in task.body.samples]
        subject = samples_to_open(slot, names, task.blobs)
        found = confirm(channel, self._session, subject, holders=holders, log=log)
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
        by_holder = {
            holder: contribution_of([part for part in opened if part.holder == holder], plain_modulus=modulus)
            for holder in self._session.terms.holder_ids
        }
        return Contributions(
            by_holder=by_holder,
            noise_errors={holder: self._noise_error(holder) for holder in by_holder},
            numbers_opened=self._encrypted.num_parts,
            openers=openers,
        )

    def _noise_error(self, holder: str) -> float:
        return self._encrypted.noise_error(
            holder,
            update_sd=update_noise_sd(self._session.terms, holder) / self._session.parameters.step,
            noise_sd=self._plan.contribution_sd if self._plan else 0.0,
        )


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
    }
