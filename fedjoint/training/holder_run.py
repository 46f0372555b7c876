"""One holder's state in one run, and what it does and refuses in each exchange."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.agreement.terms import Terms
from fedjoint.data.records import Examples
from fedjoint.encryption.ceremony import acknowledge, make_offers, take_key
from fedjoint.encryption.decryption import decrypt_sum, open_sample
from fedjoint.encryption.fixed_point import dequantise_sum
from fedjoint.encryption.frames import FrameWriter, parse_frame, parse_sample_frame
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.scheme import Encryptor, make_encryptor
from fedjoint.encryption.tags import Contributors
from fedjoint.encryption.tenseal_scheme import create_key
from fedjoint.errors import EncryptionError, PrivacyError, TrainingError
from fedjoint.identity.keys import Identity
from fedjoint.models.vector import parameters_to_vector
from fedjoint.privacy.budget import RunBudget
from fedjoint.privacy.events import GaussianEvent, num_steps
from fedjoint.privacy.ledger_file import Lifetime
from fedjoint.privacy.receipts import RoundReceipt
from fedjoint.privacy.releases import epsilon_if_opened, once_released, round_release
from fedjoint.training.aggregate import ServerState, apply_sum, model_bytes, state_from_bytes, sum_bytes
from fedjoint.training.local_update import LocalTrainer, agreed_module, noise_source
from fedjoint.training.optimizer import start_state
from fedjoint.training.plan import (
    Blobs,
    ContributionsReply,
    ContributionsTask,
    JoinReply,
    KeyReply,
    Opening,
    OpenReply,
    OpenTask,
    Parcel,
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
        self._lifetime, self._reservation = lifetime, ""
        self._terms, self._parameters = session.terms, session.parameters
        terms = session.terms
        noise = noise_source(terms.privacy, identity.id)
        self._trainer = LocalTrainer(terms=terms, holder_id=identity.id, examples=examples, noise=noise)
        self._budget = _budget(session.terms)
        self._key: SecretKey | None = None
        self._encryptor: Encryptor | None = None
        self._state = start_state(parameters_to_vector(agreed_module(terms)), terms.training)
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
        event = round_release(self._terms)
        if self._budget is not None and event is not None:
            self._budget.check(event)
        self._charge_lifetime(task.round, event)
        if self._budget is not None and event is not None:
            self._budget.spend(event)  # before anything is released: a crash in between charges
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
        if self._lifetime is not None and self._reservation:
            self._lifetime.give_back(self._reservation)  # the run is over; a later round is refused by the ledger
        facts = {"samples": [sample.blob for sample in task.samples], "values": values}
        return Parcel(body=ContributionsReply(values=tuple(values), signature=self._sign("contributions", facts)))

    def close(self) -> None:
        """Wipe the run's key, as far as Python can; whatever needs it is refused from now on."""
        if self._key is not None:
            self._key.close()

    def _charge_lifetime(self, round_number: int, event: GaussianEvent | None) -> None:
        """Reserve the whole run before its first round, and charge each round before it is released."""
        if self._lifetime is None:
            return
        if event is None:
            raise PrivacyError(
                "updates would leave without noise, at no finite cost to the lifetime budget",
                remedy="Agree on a privacy mode.",
            )
        if once_released(self._terms):
            raise PrivacyError(
                f"mode {self._terms.privacy.mode} releases more than its rounds, which no lifetime budget charges yet",
                remedy="Agree on privacy=local for records that have a lifetime budget.",
            )
        if not self._reservation:
            worst = dataclasses.replace(event, count=event.count * self._terms.training.rounds)
            self._reservation = self._lifetime.reserve(
                self.run_id,
                agreement_sha256=self._session.agreement.sha256,
                events=(worst,),
                unit=self._terms.privacy.unit,
            )
        if not self._lifetime.commit(self._reservation, round_number=round_number, event=event):
            raise PrivacyError(
                f"round {round_number} of run {self.run_id} was charged before this process began",
                expected="a round that was never computed",
                remedy="Computed again it would be another release: go on with the next round.",
            )

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
        place = self._terms.holder_ids.index(self._identity.id)
        if self._observer is not None:
            values = dequantise_sum(levels, 1, self._parameters)
            self._observer(self._identity.id, round_number, values[: self._terms.num_parameters])
        key = self._require_key()
        assert self._encryptor is not None  # it comes with the key
        header = self._session.frame("update", round_number, key.key_id)
        frame = FrameWriter(header, sender=self._identity, parameters=self._parameters)
        # encrypted right where it travels
        ciphertext = self._encryptor.encrypt(levels, round_number=round_number, place=place, into=frame.body)
        return frame.finish(ciphertext).tobytes()

    def _receipt(self, round_number: int, frame: bytes) -> RoundReceipt:
        events = self._budget.events if self._budget else ()
        return RoundReceipt(
            run_id=self._session.run_id,
            holder=self._identity.id,
            round=round_number,
            frame_sha256=sha256_hex(frame),
            events=events,
            epsilon=self._budget.epsilon if self._budget else None,
            epsilon_if_opened=epsilon_if_opened(self._terms, num_steps(events) - num_steps(once_released(self._terms))),
        )

    def _open(self, opening: Opening, blobs: Blobs, *, catch_up: bool) -> tuple[OpenReply, Blobs]:
        """Decrypt the sum of a round, move the model on, and say what came out; asked again, say the same."""
        frame = blobs.get("sum", b"")
        if self._last_opening is None or self._last_opening[0] != sha256_hex(frame):
            self._check_opening(opening)
            missed = catch_up and self._model_round < opening.round - 1
            before = state_from_bytes(blobs.get("model", b""), self._terms) if missed else self._state
            if not missed and self._model_round != opening.round - 1:
                raise TrainingError(f"the sum of round {opening.round} for the model of round {self._model_round}")
            self._last_opening = (sha256_hex(frame), *self._decrypt(opening, frame, before))
        _, reply, plain_sum = self._last_opening
        return reply, {"sum": plain_sum} if opening.reveal else {}

    def _decrypt(self, opening: Opening, frame: bytes, before: ServerState) -> tuple[OpenReply, bytes]:
        key = self._require_key()
        ciphertext = parse_frame(
            frame,
            expected=self._session.frame("sum", opening.round, key.key_id),
            sender=self._terms.coordinator,
            parameters=self._parameters,
        )
        if ciphertext.count != len(opening.contributors):
            raise EncryptionError(
                f"a sum of {ciphertext.count} updates said to be of {len(opening.contributors)} holders"
            )
        places = tuple(self._terms.holder_ids.index(holder) for holder in opening.contributors)
        levels = decrypt_sum(
            key,
            ciphertext,
            of=Contributors(round_number=opening.round, places=places),
            minimum_holders=self._terms.training.minimum_holders,
        )
        self._state = apply_sum(before, levels, opening.contributors, self._terms)
        self._model_round, plain_sum = opening.round, sum_bytes(levels)
        facts: dict[str, Any] = {
            "round": opening.round,
            "sum_sha256": sha256_hex(plain_sum),
            "model_sha256": sha256_hex(model_bytes(self._state.model)),
        }
        return OpenReply(**facts, signature=self._sign("opened", facts)), plain_sum

    def _check_opening(self, opening: Opening) -> None:
        """A sum of too few, of strangers, or another one of the same round is not decrypted."""
        if opening.round <= self._model_round:
            raise EncryptionError(
                f"another sum of round {opening.round} was opened before", remedy="One sum a round is opened."
            )
        strangers = set(opening.contributors) - set(self._terms.holder_ids)
        if strangers or len(opening.contributors) < self._terms.training.minimum_holders:
            raise EncryptionError(
                f"a sum of {len(opening.contributors)} holders, {len(strangers)} of them strangers",
                expected=f"at least {self._terms.training.minimum_holders} holders of the agreement",
                remedy="A sum of fewer could show one holder's update, and is not opened.",
            )


def _budget(terms: Terms) -> RunBudget | None:
    privacy = terms.privacy
    if privacy.mode == "none":
        return None
    assert privacy.epsilon is not None and privacy.accounted_delta is not None  # PrivacyTerms made sure
    return RunBudget(epsilon=privacy.epsilon, delta=privacy.accounted_delta, events=once_released(terms))
