"""One holder's state in one run, and what it does and refuses in each exchange."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.agreement.slots import slot_of
from fedjoint.data.records import Examples
from fedjoint.encryption.ceremony import acknowledge, make_offers, take_key
from fedjoint.encryption.decryption import decrypt_sum, open_sample
from fedjoint.encryption.fixed_point import dequantise_sum
from fedjoint.encryption.frames import FrameWriter, parse_frame, parse_sample_frame
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.scheme import Encryptor, make_encryptor
from fedjoint.encryption.tags import Contributors
from fedjoint.encryption.tenseal_scheme import create_key
from fedjoint.encryption.words import Words
from fedjoint.errors import EncryptionError, TrainingError
from fedjoint.identity.keys import Identity
from fedjoint.models.vector import parameters_to_vector
from fedjoint.privacy.ledger_file import Lifetime
from fedjoint.privacy.receipts import RoundReceipt
from fedjoint.training.aggregate import ServerState, apply_sum, model_bytes, state_from_bytes, sum_bytes
from fedjoint.training.charges import RunCharges
from fedjoint.training.holder_release import HolderRecords, plan_of, standardisation_from
from fedjoint.training.local_update import LocalTrainer, agreed_module, noise_source
from fedjoint.training.optimizer import start_state
from fedjoint.training.plan import (
    Blobs,
    ContributionsReply,
    ContributionsTask,
    JoinReply,
    KeyReply,
    OncePurpose,
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
    ) -> None:
        self._identity, self._session, self._observer = identity, session, observer
        self._charges, self._is_over = RunCharges(session, lifetime), False
        self._terms, self._parameters = session.terms, session.parameters
        terms = session.terms
        noise = noise_source(terms.privacy, identity.id)
        self._records, self._noise = HolderRecords(terms, identity.id, examples, noise=noise), noise
        self._released: set[tuple[OncePurpose, int]] = set()
        self._opened: set[tuple[OncePurpose, int]] = set()
        self._key: SecretKey | None = None
        self._encryptor: Encryptor | None = None
        self._state = start_state(parameters_to_vector(agreed_module(terms)), terms.training)
        self._before = self._state.model  # before the last round in self._state
        self._model_round = 0  # rounds whose sum is in self._state
        self._trained_round = 0
        self._last_opening: tuple[str, OpenReply, bytes] | None = None  # frame's hash, what was said, the sum
        self._contributions_opened = False

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
        """Make the run's homomorphic key and seal it to each other holder.

        Raises:
            EncryptionError: this holder has a key of this run already.
        """
        key = create_key(self._parameters, self._session.binding)
        self._take(key)
        others = [holder.identity for holder in self._terms.holders if holder.identity.id != self._identity.id]
        offers = make_offers(key, maker=self._identity, recipients=others)
        return Parcel(body=KeyReply(offers=offers, acknowledgement=acknowledge(key, holder=self._identity)))

    def take_key(self, task: TakeKeyTask) -> Parcel:
        """Take the key that another holder made, after checking that it was that holder.

        Raises:
            EncryptionError: this holder has a key already, or the offer is for another run.
            IdentityError: the offer is not its maker's, or not sealed to this holder.
        """
        maker = self._terms.holder(task.offer.maker).identity
        binding = self._session.binding
        key = take_key(task.offer, recipient=self._identity, maker=maker, binding=binding, parameters=self._parameters)
        self._take(key)
        return Parcel(body=acknowledge(key, holder=self._identity))

    def train(self, task: RoundTask, blobs: Blobs) -> Parcel:
        """Open the sum of the round before, train on the own records, and return the encrypted update.

        Raises:
            BudgetExhausted: the round would cost more than the budget, or the run more than is left of the lifetime
                budget; nothing is released and nothing charged.
            PrivacyError: updates without noise from records with a lifetime budget, or its ledger refuses.
            TrainingError: the plan is outside the agreement.
            EncryptionError: no key yet, a sum that must not be opened, or an update that cannot be encrypted.
        """
        self._require_key()
        if self._is_over:
            raise TrainingError(f"run {self.run_id} is over", remedy="Sign a new agreement for another run.")
        if not self._trained_round < task.round <= self._terms.training.rounds:
            raise TrainingError(
                f"round {task.round} after round {self._trained_round}",
                expected=f"a later one, at most {self._terms.training.rounds}",
                remedy="No round is trained twice.",
            )
        opened, sum_blob = self._open(task.opening, blobs, catch_up=task.catch_up) if task.opening else (None, {})
        if self._model_round != task.round - 1:
            raise TrainingError(
                f"round {task.round} and the model is of round {self._model_round}", remedy="Send the sum."
            )
        self._charges.charge_round(task.round)  # before anything is released: a crash in between charges
        self._trained_round = task.round
        frame = self._encrypted_update(task.round)
        receipt = self._receipt(task.round, frame)
        reply = RoundReply(receipt=receipt, signature=self._sign("receipt", receipt), opened=opened)
        return Parcel(body=reply, blobs={"frame": frame, **sum_blob})

    def open_sum(self, task: OpenTask, blobs: Blobs) -> Parcel:
        """Open a sum outside a round.

        Raises:
            EncryptionError: it must not be opened.
        """
        opened, sum_blob = self._open(task.opening, blobs, catch_up=task.catch_up)
        return Parcel(body=opened, blobs=sum_blob)

    def open_contributions(self, task: ContributionsTask, blobs: Blobs) -> Parcel:
        """Decrypt the masked contributions: to this holder they are uniform numbers.

        Raises:
            EncryptionError: they were opened before, or are malformed.
        """
        if self._terms.valuation.method == "none":
            raise EncryptionError("the agreement has no contributions measured", remedy="Nothing of them is opened.")
        if self._contributions_opened:
            raise EncryptionError("the contributions of this run were opened before", remedy="They are opened once.")
        if {sample.holder for sample in task.samples} - set(self._terms.holder_ids):
            raise EncryptionError("a contribution of somebody who is no holder of this agreement")
        key, values = self._require_key(), []
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
        """Wipe the run's key, as far as Python can; whatever needs it is refused from now on."""
        if self._key is not None:
            self._key.close()

    def release(self, task: ReleaseTask) -> Parcel:
        """Release statistics before round 1, a validation gradient after a sum was opened, or a histogram then, once.

        Raises:
            BudgetExhausted: the run would cost more than is left of the lifetime budget; nothing is released.
            PrivacyError: it was not agreed, or was charged before this process began.
            TrainingError: it was released before, or at another time than agreed.
            EncryptionError: no key yet.
        """
        self._require_key()
        what = (task.purpose, task.round)
        if what in self._released or self._is_over or not self._is_due(task):
            raise TrainingError(
                f"the {task.purpose} are not released now", remedy="Each is released once, in its time."
            )
        self._charges.charge_once(task.purpose)
        self._released.add(what)
        steps = self._records.noisy_sums(task.purpose, self._state.model, before=self._before)
        offset = self._parameters.offset
        levels = np.full(self._parameters.num_parameters, offset, dtype=np.int64)
        levels[: len(steps)] += np.clip(steps, -offset, offset)  # what is cut off is paid for out of delta
        frame = self._encrypted(levels.astype(np.uint64), slot_of(self._terms, task.purpose, task.round))
        facts = {"purpose": task.purpose, "frame_sha256": sha256_hex(frame)}
        return Parcel(body=ReleaseReply(signature=self._sign("release", facts)), blobs={"frame": frame})

    def open_release(self, task: OpenReleaseTask, blobs: Blobs) -> Parcel:
        """Open the sum of a release, and standardise the own records by it if it is the statistics.

        Raises:
            EncryptionError: it was opened before, or must not be opened.
            PrivacyError: it was not agreed.
        """
        if (task.purpose, task.round) in self._opened:
            raise EncryptionError(f"the {task.purpose} of this run were opened before", remedy="They are opened once.")
        plan, slot = plan_of(self._terms, task.purpose), slot_of(self._terms, task.purpose, task.round)
        levels = self._decrypted_sum(slot, task.contributors, blobs.get("sum", b""))
        self._opened.add((task.purpose, task.round))
        steps = levels[: plan.length].astype(np.int64) - len(task.contributors) * self._parameters.offset
        values = tuple(str(int(step)) for step in steps)
        if task.purpose == "statistics":
            self._records.standardise(standardisation_from(self._terms, steps.tolist(), task.contributors))
        signature = self._sign("opened release", task.facts(values))
        return Parcel(body=OpenReleaseReply(values=values, signature=signature))

    def _is_due(self, task: ReleaseTask) -> bool:
        if task.purpose == "validation":
            return 0 < task.round == self._model_round
        return not task.round and (self._model_round > 0 if task.purpose == "metrics" else not self._trained_round)

    def finish(self) -> Parcel:
        """Take note that the run is over: what it has not released of its reservation is free again.

        Whoever says so falsely gets no further round out of this holder.
        """
        self._is_over = True
        self._charges.give_back()
        signature = self._sign("finish", {"holder": self._identity.id})
        return Parcel(body=JoinReply(holder=self._identity.id, signature=signature))

    def _take(self, key: SecretKey) -> None:
        if self._key is not None:
            raise EncryptionError("this holder has a key of this run already", remedy="A new key needs a new run.")
        self._key, self._encryptor = key, make_encryptor(key)

    def _require_key(self) -> SecretKey:
        if self._key is None:
            raise EncryptionError("this holder has no key of this run yet", remedy="The key ceremony comes first.")
        return self._key

    def _sign(self, purpose: str, facts: object) -> str:
        return self._session.sign(self._identity, purpose, facts)

    def _encrypted_update(self, round_number: int) -> bytes:
        levels = self._trainer.levels(self._state.model, round_number)
        if self._observer is not None:
            values = dequantise_sum(levels, 1, self._parameters)
            self._observer(self._identity.id, round_number, values[: self._terms.num_parameters])
        return self._encrypted(levels, slot_of(self._terms, "training", round_number))

    @property
    def _trainer(self) -> LocalTrainer:
        return LocalTrainer(
            terms=self._terms, holder_id=self._identity.id, examples=self._records.training, noise=self._noise
        )

    def _encrypted(self, levels: Words, slot: int) -> bytes:
        key = self._require_key()
        assert self._encryptor is not None  # it comes with the key
        place = self._terms.holder_ids.index(self._identity.id)
        frame = FrameWriter(
            self._session.frame("update", slot, key.key_id), sender=self._identity, parameters=self._parameters
        )
        # encrypted right where it travels
        ciphertext = self._encryptor.encrypt(levels, round_number=slot, place=place, into=frame.body)
        return frame.finish(ciphertext).tobytes()

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
        frame = blobs.get("sum", b"")
        if self._last_opening is None or self._last_opening[0] != sha256_hex(frame):
            if opening.round <= self._model_round:
                raise EncryptionError(
                    f"another sum of round {opening.round} was opened before", remedy="One sum a round is opened."
                )
            missed = catch_up and self._model_round < opening.round - 1
            before = state_from_bytes(blobs.get("model", b""), self._terms) if missed else self._state
            if not missed and self._model_round != opening.round - 1:
                raise TrainingError(f"the sum of round {opening.round} for the model of round {self._model_round}")
            self._last_opening = (sha256_hex(frame), *self._decrypt(opening, frame, before))
        _, reply, plain_sum = self._last_opening
        return reply, {"sum": plain_sum} if opening.reveal else {}

    def _decrypted_sum(self, slot: int, contributors: tuple[str, ...], frame: bytes) -> Words:
        """The levels of a sum of enough holders of the agreement, checked to be theirs."""
        strangers = set(contributors) - set(self._terms.holder_ids)
        if strangers or len(contributors) < self._terms.training.minimum_holders:
            raise EncryptionError(
                f"a sum of {len(contributors)} holders, {len(strangers)} of them strangers",
                expected=f"at least {self._terms.training.minimum_holders} holders of the agreement",
                remedy="A sum of fewer could show one holder's update, and is not opened.",
            )
        key = self._require_key()
        ciphertext = parse_frame(
            frame,
            expected=self._session.frame("sum", slot, key.key_id),
            sender=self._terms.coordinator,
            parameters=self._parameters,
        )
        if ciphertext.count != len(contributors):
            raise EncryptionError(f"a sum of {ciphertext.count} updates said to be of {len(contributors)} holders")
        places = tuple(self._terms.holder_ids.index(holder) for holder in contributors)
        return decrypt_sum(
            key,
            ciphertext,
            of=Contributors(round_number=slot, places=places),
            minimum_holders=self._terms.training.minimum_holders,
        )

    def _decrypt(self, opening: Opening, frame: bytes, before: ServerState) -> tuple[OpenReply, bytes]:
        slot = slot_of(self._terms, "training", opening.round)
        levels = self._decrypted_sum(slot, opening.contributors, frame)
        self._before = before.model
        self._state = apply_sum(before, levels, opening.contributors, self._terms)
        self._model_round, plain_sum = opening.round, sum_bytes(levels)
        facts: dict[str, Any] = {
            "round": opening.round,
            "sum_sha256": sha256_hex(plain_sum),
            "model_sha256": sha256_hex(model_bytes(self._state.model)),
        }
        return OpenReply(**facts, signature=self._sign("opened", facts)), plain_sum
