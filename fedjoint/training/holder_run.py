"""One holder's state in one run, and what it does and refuses in each exchange."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.canonical import canonical_bytes, sha256_hex
from fedjoint.data.records import Examples
from fedjoint.encryption.decryption import open_sample
from fedjoint.encryption.fixed_point import dequantise_sum
from fedjoint.encryption.frames import parse_sample_frame
from fedjoint.errors import EncryptionError, PrivacyError, TrainingError
from fedjoint.identity.keys import Identity
from fedjoint.models.vector import parameters_to_vector
from fedjoint.privacy.ledger_file import Lifetime
from fedjoint.privacy.receipts import RoundReceipt
from fedjoint.training.aggregate import ServerState, apply_sum, model_bytes, state_bytes, state_from_bytes, sum_bytes
from fedjoint.training.charges import RunCharges
from fedjoint.training.holder_key import HolderKey
from fedjoint.training.holder_release import HolderRecords, plan_of, slot_of, standardisation_from
from fedjoint.training.holder_state import OpenedOnce, OpenedSum, RunMemory, RunStore, SentUpdate
from fedjoint.training.local_update import LocalTrainer, agreed_module, noise_source
from fedjoint.training.optimizer import start_state
from fedjoint.training.plan import (
    Blobs,
    ContributionsReply,
    ContributionsTask,
    JoinReply,
    Opening,
    OpenReleaseReply,
    OpenReleaseTask,
    OpenReply,
    OpenTask,
    Parcel,
    ReleaseReply,
    ReleaseTask,
    RoundReply,
    RoundTask,
    TakeKeyTask,
)
from fedjoint.training.session import Session

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
    ) -> None:
        self._identity, self._session, self._observer = identity, session, observer
        self._terms, self._parameters = session.terms, session.parameters
        self._memory = RunMemory(store.checkpoints if store else None)
        known, terms = self._memory.facts, session.terms
        self._charges = RunCharges(session, lifetime, rounds=known.rounds_charged)
        self._noise = noise_source(terms.privacy, identity.id, after_round=known.trained_round)
        self._records = HolderRecords(terms, examples, self._noise, held_out=self._memory.blob("held_out"))
        self._key = HolderKey(identity, session, store.key if store else None)
        before = self._memory.blob("model")
        self._state = (
            state_from_bytes(before, terms)
            if before is not None
            else start_state(parameters_to_vector(agreed_module(terms)), terms.training)
        )
        if statistics := known.opened.get("statistics"):
            self._standardise(statistics.values, statistics.contributors)
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
        if known.is_over:
            raise TrainingError(f"run {self.run_id} is over", remedy="Sign a new agreement for another run.")
        self._key.require()
        again = task.round == known.trained_round and (self._has_sent(task.round) or self._may_make(task.round))
        if not again and not known.trained_round < task.round <= self._terms.training.rounds:
            raise TrainingError(
                f"round {task.round} after round {known.trained_round}",
                expected=f"a later one, at most {self._terms.training.rounds}",
                remedy="No round is trained twice.",
            )
        opened, sum_blob = self._open(task.opening, blobs, catch_up=task.catch_up) if task.opening else (None, {})
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

    def _may_make(self, slot: int, name: str = "") -> bool:
        """Whether what a killed process began may be made yet: as it was not even encrypted, nothing of it left."""
        barred = self._memory.facts.barred
        return self._memory.lasts and self._key.require().last_round < slot and (name or f"round {slot}") not in barred

    def _trained(self, number: int) -> tuple[SentUpdate, bytes]:
        """Charge a round, train in it, and keep the update before it leaves."""
        known = self._memory.facts
        again = number == known.trained_round
        if not again:
            self._charges.admit_round()
            self._memory.remember(trained_round=number, rounds_charged=known.rounds_charged + 1, update=None)
        # before anything is released: a crash in between charges
        if not self._charges.charge_round(number, again=again) and not again:
            raise self._barred(f"round {number}")
        frame = self._encrypted_update(number)
        receipt = self._receipt(number, frame)
        update = SentUpdate(receipt=receipt, signature=self._sign("receipt", receipt))
        if self._memory.lasts:
            self._memory.remember({"frame": frame}, update=update)
        return update, frame

    def _barred(self, name: str) -> PrivacyError:
        """What the ledger has, and this memory did not know of: it may have left, and is never made."""
        self._memory.remember(barred=(*self._memory.facts.barred, name))
        return PrivacyError(
            f"{name} of run {self.run_id} was charged before this process began",
            expected="a release that was never computed",
            remedy="Computed again it would be another release: go on with the next.",
        )

    def _sent(self, number: int) -> tuple[SentUpdate, bytes]:
        """The update of a round as it was made: never another one under the same key and round."""
        update, frame = self._memory.facts.update, self._memory.blob("frame")
        if update is None or frame is None:
            raise TrainingError(f"the update of round {number} is not kept", remedy="Go on with the next round.")
        return update, frame

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
            EncryptionError: they were opened before, or are malformed.
        """
        if self._terms.valuation.method == "none":
            raise EncryptionError("the agreement has no contributions measured", remedy="Nothing of them is opened.")
        if {sample.holder for sample in task.samples} - set(self._terms.holder_ids):
            raise EncryptionError("a contribution of somebody who is no holder of this agreement")
        names = [sample.blob for sample in task.samples]
        frames = {name: blobs.get(name, b"") for name in names}
        asked = sha256_hex(canonical_bytes([[name, sha256_hex(frames[name])] for name in names]))
        opened = self._opened_once("contributions", asked)
        if opened is None:
            key, values = self._key.require(), []
            for number, name in enumerate(names):
                masked = parse_sample_frame(
                    frames[name],
                    expected=self._session.frame("sample", number, key.key_id),
                    sender=self._terms.coordinator,
                    parameters=self._parameters,
                )
                values.append(str(open_sample(key, masked)))
            signature = self._sign("contributions", {"samples": names, "values": values})
            opened = OpenedOnce(asked_sha256=asked, values=tuple(values), signature=signature)
            self._remember_opened("contributions", opened)
        return Parcel(body=ContributionsReply(values=opened.values, signature=opened.signature))

    def _opened_once(self, what: str, asked_sha256: str) -> OpenedOnce | None:
        """What was said when this was opened before.

        Raises:
            EncryptionError: something else was opened in its place.
        """
        before = self._memory.facts.opened.get(what)
        if before is not None and (before.asked_sha256 != asked_sha256 or not self._memory.lasts):
            raise EncryptionError(f"the {what} of this run were opened before", remedy="They are opened once.")
        return before

    def _remember_opened(self, what: str, opened: OpenedOnce) -> None:
        self._memory.remember(opened={**self._memory.facts.opened, what: opened})

    def close(self) -> None:
        """Wipe the run's key from memory, as far as Python can; whatever needs it is refused from now on."""
        self._key.close()
        self._memory.close()

    def release(self, task: ReleaseTask) -> Parcel:
        """Release statistics before round 1, or a histogram for metrics after a sum was opened, encrypted, once.

        Raises:
            BudgetExhausted: the run would cost more than is left of the lifetime budget; nothing is released.
            PrivacyError: it was not agreed, or was charged before this process began.
            TrainingError: it was begun before and is not kept, or at another time than agreed.
            EncryptionError: no key yet.
        """
        self._key.require()
        known, purpose = self._memory.facts, task.purpose
        if known.is_over:
            raise TrainingError(f"run {self.run_id} is over", remedy="Sign a new agreement for another run.")
        sent = self._memory.blob(f"release.{purpose}") if purpose in known.released else None
        if sent is not None:
            return Parcel(body=ReleaseReply(signature=known.released[purpose]), blobs={"frame": sent})
        in_time = not known.trained_round if purpose == "statistics" else known.model_round > 0
        slot, again = slot_of(self._terms, purpose), purpose in known.begun
        if not in_time or (again and not self._may_make(slot, purpose)):
            raise TrainingError(f"the {purpose} are not released now", remedy="Each is released once, in its time.")
        self._charges.admit_once(purpose)
        if not again:
            self._memory.remember(begun=(*known.begun, purpose))
        if not self._charges.charge_once(purpose) and not again:
            raise self._barred(purpose)
        steps = self._records.noisy_sums(purpose, self._state.model)
        offset = self._parameters.offset
        levels = np.full(self._parameters.num_parameters, offset, dtype=np.int64)
        levels[: len(steps)] += np.clip(steps, -offset, offset)  # what is cut off is paid for out of delta
        frame = self._key.encrypted(levels.astype(np.uint64), slot)
        signature = self._sign("release", {"purpose": purpose, "frame_sha256": sha256_hex(frame)})
        if self._memory.lasts:
            self._memory.remember(
                {f"release.{purpose}": frame}, released={**self._memory.facts.released, purpose: signature}
            )
        return Parcel(body=ReleaseReply(signature=signature), blobs={"frame": frame})

    def open_release(self, task: OpenReleaseTask, blobs: Blobs) -> Parcel:
        """Open the sum of a release, and standardise the own records by it if it is the statistics.

        Raises:
            EncryptionError: another was opened before, or it must not be opened.
            PrivacyError: it was not agreed.
        """
        frame = blobs.get("sum", b"")
        asked = sha256_hex(canonical_bytes([list(task.contributors), sha256_hex(frame)]))
        opened = self._opened_once(task.purpose, asked)
        if opened is None:
            plan, slot = plan_of(self._terms, task.purpose), slot_of(self._terms, task.purpose)
            levels = self._key.decrypted_sum(slot, task.contributors, frame)
            steps = levels[: plan.length].astype(np.int64) - len(task.contributors) * self._parameters.offset
            values = tuple(str(int(step)) for step in steps)
            if task.purpose == "statistics":
                self._standardise(values, task.contributors)
            opened = OpenedOnce(
                asked_sha256=asked,
                values=values,
                signature=self._sign("opened release", task.facts(values)),
                contributors=task.contributors,
            )
            self._remember_opened(task.purpose, opened)
        return Parcel(body=OpenReleaseReply(values=opened.values, signature=opened.signature))

    def _standardise(self, values: tuple[str, ...], contributors: tuple[str, ...]) -> None:
        self._records.standardise(standardisation_from(self._terms, [int(value) for value in values], contributors))

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

    def _encrypted_update(self, round_number: int) -> bytes:
        levels = self._trainer.levels(self._state.model, round_number)
        if self._observer is not None:
            values = dequantise_sum(levels, 1, self._parameters)
            self._observer(self._identity.id, round_number, values[: self._terms.num_parameters])
        return self._key.encrypted(levels, round_number)

    @property
    def _trainer(self) -> LocalTrainer:
        return LocalTrainer(
            terms=self._terms, holder_id=self._identity.id, examples=self._records.training, noise=self._noise
        )

    def _receipt(self, round_number: int, frame: bytes) -> RoundReceipt:
        return RoundReceipt(
            run_id=self._session.run_id,
            holder=self._identity.id,
            round=round_number,
            frame_sha256=sha256_hex(frame),
            releases=self._charges.releases,
            epsilon=self._charges.epsilon,
            epsilon_if_opened=self._charges.epsilon_if_opened,
        )

    def _open(self, opening: Opening, blobs: Blobs, *, catch_up: bool) -> tuple[OpenReply, Blobs]:
        """Decrypt the sum of a round, move the model on, and say what came out; asked again, say the same."""
        frame, known = blobs.get("sum", b""), self._memory.facts
        if known.opened_sum is None or known.opened_sum.frame_sha256 != sha256_hex(frame):
            if opening.round <= known.model_round:
                raise EncryptionError(
                    f"another sum of round {opening.round} was opened before", remedy="One sum a round is opened."
                )
            missed = catch_up and known.model_round < opening.round - 1
            before = state_from_bytes(blobs.get("model", b""), self._terms) if missed else self._state
            if not missed and known.model_round != opening.round - 1:
                raise TrainingError(f"the sum of round {opening.round} for the model of round {known.model_round}")
            self._decrypt(opening, frame, before)
        opened = self._memory.facts.opened_sum
        assert opened is not None  # now or before
        return opened.reply, {"sum": self._memory.blob("sum") or b""} if opening.reveal else {}

    def _decrypt(self, opening: Opening, frame: bytes, before: ServerState) -> None:
        levels = self._key.decrypted_sum(opening.round, opening.contributors, frame)
        self._state = apply_sum(before, levels, opening.contributors, self._terms)
        plain_sum = sum_bytes(levels)
        facts: dict[str, Any] = {
            "round": opening.round,
            "sum_sha256": sha256_hex(plain_sum),
            "model_sha256": sha256_hex(model_bytes(self._state.model)),
        }
        reply = OpenReply(**facts, signature=self._sign("opened", facts))
        model = {"model": state_bytes(self._state)} if self._memory.lasts else {}
        self._memory.stage(
            {"sum": plain_sum, **model},
            model_round=opening.round,
            opened_sum=OpenedSum(frame_sha256=sha256_hex(frame), reply=reply),
        )
