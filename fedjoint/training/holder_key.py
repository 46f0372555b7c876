"""A run's secret key as one holder has it: made or taken once, kept where there is a place, used for its frames."""

from __future__ import annotations

from fedjoint.encryption.ceremony import KeyOffer, acknowledge, make_offers, take_key
from fedjoint.encryption.decryption import decrypt_sum
from fedjoint.encryption.fixed_point import Source
from fedjoint.encryption.frames import FrameWriter, frame_bytes, parse_frame
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.opened import ToOpen
from fedjoint.encryption.scheme import Encryptor, make_encryptor, make_key
from fedjoint.encryption.scratch import Bytes
from fedjoint.encryption.tags import Contributors
from fedjoint.encryption.words import Words
from fedjoint.errors import EncryptionError
from fedjoint.identity.keys import Identity
from fedjoint.training.confirming import require_quorum
from fedjoint.training.holder_state import KeyStore
from fedjoint.training.plan import Blob, Confirmations, KeyReply, Parcel, TakeKeyTask
from fedjoint.training.session import Session
from fedjoint.training.workplace import Workplace

__all__ = ["HolderKey"]


class HolderKey:
    """One holder's key of one run.

    Args:
        identity: The holder's keys.
        session: The run.
        workplace: Where large arrays are kept, and who hears how far encryption and decryption are.
        store: Where the key is kept, and from where it is taken up again; None: nowhere.

    Raises:
        EncryptionError: what is kept there is not this run's, or in use.
    """

    def __init__(
        self, identity: Identity, session: Session, workplace: Workplace, *, store: KeyStore | None = None
    ) -> None:
        self._identity, self._session, self._workplace, self._store = identity, session, workplace, store
        self._terms, self._parameters = session.terms, session.parameters
        self.secret: SecretKey | None = None
        self._encryptor: Encryptor | None = None
        if store is not None and (kept := store.load(self._parameters, session.binding)) is not None:
            self.secret, self._encryptor = kept, make_encryptor(kept)

    def make(self, *, again: bool) -> Parcel:
        """Make the key and seal it to each other holder; or seal it again.

        Args:
            again: Whether this holder made the key that it has.

        Raises:
            EncryptionError: it has a key that another made.
        """
        if not (again and self.secret is not None):
            self._take(make_key(self._parameters, self._session.binding))
        key = self.require()
        others = [holder.identity for holder in self._terms.holders if holder.identity.id != self._identity.id]
        offers = make_offers(key, maker=self._identity, recipients=others)
        return Parcel(body=KeyReply(offers=offers, acknowledgement=acknowledge(key, holder=self._identity)))

    def take(self, task: TakeKeyTask) -> Parcel:
        """Take the key that another holder made, after checking that it was that holder; asked again, say it again.

        Raises:
            EncryptionError: this holder has another key already, or the offer is for another run.
            IdentityError: the offer is not its maker's, or not sealed to this holder.
        """
        offer: KeyOffer = task.offer
        key = take_key(
            offer,
            recipient=self._identity,
            maker=self._terms.holder(offer.maker).identity,
            binding=self._session.binding,
            parameters=self._parameters,
        )
        if self.secret is not None and self.secret.key_id == key.key_id:
            key.close()
        else:
            self._take(key)
        return Parcel(body=acknowledge(self.require(), holder=self._identity))

    def _take(self, key: SecretKey) -> None:
        if self.secret is not None:
            raise EncryptionError("this holder has a key of this run already", remedy="A new key needs a new run.")
        if self._store is not None:
            self._store.keep(key)
        self.secret, self._encryptor = key, make_encryptor(key)

    def require(self) -> SecretKey:
        """The key.

        Raises:
            EncryptionError: there is none yet.
        """
        if self.secret is None:
            raise EncryptionError("this holder has no key of this run yet", remedy="The key ceremony comes first.")
        return self.secret

    def encrypted(self, source: Source, slot: int) -> Bytes:
        """An update's frame, for one round's place.

        Raises:
            EncryptionError: no key yet, something was encrypted for that place before, or it cannot be encrypted.
        """
        key = self.require()
        assert self._encryptor is not None  # it comes with the key
        header = self._session.frame("update", slot, key.key_id)
        room = self._workplace.scratch.array("u1", frame_bytes(self._parameters, kind="update"))
        frame = FrameWriter(header, sender=self._identity, parameters=self._parameters, room=room)
        # encrypted right where it travels
        ciphertext = self._encryptor.encrypt(
            source,
            round_number=slot,
            place=self._terms.holder_ids.index(self._identity.id),
            into=frame.body,
            progress=self._workplace.progress(f"'{self._identity.id}' encrypts"),
        )
        return frame.finish(ciphertext)

    def require_enough(self, contributors: tuple[str, ...]) -> None:
        """Refuse a sum of so few that it could show one holder's update, or of strangers.

        Raises:
            EncryptionError: it is one.
        """
        strangers = set(contributors) - set(self._terms.holder_ids)
        if strangers or len(contributors) < self._terms.training.minimum_holders:
            raise EncryptionError(
                f"a sum of {len(contributors)} holders, {len(strangers)} of them strangers",
                expected=f"at least {self._terms.training.minimum_holders} holders of the agreement",
                remedy="A sum of fewer could show one holder's update, and is not opened.",
            )

    def decrypted_sum(
        self, subject: ToOpen, frame: Blob, confirmations: Confirmations, *, encrypted_at: int | None = None
    ) -> Words:
        """The levels of a sum of enough holders of the agreement, confirmed by a quorum and checked to be theirs.

        Args:
            subject: The sum, and the place that it is opened in.
            frame: With the sum.
            confirmations: Of the subject.
            encrypted_at: The place that its updates were encrypted for; None: the same.

        Raises:
            EncryptionError: no key yet, or a sum that must not be opened.
        """
        contributors = subject.contributors
        slot = subject.slot if encrypted_at is None else encrypted_at
        self.require_enough(contributors)
        key = self.require()
        ciphertext = parse_frame(
            frame,
            expected=self._session.frame("sum", slot, key.key_id),
            sender=self._terms.coordinator,
            parameters=self._parameters,
        )
        if ciphertext.count != len(contributors):
            raise EncryptionError(f"a sum of {ciphertext.count} updates said to be of {len(contributors)} holders")
        require_quorum(self._session, subject, confirmations)
        places = tuple(self._terms.holder_ids.index(holder) for holder in contributors)
        return decrypt_sum(
            key,
            ciphertext,
            of=Contributors(round_number=slot, places=places),
            minimum_holders=self._terms.training.minimum_holders,
            into=self._workplace.scratch.array("<u8", self._parameters.num_parameters),
            progress=self._workplace.progress(f"'{self._identity.id}' decrypts"),
        )

    def close(self) -> None:
        """Wipe it from memory, as far as Python can; whatever needs it is refused from now on."""
        if self.secret is not None:
            self.secret.close()

    def erase(self) -> None:
        """Wipe it from memory and from where it is kept."""
        self.close()
        if self._store is not None:
            self._store.erase()
