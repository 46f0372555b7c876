"""The coordinator of a run: it asks, adds ciphertexts, follows the model that holders release, and writes the record.

It holds no decryption key and imports no library that could use one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedjoint.encryption.ciphertext import Ciphertext
from fedjoint.encryption.opened import MINIMUM_OPENERS, ToOpen
from fedjoint.encryption.scratch import Bytes, sha256_of
from fedjoint.errors import FedjointError, TrainingError
from fedjoint.identity.keys import Identity
from fedjoint.privacy.receipts import RoundReceipt, check_releases
from fedjoint.strict import plain
from fedjoint.training.aggregate import Levels, Model, apply_sum, model_sha256, state_bytes
from fedjoint.training.ceremony import exchange_key, join_holders
from fedjoint.training.confirming import confirm
from fedjoint.training.opening import Openings
from fedjoint.training.optimizer import ServerState, start_state
from fedjoint.training.parts import PartedChannel
from fedjoint.training.plan import (
    Blob,
    Confirmations,
    OncePurpose,
    Opening,
    OpenTask,
    Parcel,
    Refusal,
    RoundReply,
    RoundTask,
    Task,
)
from fedjoint.training.release_round import OpenedRelease, ReleaseRound
from fedjoint.training.session import Session
from fedjoint.training.summing import SumInProgress

__all__ = ["Coordinator", "Log", "Reference", "RoundSummary"]

#: Writes an event (type, body) to the run record.
Log = Callable[[str, Mapping[str, Any]], object]
Gradient = npt.NDArray[np.float64]


class Reference(Protocol):
    """The exchange's reference set, on which the model's worth is measured."""

    def loss(self, model: npt.NDArray[np.floating[Any]]) -> float:
        """Mean loss of a model."""
        ...

    def gradient(self, model: npt.NDArray[np.floating[Any]]) -> Gradient:
        """Gradient of the mean loss, float64 [D]."""
        ...

    def metrics(self, model: npt.NDArray[np.floating[Any]]) -> Mapping[str, float | None]:
        """What people read: AUC, accuracy."""
        ...


class ContributionAccount(Protocol):
    """Adds up contributions, encrypted, round by round."""

    def add_round(self, updates: Mapping[str, Ciphertext], before: ServerState, after: ServerState) -> None:
        """Account for a round whose sum is known, given the states before and after it."""
        ...


@dataclass(frozen=True, kw_only=True)
class RoundSummary:
    """What a round came to.

    Args:
        round: From 1.
        contributors: Whose updates are in the sum, sorted.
        refusals: Who did not take part, and why.
        metrics: The model after it, on the reference set.
        loss: The reference loss after it.
        receipts: What each contributor signed.
        levels: The opened sum, as :func:`fedjoint.training.aggregate.apply_sum` takes it.
    """

    round: int
    contributors: tuple[str, ...]
    refusals: Mapping[str, Refusal]
    metrics: Mapping[str, float | None]
    loss: float
    receipts: Mapping[str, RoundReceipt]
    levels: Levels


@dataclass(kw_only=True)
class _Round:
    """A round whose updates are in and whose sum is not yet opened."""

    number: int
    total: SumInProgress
    updates: dict[str, Ciphertext] = field(default_factory=dict)
    receipts: dict[str, RoundReceipt] = field(default_factory=dict)
    signatures: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    frame: Blob = b""
    confirmations: Confirmations = field(default_factory=dict)

    @property
    def contributors(self) -> tuple[str, ...]:
        return tuple(sorted(self.updates))


class Coordinator:
    """Runs one agreement over a channel.

    Args:
        identity: The coordinator's keys (for signing; no decryption key exists here).
        session: The run.
        start: The agreed model's start, float32 [D].
        channel: How holders are reached, in messages of any size; and where the coordinator works.
        reference: The exchange's reference set.
        contributions: Where contributions add up.
        log: Writes the run record.
    """

    def __init__(
        self,
        identity: Identity,
        session: Session,
        *,
        start: Model,
        channel: PartedChannel,
        reference: Reference,
        contributions: ContributionAccount,
        log: Log,
    ) -> None:
        self._identity, self._session, self._terms = identity, session, session.terms
        self._channel, self._workplace, self._reference = channel, channel.workplace, reference
        self._contributions, self._log = contributions, log
        self._model_round: dict[str, int] = {}
        self._steps: dict[str, int] = {}  # noisy steps that each holder has accounted for
        self.key_id = ""
        self._state = start_state(start, session.terms.training)
        self._sent: tuple[ServerState, Bytes] | None = None
        self.end = "all agreed rounds were trained"

    @property
    def model(self) -> Model:
        """The model after the last opened round, float32 [D]."""
        return self._state.model

    @property
    def holders(self) -> tuple[str, ...]:
        """Ids of the holders that joined and have the key."""
        return tuple(self._model_round)

    def prepare(self) -> None:
        """Have holders join and share a key.

        Raises:
            TrainingError: fewer than the agreed minimum take part.
        """
        joined = join_holders(self._channel, self._session, self._log)
        key_id, ready = exchange_key(self._channel, self._session, joined, self._log)
        self.key_id, self._model_round = key_id, dict.fromkeys(ready, 0)

    def rounds(self) -> Iterator[RoundSummary]:
        """Train round by round; each is given out once its sum is opened, with the model in :attr:`model`.

        Raises:
            TrainingError: no round at all could be trained, or a sum was opened differently by two holders.
        """
        pending: _Round | None = None
        active = set(self._model_round)
        for number in range(1, self._terms.training.rounds + 1):
            current, openings = self._exchange_round(number, sorted(active), pending)
            active -= {
                holder for holder, refusal in current.refusals.items() if refusal.code == "privacy.budget_exhausted"
            }
            if pending is not None:
                if not self._is_open(pending, openings):
                    return
                yield self._close(pending, openings)
            if len(current.updates) < self._terms.training.minimum_holders:
                self._end_early(current)
                return
            pending = current
            pending.frame = self._sum_frame(pending)
            if not self._is_confirmed(pending):
                return
        if pending is not None:
            openings = Openings(session=self._session, round=pending.number)
            if self._is_open(pending, openings):
                yield self._close(pending, openings)

    def release_once(self, purpose: OncePurpose, *, slot: int) -> OpenedRelease:
        """Have holders release statistics or metrics, and open their sum.

        Raises:
            TrainingError: too few holders took part or opened it, or two opened it differently.
        """
        release = ReleaseRound(
            session=self._session,
            channel=self._channel,
            coordinator=self._identity,
            key_id=self.key_id,
            log=self._log,
            workplace=self._workplace,
        )
        return release.run(purpose, slot=slot, holders=sorted(self._model_round))

    def finish(self) -> None:
        """Tell every holder that the run is over, so that it frees what it has not spent of its reservation."""
        tasks = {holder: Parcel(body=Task(**self._session.address)) for holder in self._model_round}
        for _ in self._channel.exchange("finish", tasks):
            pass  # who does not hear of it keeps its reservation until it gives it back itself

    def _exchange_round(self, number: int, active: list[str], pending: _Round | None) -> tuple[_Round, Openings]:
        total = SumInProgress(self._session, number, self.key_id, coordinator=self._identity, workplace=self._workplace)
        current = _Round(number=number, total=total)
        openings = Openings(session=self._session, round=number - 1)
        tasks = {holder: self._round_task(holder, number, active, pending) for holder in active}
        for holder, reply in self._channel.exchange("train", tasks):
            if isinstance(reply, Refusal):
                current.refusals[holder] = reply
                continue
            try:
                self._take_reply(holder, reply, current, openings)
            except FedjointError as problem:
                current.refusals[holder] = Refusal.because(problem)
        return current, openings

    def _round_task(self, holder: str, number: int, active: list[str], pending: _Round | None) -> Parcel:
        opening, blobs, catch_up = self._opening(holder, active, pending) if pending else (None, {}, False)
        body = RoundTask(
            **self._session.address,
            round=number,
            opening=opening,
            catch_up=catch_up,
        )
        return Parcel(body=body, blobs=blobs)

    def _opening(self, holder: str, active: list[str], pending: _Round) -> tuple[Opening, dict[str, Blob], bool]:
        """What a holder needs to open a sum; those that reveal it take turns."""
        turn = (active.index(holder) - pending.number * MINIMUM_OPENERS) % len(active)
        opening = Opening(
            round=pending.number,
            contributors=pending.contributors,
            reveal=turn < MINIMUM_OPENERS,
            confirmations=pending.confirmations,
        )
        catch_up = self._model_round[holder] < pending.number - 1
        blobs: dict[str, Blob] = {"sum": pending.frame}
        if catch_up:
            blobs["model"] = self._state_blob()
        return opening, blobs, catch_up

    def _state_blob(self) -> Bytes:
        """The state as holders that missed a round are sent it: the same array for all of them."""
        if self._sent is None or self._sent[0] is not self._state:
            self._sent = self._state, state_bytes(self._state, scratch=self._workplace.scratch)
        return self._sent[1]

    def _take_reply(self, holder: str, parcel: Parcel, current: _Round, openings: Openings) -> None:
        reply: RoundReply = parcel.body
        receipt, frame = reply.receipt, parcel.blobs.get("frame", b"")
        if reply.opened is not None:
            openings.add(holder, reply.opened, parcel.blobs.get("sum"))
            self._model_round[holder] = reply.opened.round
        self._session.check(holder, "receipt", receipt, reply.signature)
        expected = (self._session.run_id, holder, current.number, sha256_of(frame))
        if (receipt.run_id, receipt.holder, receipt.round, receipt.frame_sha256) != expected:
            raise TrainingError(f"the receipt of '{holder}' is not about the frame it sent in round {current.number}")
        steps = check_releases(receipt, self._terms, steps_before=self._steps.get(holder, 0))
        current.updates[holder] = current.total.add(holder, frame)
        self._steps[holder] = steps
        current.receipts[holder], current.signatures[holder] = receipt, reply.signature

    def _sum_frame(self, current: _Round) -> Bytes:
        self._log(
            "round.summed",
            {
                "round": current.number,
                "receipts": {holder: plain(receipt) for holder, receipt in sorted(current.receipts.items())},
                "signatures": dict(sorted(current.signatures.items())),
                "refusals": {holder: refusal.code for holder, refusal in sorted(current.refusals.items())},
            },
        )
        return current.total.finish()

    def _is_confirmed(self, pending: _Round) -> bool:
        """Whether a quorum of holders signs for this sum as the round's only one; if not, the run ends here."""
        subject = ToOpen(slot=pending.number, contributors=pending.contributors, sha256=sha256_of(pending.frame))
        found = confirm(self._channel, self._session, subject, holders=self.holders, log=self._log)
        pending.confirmations = found.confirmations
        if not found.is_quorum:
            self._end(pending.number, f"the sum of round {pending.number} was {found.counted}", found.refusals)
        return found.is_quorum

    def _close(self, pending: _Round, openings: Openings) -> RoundSummary:
        """Take the opened sum of a round, move the model on, account for contributions."""
        levels, digest = openings.agreed()
        scratch = self._workplace.scratch
        after = apply_sum(self._state, levels, pending.contributors, self._terms, scratch=scratch)
        if model_sha256(after.model) != digest:
            raise TrainingError(
                f"the holders' model after round {pending.number} is another than the coordinator's",
                remedy="Two versions of fedjoint, or a changed sum: compare versions; the run stops here.",
            )
        self._contributions.add_round(pending.updates, self._state, after)
        self._state = after
        summary = RoundSummary(
            round=pending.number,
            contributors=pending.contributors,
            refusals=pending.refusals,
            metrics=self._reference.metrics(self.model),
            loss=self._reference.loss(self.model),
            receipts=pending.receipts,
            levels=levels,
        )
        self._log(
            "round.opened",
            {
                "round": pending.number,
                "model_sha256": digest,
                "opened": {holder: plain(reply) for holder, reply in sorted(openings.replies.items())},
                "metrics": dict(summary.metrics),
                "loss": summary.loss,
            },
        )
        return summary

    def _is_open(self, pending: _Round, openings: Openings) -> bool:
        """Whether enough holders have opened a sum, if need be after asking all; if not, the run ends here."""
        if openings.complete:
            return True
        refusals = self._ask_to_open(pending, openings)
        if openings.complete:
            return True
        what = f"the sum of round {pending.number} was opened by {len(openings.replies)} of at least {MINIMUM_OPENERS}"
        self._end(pending.number, f"{what} holders", refusals)
        return False

    def _ask_to_open(self, pending: _Round, openings: Openings) -> dict[str, Refusal]:
        """Have holders open and reveal a sum outside a round: all, as each needs the model and any may be gone."""
        tasks, refusals = {}, {}
        for holder in sorted(self._model_round):
            opening, blobs, catch_up = self._opening(holder, [holder], pending)
            body = OpenTask(**self._session.address, opening=opening, catch_up=catch_up)
            tasks[holder] = Parcel(body=body, blobs=blobs)
        for holder, reply in self._channel.exchange("open_sum", tasks):
            if isinstance(reply, Refusal):
                refusals[holder] = reply
                continue
            try:
                openings.add(holder, reply.body, reply.blobs.get("sum"))
                self._model_round[holder] = pending.number
            except FedjointError as problem:
                refusals[holder] = Refusal.because(problem)
                self._log("opening.refused", {"holder": holder, "round": pending.number, "code": problem.code})
        return refusals

    def _end_early(self, current: _Round) -> None:
        """Say why a round with too few updates ends the run; its updates are never opened."""
        what = f"round {current.number} was not trained: {len(current.updates)} of at least"
        self._end(current.number, f"{what} {self._terms.training.minimum_holders} holders took part", current.refusals)

    def _end(self, number: int, what: str, refusals: Mapping[str, Refusal]) -> None:
        """End the run with the model so far, or with an error if there is none."""
        reasons = sorted({refusal.code for refusal in refusals.values()})
        words = "; ".join(f"{holder}: {refusal.message}" for holder, refusal in sorted(refusals.items()))
        self.end = f"{what} ({', '.join(reasons) or 'nobody left'})"
        self._log("run.ended_early", {"round": number, "reasons": reasons, "words": words})
        if number == 1:
            exhausted = reasons == ["privacy.budget_exhausted"]
            raise TrainingError(
                f"no round could be trained. {words}",
                remedy="Raise privacy.epsilon or privacy.noise_multiplier, if the holders' lifetime budgets have room."
                if exhausted
                else "See each holder's own log.",
            )
