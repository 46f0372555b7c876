"""The coordinator of a run: it asks, adds ciphertexts, follows the model that holders release, and writes the record.

It holds no decryption key and imports no library that could use one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fedjoint.agreement.slots import slot_of
from fedjoint.encryption.opened import MINIMUM_OPENERS
from fedjoint.errors import FedjointError, TrainingError
from fedjoint.identity.keys import Identity
from fedjoint.strict import plain
from fedjoint.training.aggregate import Levels, Model, apply_sum, model_sha256
from fedjoint.training.asked import asked_in_round
from fedjoint.training.block_audit import BlockAudit
from fedjoint.training.ceremony import exchange_key, join_holders
from fedjoint.training.checkpoint import CheckpointStore
from fedjoint.training.contribution_openers import ContributionOpeners
from fedjoint.training.contributions import Contributions, valuation_of
from fedjoint.training.coordinator_state import ClosedFacts, CoordinatorMemory, Logged, Prepared
from fedjoint.training.early_end import keep_end, log_end
from fedjoint.training.opening import Openings
from fedjoint.training.optimizer import start_state
from fedjoint.training.parts import PartedChannel
from fedjoint.training.path_gradients import Reference
from fedjoint.training.plan import Log, OncePurpose, Parcel, Refusal, RoundReply, Task
from fedjoint.training.quorum import confirm
from fedjoint.training.release_round import OpenedRelease, ReleaseRound
from fedjoint.training.round import PendingRound, RoundSummary, checked_frame
from fedjoint.training.round_tasks import RoundTasks, reveals
from fedjoint.training.session import Session
from fedjoint.training.summing import SumInProgress

__all__ = ["Coordinator", "Log", "Reference", "RoundSummary"]


class Coordinator:
    """Runs one agreement over a channel.

    Args:
        identity: The coordinator's keys (for signing; no decryption key exists here).
        session: The run.
        start: The agreed model's start, float32 [D].
        channel: How holders are reached, in messages of bounded size; and where the coordinator works.
        reference: The exchange's reference set.
        log: Writes the run record. What it is given again by a coordinator that takes a run up again, it leaves out.
        store: Where the run is kept after each step, and taken up again from; None: it ends with the process.

    Raises:
        TrainingError: what is kept is damaged.

    Guarantees:
        With a store, a coordinator made anew after a kill at any moment goes through the same calls: what was done is
        given out again without asking anybody, and the run continues with the same model, accounts and ciphertexts.
        No round counts twice: of each, one sum is ever made to be opened.
    """

    def __init__(
        self,
        identity: Identity,
        session: Session,
        *,
        start: Model,
        channel: PartedChannel,
        reference: Reference,
        log: Log,
        store: CheckpointStore | None = None,
    ) -> None:
        self._identity, self._session, self._terms = identity, session, session.terms
        self._channel, self._workplace, self._reference, self._log = channel, channel.workplace, reference, log
        self._memory = CoordinatorMemory(session, store)
        known = self._memory.facts
        self._valuation = valuation_of(session, reference, ask=self._ask_for_gradient, scratch=self._workplace.scratch)
        self._blocks = BlockAudit(session, channel, identity, memory=self._memory, log=log)
        self._gradients: list[OpenedRelease] = []
        self._valuation.restore(self._memory)
        self._model_round = dict(known.model_round)
        self._steps = dict(known.steps)  # noisy steps that each holder has accounted for
        self._state = start_state(start, session.terms.training)
        self._tasks = RoundTasks(session, self._workplace.scratch)
        self._opened: dict[str, Any] = {}  # what the record says of the round closed last

    @property
    def model(self) -> Model:
        """The model after the last round given out, float32 [D]."""
        return self._state.model

    @property
    def key_id(self) -> str:
        """Of the key that holders share; empty before :meth:`prepare`."""
        prepared = self._memory.facts.prepared
        return prepared.key_id if prepared is not None else ""

    @property
    def holders(self) -> tuple[str, ...]:
        """Ids of the holders that joined and have the key."""
        prepared = self._memory.facts.prepared
        return prepared.holders if prepared is not None else ()

    @property
    def gradients(self) -> tuple[OpenedRelease, ...]:
        """The validation gradients that holders opened, a round each; none where nobody is asked for them."""
        return tuple(self._gradients)

    @property
    def block_sums(self) -> Mapping[tuple[int, int], Levels]:
        """The opened sums of agreed blocks, by round and block."""
        return self._blocks.sums

    @property
    def end(self) -> str:
        """Why training ended."""
        return self._memory.facts.end or "all agreed rounds were trained"

    def prepare(self) -> None:
        """Have holders join and share a key, unless they did.

        Raises:
            TrainingError: fewer than the agreed minimum take part.
        """
        prepared = self._memory.facts.prepared
        if prepared is None:
            events: list[Logged] = []

            def log(kind: str, body: Mapping[str, Any]) -> None:
                events.append(Logged(type=kind, body=dict(body)))

            joined = join_holders(self._channel, self._session, log)
            key_id, ready = exchange_key(self._channel, self._session, joined, log)
            self._model_round = dict.fromkeys(ready, 0)
            prepared = Prepared(key_id=key_id, holders=tuple(ready), events=tuple(events))
            self._memory.remember(prepared=prepared, model_round=self._model_round, active=tuple(sorted(ready)))
        for event in prepared.events:
            self._log(event.type, event.body)

    def rounds(self) -> Iterator[RoundSummary]:
        """Train round by round; each is given out once its sum is opened, with the model in :attr:`model`.

        Rounds that were closed before this process began are given out again, first.

        Raises:
            TrainingError: no round at all could be trained, or a sum was opened differently by two holders.
        """
        yield from self._closed_before()
        facts, pending = self._memory.facts, self._memory.pending()
        if pending is not None:
            self._log("round.summed", pending.summed())
        if facts.ended is not None:
            self._log(facts.ended.type, facts.ended.body)
            return
        active = set(facts.active)
        for number in range(pending.number + 1 if pending else facts.rounds + 1, self._terms.training.rounds + 1):
            if pending is not None and not self._is_confirmed(pending):
                return
            current, openings = self._exchange_round(number, asked_in_round(self._terms, number, active), pending)
            active -= {
                holder for holder, refusal in current.refusals.items() if refusal.code == "privacy.budget_exhausted"
            }
            if pending is not None and not self._is_open(pending, openings):
                return
            summary = self._close(pending, openings) if pending is not None else None
            self._memory.stage(active=tuple(sorted(active)))
            pending = self._begin_opening(current)
            if summary is not None:
                self._log("round.opened", self._opened)
                yield summary
            if pending is None:
                log_end(self._memory, self._log, number, current.refusals)
                return
            self._log("round.summed", pending.summed())
        if pending is not None and self._is_confirmed(pending):
            openings = Openings(session=self._session, round=pending.number)
            if self._is_open(pending, openings):
                summary = self._close(pending, openings)
                self._memory.stage_pending(None)
                self._commit()
                self._log("round.opened", self._opened)
                yield summary

    def release_once(self, purpose: OncePurpose, *, number: int = 0) -> OpenedRelease:
        """Have holders release statistics, metrics or the validation gradient of a round, and open their sum.

        Raises:
            TrainingError: too few holders took part or opened it, or two opened it differently.
        """
        release = ReleaseRound(
            session=self._session,
            channel=self._channel,
            coordinator=self._identity,
            key_id=self.key_id,
            memory=self._memory,
            log=self._log,
            workplace=self._workplace,
        )
        opened = release.run(purpose, holders=sorted(self._model_round), number=number)
        self._log("validation.opened" if purpose == "validation" else "release.opened", opened.facts())
        return opened

    def _ask_for_gradient(self, number: int) -> OpenedRelease:
        self._gradients.append(self.release_once("validation", number=number))
        return self._gradients[-1]

    def value(self) -> Contributions:
        """Have the contributions opened.

        Raises:
            ValuationError: fewer than two holders opened them, or two did differently.
        """
        openers = ContributionOpeners(
            session=self._session,
            channel=self._channel,
            key_id=self.key_id,
            coordinator=self._identity,
            holders=self.holders,
            log=self._log,
            memory=self._memory,
        )
        return self._valuation.open(openers)

    def finish(self) -> None:
        """Tell every holder that the run is over, so that it frees what it has not spent of its reservation."""
        tasks = {holder: Parcel(body=Task(**self._session.address)) for holder in self._model_round}
        for _ in self._channel.exchange("finish", tasks):
            pass  # who does not hear of it keeps its reservation until it gives it back itself

    def _exchange_round(
        self, number: int, active: list[str], pending: PendingRound | None
    ) -> tuple[PendingRound, Openings]:
        current = PendingRound(number=number)
        self._total = SumInProgress(
            self._session,
            self._slot(number),
            self.key_id,
            coordinator=self._identity,
            workplace=self._workplace,
        )
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

    def _round_task(self, holder: str, number: int, active: list[str], pending: PendingRound | None) -> Parcel:
        if pending is None:
            return self._tasks.to_train(number)
        reveal, has_model = reveals(holder, active, pending.number), self._has_model(holder, pending)
        return self._tasks.to_open_and_train(pending, self._state, reveal=reveal, has_model=has_model)

    def _has_model(self, holder: str, pending: PendingRound) -> bool:
        """Whether a holder opened the sum before this one."""
        return self._model_round[holder] >= pending.number - 1

    def _take_reply(self, holder: str, parcel: Parcel, current: PendingRound, openings: Openings) -> None:
        reply: RoundReply = parcel.body
        if reply.opened is not None:
            openings.add(holder, reply.opened, parcel.blobs.get("sum"))
            self._model_round[holder] = reply.opened.round
        before = self._steps.get(holder, 0)
        frame, steps = checked_frame(self._session, holder, parcel, number=current.number, steps=before)
        current.updates[holder] = self._total.add(holder, frame)
        self._steps[holder] = steps
        current.receipts[holder], current.signatures[holder] = reply.receipt, reply.signature

    def _begin_opening(self, current: PendingRound) -> PendingRound | None:
        """Make and keep the sum of a round, before anybody is asked to open it; or end the run if it has too few."""
        if len(current.updates) >= self._terms.training.minimum_holders:
            current.frame = self._total.finish()
            self._memory.stage_pending(current)
            self._commit()
            return current
        what = f"round {current.number} was not trained: {len(current.updates)} of at least"
        minimum = self._terms.training.minimum_holders
        self._end(current.number, f"{what} {minimum} holders took part", current.refusals)
        return None

    def _end(self, number: int, what: str, refusals: Mapping[str, Refusal]) -> None:
        keep_end(self._memory, number, what, refusals)
        if number > 1:  # without any round there is nothing to go on with: another process may try again
            self._commit()

    def _commit(self) -> None:
        self._memory.remember(model_round=dict(self._model_round), steps=dict(self._steps))

    def _close(self, pending: PendingRound, openings: Openings) -> RoundSummary:
        """Take the opened sum of a round, move the model on, account for contributions."""
        levels, digest = openings.agreed()
        scratch = self._workplace.scratch
        after = apply_sum(self._state, levels, pending.contributors, self._terms, scratch=scratch)
        if model_sha256(after.model) != digest:
            raise _another_model(pending.number)
        self._valuation.add_round(pending.updates, self._state, after)
        self._memory.stage_valuation(*self._valuation.saved())
        self._blocks.open_round(pending.number, pending.updates, key_id=self.key_id, holders=self.holders)
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
        self._opened = {
            "round": pending.number,
            "model_sha256": digest,
            "opened": {holder: plain(reply) for holder, reply in sorted(openings.replies.items())},
            "metrics": dict(summary.metrics),
            "loss": summary.loss,
        }
        closed = ClosedFacts(summed=pending.summed(), refusals=pending.refusals, opened=self._opened)
        self._memory.stage_closed(summary, closed)
        return summary

    def _closed_before(self) -> Iterator[RoundSummary]:
        """The rounds that were closed before this process began, and the model after each."""
        if not self._memory.lasts:
            return
        for number in range(1, self._memory.facts.rounds + 1):
            summary, closed = self._memory.closed(number)
            scratch = self._workplace.scratch
            self._state = apply_sum(self._state, summary.levels, summary.contributors, self._terms, scratch=scratch)
            if model_sha256(self._state.model) != closed.opened["model_sha256"]:
                raise _another_model(number)
            self._log("round.summed", closed.summed)
            self._log("opening.confirmed", plain(self._memory.facts.confirmed[str(self._slot(number))]))
            if f"validation {number}" in self._memory.facts.releases:
                self._ask_for_gradient(number)  # it is kept: nobody is asked
            self._blocks.open_round(number, {}, key_id=self.key_id, holders=self.holders)
            self._log("round.opened", closed.opened)
            yield summary

    def _slot(self, number: int) -> int:
        return slot_of(self._terms, "training", number)

    def _is_confirmed(self, pending: PendingRound) -> bool:
        """Whether a quorum of holders signs for this sum as the round's only one; if not, the run ends here."""
        found = confirm(
            self._channel,
            self._session,
            pending.subject(self._terms),
            holders=self.holders,
            memory=self._memory,
            log=self._log,
        )
        pending.confirmations = found.confirmations
        if not found.is_quorum:
            self._end(pending.number, f"the sum of round {pending.number} was {found.counted}", found.refusals)
            log_end(self._memory, self._log, pending.number, found.refusals)
        return found.is_quorum

    def _is_open(self, pending: PendingRound, openings: Openings) -> bool:
        """Whether enough holders have opened a sum, if need be after asking all; if not, the run ends here."""
        if openings.complete:
            return True
        refusals = self._ask_to_open(pending, openings)
        if openings.complete:
            return True
        what = f"the sum of round {pending.number} was opened by {len(openings.replies)} of at least {MINIMUM_OPENERS}"
        self._end(pending.number, f"{what} holders", refusals)
        log_end(self._memory, self._log, pending.number, refusals)
        return False

    def _ask_to_open(self, pending: PendingRound, openings: Openings) -> dict[str, Refusal]:
        """Have holders open and reveal a sum outside a round: all, as each needs the model and any may be gone."""
        tasks, refusals = {}, {}
        for holder in sorted(self._model_round):
            has_model = self._has_model(holder, pending)
            tasks[holder] = self._tasks.to_open(pending, self._state, has_model=has_model)
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


def _another_model(number: int) -> TrainingError:
    return TrainingError(
        f"the holders' model after round {number} is another than the coordinator's",
        remedy="Two versions of fedjoint, or a changed sum: compare versions; the run stops here.",
    )
