"""One holder's state in one run, and what it does and refuses in each exchange."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fedjoint.data.records import Examples
from fedjoint.encryption.decryption import open_sample
from fedjoint.encryption.fixed_point import Levels, Source, Steps, dequantise_sum, levels_of
from fedjoint.encryption.frames import FrameWriter, frame_bytes, parse_sample_frame
from fedjoint.encryption.opened import ToOpen, slot_of
from fedjoint.encryption.scratch import Bytes, sha256_of
from fedjoint.errors import EncryptionError, TrainingError
from fedjoint.identity.keys import Identity
from fedjoint.models.vector import parameters_to_vector
from fedjoint.privacy.ledger_file import Lifetime
from fedjoint.privacy.receipts import RoundReceipt
from fedjoint.training.charges import RunCharges
from fedjoint.training.confirming import require_quorum, samples_to_open
from fedjoint.training.holder_key import HolderKey
from fedjoint.training.holder_opening import HolderOpening
from fedjoint.training.holder_release import HolderRecords, plan_of, standardisation_from
from fedjoint.training.local_update import LocalTrainer, agreed_module, noise_source
from fedjoint.training.optimizer import start_state
from fedjoint.training.parts import PartStore
from fedjoint.training.plan import (
    Blob,
    Blobs,
    ConfirmTask,
    ContributionsReply,
    ContributionsTask,
    JoinReply,
    OncePurpose,
    OpenReleaseReply,
    OpenReleaseTask,
    OpenTask,
    Parcel,
    ReleaseReply,
    ReleaseTask,
    RoundReply,
    RoundTask,
    TakeKeyTask,
)
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
        workplace: Its folder, if it has one: then a run goes on after its process was killed
            (:class:`~fedjoint.training.holder_key.HolderKey`).

    Raises:
        AgreementError: another run was trained under the agreement.
        EncryptionError: the run's key in the folder cannot be read.

    Guarantees:
        The account of releases lives as long as the run: no round starts a fresh one, and it is charged before an
        update leaves. A round is trained at most once, its sum opened at most once, contributions at most once.
    """

    def __init__(
        self,
        identity: Identity,
        examples: Examples,
        session: Session,
        *,
        observer: Observer | None = None,
        lifetime: Lifetime | None = None,
        workplace: Workplace | None = None,
    ) -> None:
        self._identity, self._session, self._observer = identity, session, observer
        self._terms, self._parameters = session.terms, session.parameters
        terms, self._workplace = session.terms, workplace or Workplace()
        self._key = HolderKey(session, identity, self._workplace.folder)
        before = [number for number in self._key.rounds if 1 <= number <= terms.training.rounds]
        self._charges, self._is_over = RunCharges(session, lifetime, rounds_before=len(before)), False
        noise = noise_source(terms.privacy, identity.id)
        self._records, self._noise = HolderRecords(terms, examples, noise), noise
        self._released: set[OncePurpose] = set()
        self._opened: set[OncePurpose] = set()
        start = start_state(parameters_to_vector(agreed_module(terms)), terms.training)
        self._opening = HolderOpening(session, identity, self._key, start=start, workplace=self._workplace)
        self._resumed, self._trained_round = bool(before), max(before, default=0)
        self._contributions_opened = False
        #: Blobs that travel in parts.
        self.parts = PartStore(session, self._workplace)

    @property
    def run_id(self) -> str:
        """The run."""
        return self._session.run_id

    @property
    def has_trained(self) -> bool:
        """Whether a round was trained, or begun to be: what that cost is spent."""
        return self._trained_round > 0

    def join(self) -> Parcel:
        """Say who takes part, signed."""
        signature = self._sign("join", {"holder": self._identity.id})
        return Parcel(body=JoinReply(holder=self._identity.id, signature=signature))

    def make_key(self) -> Parcel:
        """Make the run's homomorphic key and seal it to each other holder: :meth:`HolderKey.make`."""
        return self._key.make()

    def take_key(self, task: TakeKeyTask) -> Parcel:
        """Take the key that another holder made: :meth:`HolderKey.take`."""
        return self._key.take(task.offer)

    def train(self, task: RoundTask, blobs: Blobs) -> Parcel:
        """Open the sum of the round before, train on the own records, and return the encrypted update.

        Raises:
            BudgetExhausted: the round would cost more than the budget, or the run more than is left of the lifetime
                budget; nothing is released and nothing charged.
            PrivacyError: updates without noise from records with a lifetime budget, or its ledger refuses.
            TrainingError: the plan is outside the agreement.
            EncryptionError: no key yet, a sum that must not be opened, or an update that cannot be encrypted.
        """
        self._key.require()
        if self._is_over:
            raise TrainingError(f"run {self.run_id} is over", remedy="Sign a new agreement for another run.")
        if not self._trained_round < task.round <= self._terms.training.rounds:
            raise TrainingError(
                f"round {task.round} after round {self._trained_round}",
                expected=f"a later one, at most {self._terms.training.rounds}",
                remedy="No round is trained twice.",
            )
        opening = task.opening
        opened, sum_blob = (
            self._opening.open(opening, blobs, catch_up=task.catch_up) if opening else (None, dict[str, Blob]())
        )
        if self._opening.round != task.round - 1:
            raise TrainingError(
                f"round {task.round} and the model is of round {self._opening.round}", remedy="Send the sum."
            )
        self._key.mark_trained()
        self._charges.charge_round(task.round)  # before anything is released: a crash in between charges
        self._trained_round = task.round
        frame = self._encrypted_update(task.round)
        receipt = self._receipt(task.round, frame)
        reply = RoundReply(receipt=receipt, signature=self._sign("receipt", receipt), opened=opened)
        return Parcel(body=reply, blobs={"frame": frame, **sum_blob})

    def confirm(self, task: ConfirmTask) -> Parcel:
        """Sign for the one thing that is to be opened in its place: :meth:`HolderOpening.confirm`."""
        return self._opening.confirm(task.subject)

    def open_sum(self, task: OpenTask, blobs: Blobs) -> Parcel:
        """Open a sum outside a round.

        Raises:
            EncryptionError: it must not be opened.
        """
        opened, sum_blob = self._opening.open(task.opening, blobs, catch_up=task.catch_up)
        return Parcel(body=opened, blobs=sum_blob)

    def open_contributions(self, task: ContributionsTask, blobs: Blobs) -> Parcel:
        """Decrypt the masked contributions: to this holder they are uniform numbers.

        Raises:
            EncryptionError: they were opened before, too few holders have confirmed them, or they are malformed.
        """
        if self._terms.valuation.method == "none":
            raise EncryptionError("the agreement has no contributions measured", remedy="Nothing of them is opened.")
        if self._contributions_opened:
            raise EncryptionError("the contributions of this run were opened before", remedy="They are opened once.")
        if {sample.holder for sample in task.samples} - set(self._terms.holder_ids):
            raise EncryptionError("a contribution of somebody who is no holder of this agreement")
        key, values = self._key.require(), []
        slot = slot_of("contributions", rounds=self._terms.training.rounds)
        names = [(sample.holder, sample.blob) for sample in task.samples]
        require_quorum(self._session, samples_to_open(slot, names, blobs), task.confirmations)
        for number, sample in enumerate(task.samples):
            masked = parse_sample_frame(
                blobs.get(sample.blob, b""),
                expected=self._session.frame("sample", number, key.key_id),
                sender=self._terms.coordinator,
                parameters=self._parameters,
            )
            values.append(str(open_sample(key, masked)))
        self._contributions_opened = True
        facts = {"samples": [sample.blob for sample in task.samples], "values": values}
        return Parcel(body=ContributionsReply(values=tuple(values), signature=self._sign("contributions", facts)))

    def close(self) -> None:
        """Wipe the run's key in memory, as far as Python can; whatever needs it is refused from now on."""
        self._key.close()

    def release(self, task: ReleaseTask) -> Parcel:
        """Release statistics before round 1, or a histogram for metrics after a sum was opened, encrypted, once.

        Raises:
            BudgetExhausted: the run would cost more than is left of the lifetime budget; nothing is released.
            PrivacyError: it was not agreed, or was charged before this process began.
            TrainingError: it was released before, or at another time than agreed, or this process did not train and
                so does not know which records were kept out of training.
            EncryptionError: no key yet.
        """
        self._key.require()
        if self._resumed and task.purpose == "metrics":
            raise TrainingError(
                "this holder began anew during the run and does not know which records it had kept out of training",
                remedy="The others' metrics are opened without it.",
            )
        in_time = not self._trained_round if task.purpose == "statistics" else self._opening.round > 0
        if task.purpose in self._released or self._is_over or not in_time:
            raise TrainingError(
                f"the {task.purpose} are not released now", remedy="Each is released once, in its time."
            )
        self._charges.charge_once(task.purpose)
        self._released.add(task.purpose)
        sums = self._records.noisy_sums(task.purpose, self._opening.state.model)
        steps = self._workplace.scratch.array("<i8", self._parameters.num_parameters)
        steps[: len(sums)] = sums  # what the grid cuts off is paid for out of delta
        source = Steps(values=steps, parameters=self._parameters)
        frame = self._encrypted(source, self._slot(task.purpose))
        facts = {"purpose": task.purpose, "frame_sha256": sha256_of(frame)}
        return Parcel(body=ReleaseReply(signature=self._sign("release", facts)), blobs={"frame": frame})

    def open_release(self, task: OpenReleaseTask, blobs: Blobs) -> Parcel:
        """Open the sum of a release, and standardise the own records by it if it is the statistics.

        Raises:
            EncryptionError: it was opened before, or must not be opened.
            PrivacyError: it was not agreed.
        """
        if task.purpose in self._opened:
            raise EncryptionError(f"the {task.purpose} of this run were opened before", remedy="They are opened once.")
        plan, frame = plan_of(self._terms, task.purpose), blobs.get("sum", b"")
        subject = ToOpen(slot=self._slot(task.purpose), contributors=task.contributors, sha256=sha256_of(frame))
        levels = self._opening.decrypted(subject, frame, task.confirmations)
        self._opened.add(task.purpose)
        steps = levels[: plan.length].astype(np.int64) - len(task.contributors) * self._parameters.offset
        values = tuple(str(int(step)) for step in steps)
        if task.purpose == "statistics":
            self._records.standardise(standardisation_from(self._terms, steps.tolist(), task.contributors))
        signature = self._sign("opened release", task.facts(values))
        return Parcel(body=OpenReleaseReply(values=values, signature=signature))

    def finish(self) -> Parcel:
        """Take note that the run is over: what it has not released of its reservation is free again, its key is wiped.

        Whoever says so falsely gets nothing further out of this holder.
        """
        self._is_over = True
        self._charges.give_back()
        self._key.erase()
        signature = self._sign("finish", {"holder": self._identity.id})
        return Parcel(body=JoinReply(holder=self._identity.id, signature=signature))

    def _slot(self, purpose: OncePurpose) -> int:
        return slot_of(purpose, rounds=self._terms.training.rounds)

    def _sign(self, purpose: str, facts: object) -> str:
        return self._session.sign(self._identity, purpose, facts)

    def _encrypted_update(self, round_number: int) -> Bytes:
        source = self._trainer.source(self._opening.state.model, round_number)
        if self._observer is not None:
            source = Levels(values=levels_of(source), parameters=self._parameters)
            values = dequantise_sum(source.values, 1, self._parameters)
            self._observer(self._identity.id, round_number, values[: self._terms.num_parameters])
        return self._encrypted(source, round_number)

    @property
    def _trainer(self) -> LocalTrainer:
        return LocalTrainer(
            terms=self._terms, holder_id=self._identity.id, examples=self._records.training, noise=self._noise
        )

    def _encrypted(self, source: Source, slot: int) -> Bytes:
        room = self._workplace.scratch.array("u1", frame_bytes(self._parameters, kind="update"))
        header = self._session.frame("update", slot, self._key.require().key_id)
        frame = FrameWriter(header, sender=self._identity, parameters=self._parameters, room=room)
        # encrypted right where it travels
        ciphertext = self._key.encryptor.encrypt(
            source,
            round_number=slot,
            place=self._terms.holder_ids.index(self._identity.id),
            into=frame.body,
            progress=self._workplace.progress(f"'{self._identity.id}' encrypts"),
        )
        return frame.finish(ciphertext)

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
