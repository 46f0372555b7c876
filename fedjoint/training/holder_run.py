"""One holder's state in one run, and what it does and refuses in each exchange."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.slots import slot_of
from fedjoint.data.records import Examples
from fedjoint.encryption.fixed_point import Levels, dequantise_sum, levels_of
from fedjoint.encryption.opened import ToOpen
from fedjoint.encryption.scratch import Bytes, sha256_of
from fedjoint.errors import EncryptionError, TrainingError
from fedjoint.identity.keys import Identity
from fedjoint.models.vector import parameters_to_vector
from fedjoint.privacy.ledger_file import Lifetime
from fedjoint.privacy.receipts import RoundReceipt
from fedjoint.training.aggregate import (
    ServerState,
    apply_sum,
    model_bytes,
    model_sha256,
    state_bytes,
    state_from_bytes,
)
from fedjoint.training.block_messages import OpenBlockTask
from fedjoint.training.blocks import open_block
from fedjoint.training.charges import RunCharges, charged_before
from fedjoint.training.diary import diary_of
from fedjoint.training.holder_key import HolderKey
from fedjoint.training.holder_once import OnceReleases
from fedjoint.training.holder_release import HolderRecords
from fedjoint.training.holder_state import OpenedSum, RunMemory, RunStore, SentUpdate
from fedjoint.training.local_update import LocalTrainer, agreed_module, noise_source
from fedjoint.training.optimizer import start_state
from fedjoint.training.parts import PartStore
from fedjoint.training.plan import (
    Blob,
    Blobs,
    ConfirmTask,
    ContributionsTask,
    JoinReply,
    Opening,
    OpenReleaseTask,
    OpenReply,
    OpenTask,
    Parcel,
    ReleaseTask,
    RoundReply,
    RoundTask,
    TakeKeyTask,
)
from fedjoint.training.self_check import require_mechanism
from fedjoint.training.session import Session
from fedjoint.training.workplace import Workplace

__all__ = ["HolderRun", "Observer"]

#: Hears (holder id, round, weighted update as it was encrypted, float64 [D]).
Observer = Callable[[str, int, npt.NDArray[np.float64]], None]


class HolderRun:
    """A holder's part in one run.

    Args:
        identity: The holder's keys.
        examples: Its records.
        session: The run.
        observer: See :data:`Observer`.
        lifetime: See :class:`~fedjoint.privacy.ledger_file.Lifetime`.
        store: Where the run is kept, and taken up again from; None: it ends with the process.
        workplace: Where large arrays are kept, and who hears how far work on them is.

    Raises:
        TrainingError: what is kept is damaged, or of other records.

    Guarantees:
        The account of releases lives as long as the run: no round starts a fresh one, and it is charged before an
        update leaves. A round is trained at most once, its sum opened at most once, contributions at most once: asked
        again, a holder that keeps its run says the very same, and one that does not refuses.
    """

    def __init__(
        self,
        identity: Identity,
        examples: Examples,
        session: Session,
        *,
        observer: Observer | None = None,
        lifetime: Lifetime | None = None,
        store: RunStore | None = None,
        workplace: Workplace | None = None,
    ) -> None:
        self._identity, self._session, self._observer = identity, session, observer
        self._diary = diary_of(store.diary, session.agreement) if store else None
        self._terms, self._parameters = session.terms, session.parameters
        self._memory = RunMemory(store.checkpoints if store else None)
        known, terms = self._memory.facts, session.terms
        self._charges = RunCharges(session, lifetime, rounds=known.rounds_charged)
        self._noise = noise_source(terms.privacy, identity.id, after_round=known.trained_round)
        held_out = self._memory.blob("held_out")
        require_mechanism(terms, identity.id, self._noise)
        self._records = HolderRecords(
            terms, identity.id, examples, noise=self._noise, held_out=bytes(held_out) if held_out is not None else None
        )
        self._workplace = workplace or Workplace()
        #: Blobs that travel in parts.
        self.parts = PartStore(session, self._workplace)
        self._key = HolderKey(identity, session, self._workplace, store=store.key if store else None)
        before = self._memory.blob("model")
        self._state = (
            state_from_bytes(before, terms)
            if before is not None
            else start_state(parameters_to_vector(agreed_module(terms)), terms.training)
        )
        self._before = self._state.model  # before the last opened round
        if (path := self._memory.blob("before")) is not None:
            self._before = np.frombuffer(path, "<f4")
        self._once = OnceReleases(
            session,
            self._sign,
            memory=self._memory,
            key=self._key,
            charges=self._charges,
            records=self._records,
            diary=self._diary,
        )
        if self._memory.lasts and self._memory.blob("held_out") is None:
            self._memory.remember({"held_out": self._records.held_out})

    @property
    def run_id(self) -> str:
        """The run."""
        return self._session.run_id

    @property
    def has_trained(self) -> bool:
        """Whether a round was trained, or begun to be: what that cost is spent."""
        return self._memory.facts.trained_round > 0

    def join(self) -> Parcel:
        """Say who takes part, signed."""
        signature = self._sign("join", {"holder": self._identity.id})
        return Parcel(body=JoinReply(holder=self._identity.id, signature=signature))

    def make_key(self) -> Parcel:
        """Make the run's homomorphic key and seal it to each other holder; asked again, seal the same again.

        Raises:
            EncryptionError: this holder has a key that another made.
        """
        again = self._memory.facts.made_key
        self._memory.remember(made_key=True)  # before there is one: it may leave as soon as it is kept
        return self._key.make(again=again)

    def take_key(self, task: TakeKeyTask) -> Parcel:
        """See :meth:`HolderKey.take`."""
        if self._key.secret is None:
            self._memory.remember(made_key=False)
        return self._key.take(task)

    def train(self, task: RoundTask, blobs: Blobs) -> Parcel:
        """Open the sum of the round before, train on the own records, and return the encrypted update.

        Raises:
            BudgetExhausted: the round would cost more than the budget, or the run more than is left of the lifetime
                budget; nothing is released and nothing charged.
            PrivacyError: updates without noise from records with a lifetime budget, a round that was charged before
                this process began, or its ledger refuses.
            TrainingError: the plan is outside the agreement, or the round was begun before and is not kept.
            EncryptionError: no key yet, a sum that must not be opened, or an update that cannot be encrypted.
        """
        known = self._memory.facts
        self._require_going_on()
        self._key.require()
        again = task.round == known.trained_round and (self._has_sent(task.round) or self._may_make(task.round))
        if not again and not known.trained_round < task.round <= self._terms.training.rounds:
            raise TrainingError(
                f"round {task.round} after round {known.trained_round}",
                expected=f"a later one, at most {self._terms.training.rounds}",
                remedy="No round is trained twice.",
            )
        opened, sum_blob = None, dict[str, Blob]()
        if task.opening:
            opened, sum_blob = self._open(task.opening, blobs, catch_up=task.catch_up)
        if self._memory.facts.model_round != task.round - 1:
            raise TrainingError(
                f"round {task.round} and the model is of round {self._memory.facts.model_round}",
                remedy="Send the sum.",
            )
        update, frame = self._sent(task.round) if self._has_sent(task.round) else self._trained(task.round)
        reply = RoundReply(receipt=update.receipt, signature=update.signature, opened=opened)
        return Parcel(body=reply, blobs={"frame": frame, **sum_blob})

    def _has_sent(self, number: int) -> bool:
        """Whether the update of a round is kept, to be sent again."""
        update = self._memory.facts.update
        return self._memory.lasts and update is not None and update.receipt.round == number

    def _may_make(self, number: int) -> bool:
        """Whether a round that a killed process began may be made yet: not even encrypted, nothing of it left."""
        unused = self._key.require().last_round < slot_of(self._terms, "training", number)
        return self._memory.lasts and unused and f"round {number}" not in self._memory.facts.barred

    def _trained(self, number: int) -> tuple[SentUpdate, Blob]:
        """Charge a round, train in it, and keep the update before it leaves."""
        known = self._memory.facts
        again = number == known.trained_round
        if not again:
            self._charges.admit_round()
            self._memory.remember(trained_round=number, rounds_charged=known.rounds_charged + 1, update=None)
        # before anything is released: a crash in between charges
        if not self._charges.charge_round(number, again=again) and not again:
            self._memory.bar(f"round {number}")
            raise charged_before(f"round {number}", self.run_id)
        frame = self._encrypted_update(number)
        receipt = self._receipt(number, frame)
        update = SentUpdate(receipt=receipt, signature=self._sign("receipt", receipt))
        if self._memory.lasts:
            self._memory.remember({"frame": frame}, update=update)
        return update, frame

    def _sent(self, number: int) -> tuple[SentUpdate, Blob]:
        """The update of a round as it was made: never another one under the same key and round."""
        update, frame = self._memory.facts.update, self._memory.blob("frame")
        if update is None or frame is None:
            raise TrainingError(f"the update of round {number} is not kept", remedy="Go on with the next round.")
        return update, frame

    def confirm(self, task: ConfirmTask) -> Parcel:
        """Sign for the one thing that is to be opened in its place: :meth:`OnceReleases.confirm`."""
        self._require_going_on()
        return self._once.confirm(task.subject)

    def open_sum(self, task: OpenTask, blobs: Blobs) -> Parcel:
        """Open a sum outside a round.

        Raises:
            EncryptionError: it must not be opened.
        """
        opened, sum_blob = self._open(task.opening, blobs, catch_up=task.catch_up)
        self._memory.commit()
        return Parcel(body=opened, blobs=sum_blob)

    def open_contributions(self, task: ContributionsTask, blobs: Blobs) -> Parcel:
        """Decrypt the masked contributions: to this holder they are uniform numbers.

        Raises:
            EncryptionError: others were opened before, or they are malformed.
        """
        return self._once.open_contributions(task, blobs)

    def close(self) -> None:
        """Wipe the run's key from memory, as far as Python can; whatever needs it is refused from now on."""
        self._key.close()
        self._memory.close()

    def release(self, task: ReleaseTask) -> Parcel:
        """Release statistics before round 1, a histogram or a validation gradient after a sum, encrypted, once.

        Raises:
            BudgetExhausted: the run would cost more than is left of the lifetime budget; nothing is released.
            PrivacyError: it was not agreed, or was charged before this process began.
            TrainingError: it was begun before and is not kept, or at another time than agreed.
            EncryptionError: no key yet.
        """
        self._key.require()
        self._require_going_on()
        return self._once.release(task, self._state.model, before=self._before)

    def open_release(self, task: OpenReleaseTask, blobs: Blobs) -> Parcel:
        """Open the sum of a release, and standardise the own records by it if it is the statistics.

        Raises:
            EncryptionError: another was opened before, or it must not be opened.
            PrivacyError: it was not agreed.
        """
        return self._once.open_release(task, blobs)

    def open_block(self, task: OpenBlockTask, blobs: Blobs) -> Parcel:
        """Decrypt the sum of an agreed block of holders: :func:`fedjoint.training.blocks.open_block`."""
        self._require_going_on()
        return open_block(self._terms, task, blobs, key=self._key, memory=self._memory, sign=self._sign)

    def _require_going_on(self) -> None:
        if self._memory.facts.is_over:
            raise TrainingError(f"run {self.run_id} is over", remedy="Sign a new agreement for another run.")

    def finish(self) -> Parcel:
        """Take note that the run is over: what it has not released of its reservation is free again, its key is wiped.

        Whoever says so falsely gets no further round out of this holder.
        """
        self._charges.give_back()
        if self._memory.lasts:
            self._key.erase()
        self._memory.end()
        signature = self._sign("finish", {"holder": self._identity.id})
        return Parcel(body=JoinReply(holder=self._identity.id, signature=signature))

    def _sign(self, purpose: str, facts: object) -> str:
        return self._session.sign(self._identity, purpose, facts)

    def _encrypted_update(self, round_number: int) -> Bytes:
        source = self._trainer.source(self._state.model, round_number)
        if self._observer is not None or self._diary is not None:
            source = Levels(values=levels_of(source), parameters=self._parameters)
            update = dequantise_sum(source.values, 1, self._parameters)[: self._terms.num_parameters]
            if self._observer is not None:
                self._observer(self._identity.id, round_number, update)
            if self._diary is not None:
                self._diary.sent(round_number, update)
        return self._key.encrypted(source, slot_of(self._terms, "training", round_number))

    @property
    def _trainer(self) -> LocalTrainer:
        return LocalTrainer(
            terms=self._terms, holder_id=self._identity.id, examples=self._records.training, noise=self._noise
        )

    def _receipt(self, round_number: int, frame: Bytes) -> RoundReceipt:
        return RoundReceipt(
            run_id=self._session.run_id,
            holder=self._identity.id,
            round=round_number,
            frame_sha256=sha256_of(frame),
            releases=self._charges.releases,
            epsilon=self._charges.epsilon,
            epsilon_if_opened=self._charges.epsilon_if_opened,
        )

    def _open(self, opening: Opening, blobs: Blobs, *, catch_up: bool) -> tuple[OpenReply, dict[str, Blob]]:
        """Decrypt the sum of a round, move the model on, and say what came out; asked again, say the same."""
        frame, known = blobs.get("sum", b""), self._memory.facts
        slot = slot_of(self._terms, "training", opening.round)
        subject = ToOpen(slot=slot, contributors=opening.contributors, sha256=sha256_of(frame))
        if known.opened_sum is None or known.opened_sum.frame_sha256 != subject.sha256:
            if opening.round <= known.model_round:
                raise EncryptionError(
                    f"another sum of round {opening.round} was opened before", remedy="One sum a round is opened."
                )
            missed = catch_up and known.model_round < opening.round - 1
            before = state_from_bytes(blobs.get("model", b""), self._terms) if missed else self._state
            if not missed and known.model_round != opening.round - 1:
                raise TrainingError(f"the sum of round {opening.round} for the model of round {known.model_round}")
            levels = self._key.decrypted_sum(subject, frame, opening.confirmations)
            self._move_on(opening, subject, levels.view(np.uint8), before=before)
        opened = self._memory.facts.opened_sum
        assert opened is not None  # now or before
        plain_sum = self._memory.blob("sum")
        assert plain_sum is not None  # it is kept with what was said of it
        return opened.reply, {"sum": plain_sum} if opening.reveal else {}

    def _move_on(self, opening: Opening, subject: ToOpen, plain_sum: Bytes, *, before: ServerState) -> None:
        """Take the opened sum into the model, and remember both."""
        scratch = self._workplace.scratch
        self._before = before.model
        self._state = apply_sum(before, plain_sum.view("<u8"), opening.contributors, self._terms, scratch=scratch)
        if self._diary is not None:
            self._diary.moved(opening.round, opening.contributors, before=before, after=self._state)
        facts: dict[str, Any] = {
            "round": opening.round,
            "sum_sha256": sha256_of(plain_sum),
            "model_sha256": model_sha256(self._state.model),
        }
        reply = OpenReply(**facts, signature=self._sign("opened", facts))
        model: dict[str, Blob] = {"model": state_bytes(self._state, scratch=scratch)} if self._memory.lasts else {}
        if self._memory.lasts and self._terms.validated_by_holders:
            model["before"] = model_bytes(self._before)
        self._memory.stage(
            {"sum": plain_sum, **model},
            **self._memory.facts.releases_but_gradients,
            model_round=opening.round,
            opened_sum=OpenedSum(frame_sha256=subject.sha256, reply=reply),
        )
