"""What one holder opens in a run: sums that a quorum has confirmed, one in each place; and the model that follows."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedjoint.agreement.canonical import canonical_bytes, sha256_hex
from fedjoint.encryption.decryption import decrypt_sum
from fedjoint.encryption.frames import parse_frame
from fedjoint.encryption.opened import OpenReply, ToOpen, slot_of
from fedjoint.encryption.scratch import Bytes, sha256_of
from fedjoint.encryption.tags import Contributors
from fedjoint.errors import EncryptionError, TrainingError
from fedjoint.identity.keys import Identity
from fedjoint.training.aggregate import Levels, ServerState, apply_sum, model_sha256, state_from_bytes
from fedjoint.training.confirming import CONFIRM, require_quorum
from fedjoint.training.holder_key import HolderKey
from fedjoint.training.plan import Blob, Blobs, Confirmations, ConfirmReply, Opening, Parcel
from fedjoint.training.session import Session
from fedjoint.training.workplace import Workplace

__all__ = ["HolderOpening"]


class HolderOpening:
    """One holder's model in one run, moved on by the sums it opens.

    Args:
        session: The run.
        identity: The holder.
        key: Its key of the run.
        start: The agreed start.
        workplace: Where large arrays are kept, and who hears how far decryption is.
    """

    def __init__(
        self, session: Session, identity: Identity, key: HolderKey, *, start: ServerState, workplace: Workplace
    ) -> None:
        self._session, self._identity, self._key, self._workplace = session, identity, key, workplace
        self.state = start
        self.round = 0  # rounds whose sum is in the state
        self._last: tuple[str, OpenReply, Bytes] | None = None  # frame's hash, what was said, the sum

    def confirm(self, subject: ToOpen) -> Parcel:
        """Sign that this is the one thing to be opened in its place; the same again, never another.

        Raises:
            EncryptionError: no key yet, no such place, or a sum of too few.
            Equivocation: something else was confirmed in the place.
        """
        key, terms = self._key.require(), self._session.terms
        last = slot_of("contributions", rounds=terms.training.rounds)
        if subject.slot > last:
            raise EncryptionError(f"nothing is opened in place {subject.slot} of this run", expected=f"at most {last}")
        if subject.slot < last:  # contributions are no sum
            self._require_enough(subject.contributors)
        key.confirm(subject.slot, sha256_hex(canonical_bytes(subject)))
        return Parcel(body=ConfirmReply(signature=self._session.sign(self._identity, CONFIRM, subject)))

    def open(self, opening: Opening, blobs: Blobs, *, catch_up: bool) -> tuple[OpenReply, dict[str, Blob]]:
        """Decrypt the sum of a round, move the model on, and say what came out; asked again, say the same.

        Raises:
            EncryptionError: it must not be opened.
            TrainingError: it is not of the round after the model's.
        """
        frame = blobs.get("sum", b"")
        digest = sha256_of(frame)
        if self._last is None or self._last[0] != digest:
            if opening.round <= self.round:
                raise EncryptionError(
                    f"another sum of round {opening.round} was opened before", remedy="One sum a round is opened."
                )
            missed = catch_up and self.round < opening.round - 1
            before = state_from_bytes(blobs.get("model", b""), self._session.terms) if missed else self.state
            if not missed and self.round != opening.round - 1:
                raise TrainingError(f"the sum of round {opening.round} for the model of round {self.round}")
            self._last = (digest, *self._move_on(opening, frame, before))
        _, reply, levels = self._last
        return reply, {"sum": levels} if opening.reveal else {}

    def decrypted(self, subject: ToOpen, frame: Blob, confirmations: Confirmations) -> Levels:
        """The levels of a sum of enough holders of the agreement, confirmed and checked to be theirs.

        Raises:
            EncryptionError: whatever stands against opening it.
        """
        terms, session = self._session.terms, self._session
        self._require_enough(subject.contributors)
        key = self._key.require()
        ciphertext = parse_frame(
            frame,
            expected=session.frame("sum", subject.slot, key.key_id),
            sender=terms.coordinator,
            parameters=session.parameters,
        )
        if ciphertext.count != len(subject.contributors):
            raise EncryptionError(
                f"a sum of {ciphertext.count} updates said to be of {len(subject.contributors)} holders"
            )
        require_quorum(session, subject, confirmations)
        places = tuple(terms.holder_ids.index(holder) for holder in subject.contributors)
        levels: Levels = decrypt_sum(
            key,
            ciphertext,
            of=Contributors(round_number=subject.slot, places=places),
            minimum_holders=terms.training.minimum_holders,
            into=self._workplace.scratch.array("<u8", session.parameters.num_parameters),
            progress=self._workplace.progress(f"'{self._identity.id}' decrypts"),
        )
        return levels

    def _require_enough(self, contributors: tuple[str, ...]) -> None:
        terms = self._session.terms
        strangers = set(contributors) - set(terms.holder_ids)
        if strangers or len(contributors) < terms.training.minimum_holders:
            raise EncryptionError(
                f"a sum of {len(contributors)} holders, {len(strangers)} of them strangers",
                expected=f"at least {terms.training.minimum_holders} holders of the agreement",
                remedy="A sum of fewer could show one holder's update, and is not opened.",
            )

    def _move_on(self, opening: Opening, frame: Blob, before: ServerState) -> tuple[OpenReply, Bytes]:
        subject = ToOpen(slot=opening.round, contributors=opening.contributors, sha256=sha256_of(frame))
        levels = self.decrypted(subject, frame, opening.confirmations)
        scratch = self._workplace.scratch
        self.state = apply_sum(before, levels, opening.contributors, self._session.terms, scratch=scratch)
        self.round = opening.round
        facts: dict[str, Any] = {
            "round": opening.round,
            "sum_sha256": sha256_of(levels),
            "model_sha256": model_sha256(self.state.model),
        }
        signature = self._session.sign(self._identity, "opened", facts)
        return OpenReply(**facts, signature=signature), levels.view(np.uint8)
