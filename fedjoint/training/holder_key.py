"""A holder's key of one run: in memory, and in its own folder if it has one, so that a restart does not end its part.

Two files stand there: ``RUN.key``, of mode 0600, for as long as the run lasts; and ``AGREEMENT.run``, which says which
run was trained under an agreement, for good: there is one run under an agreement.
"""

from __future__ import annotations

from pathlib import Path

from fedjoint.encryption.ceremony import KeyOffer, acknowledge, make_offers, take_key
from fedjoint.encryption.key_files import erase_key, load_key, store_key
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.scheme import Encryptor, make_encryptor
from fedjoint.encryption.tenseal_scheme import create_key
from fedjoint.errors import AgreementError, EncryptionError, TrainingError
from fedjoint.files import replace_file, sync_folder
from fedjoint.identity.keys import Identity
from fedjoint.training.plan import KeyReply, Parcel
from fedjoint.training.session import Session

__all__ = ["HolderKey"]


class HolderKey:
    """One holder's key of one run.

    Args:
        session: The run.
        identity: The holder.
        folder: Its own; None if the key is to live in memory only.

    Raises:
        AgreementError: the folder says that another run was trained under the agreement.
        EncryptionError: the key in the folder cannot be read, is in use, or is of something else.

    Guarantees:
        With a folder, whoever comes after a killed process has the same key, encrypts in no round that was begun, and
        confirms no second sum.
    """

    def __init__(self, session: Session, identity: Identity, folder: Path | None) -> None:
        self._session, self._identity, self._folder = session, identity, folder
        self._key: SecretKey | None = None
        self._encryptor: Encryptor | None = None
        self._is_over = False
        if folder is not None:
            self._resume(self._path(folder), self._mark(folder))

    @property
    def rounds(self) -> tuple[int, ...]:
        """The rounds, or places of what is released once, in which this holder has begun to encrypt."""
        return self._key.rounds if self._key else ()

    def make(self) -> Parcel:
        """Make the run's key and seal it to each other holder.

        Raises:
            EncryptionError: this holder has a key of this run already.
            TrainingError: the run is over.
        """
        key = create_key(self._session.parameters, self._session.binding)
        self._take(key)
        others = [one.identity for one in self._session.terms.holders if one.identity.id != self._identity.id]
        offers = make_offers(key, maker=self._identity, recipients=others)
        return Parcel(body=KeyReply(offers=offers, acknowledgement=acknowledge(key, holder=self._identity)))

    def take(self, offer: KeyOffer) -> Parcel:
        """Take the key that another holder made, after checking that it was that holder.

        Raises:
            EncryptionError: this holder has a key already, or the offer is for another run.
            IdentityError: the offer is not its maker's, or not sealed to this holder.
            TrainingError: the run is over.
        """
        session = self._session
        maker = session.terms.holder(offer.maker).identity
        key = take_key(
            offer, recipient=self._identity, maker=maker, binding=session.binding, parameters=session.parameters
        )
        self._take(key)
        return Parcel(body=acknowledge(key, holder=self._identity))

    def require(self) -> SecretKey:
        """The key.

        Raises:
            EncryptionError: there is none yet.
        """
        if self._key is None:
            raise EncryptionError("this holder has no key of this run yet", remedy="The key ceremony comes first.")
        return self._key

    @property
    def encryptor(self) -> Encryptor:
        """What encrypts under it.

        Raises:
            EncryptionError: there is no key yet.
        """
        self.require()
        assert self._encryptor is not None  # it comes with the key
        return self._encryptor

    def mark_trained(self) -> None:
        """Note for good, before the first round is trained, that the agreement's one run is this one."""
        if self._folder is not None and not self._mark(self._folder).exists():
            replace_file(self._mark(self._folder), self._session.run_id.encode(), mode=0o600)
            sync_folder(self._folder)

    def close(self) -> None:
        """Wipe the key in memory, as far as Python can; whatever needs it is refused from now on."""
        if self._key is not None:
            self._key.close()

    def erase(self) -> None:
        """The run is over: wipe the key in memory and on the disk."""
        self.close()
        self._is_over = True
        if self._folder is not None and self._path(self._folder).exists():
            erase_key(self._path(self._folder))

    def _resume(self, path: Path, mark: Path) -> None:
        if mark.exists() and mark.read_text() != self._session.run_id:
            raise AgreementError(
                f"agreement {self._session.agreement.sha256[:16]}… was run before, as {mark.read_text()[:32]}",
                expected="one run under an agreement",
                remedy="Sign a new agreement for another run: it has a budget of its own.",
            )
        if path.exists():
            self._key = load_key(path, parameters=self._session.parameters, binding=self._session.binding)
            self._encryptor = make_encryptor(self._key)
        else:
            self._is_over = mark.exists()

    def _take(self, key: SecretKey) -> None:
        if self._is_over:
            raise TrainingError(f"run {self._session.run_id} is over", remedy="Sign a new agreement for another run.")
        if self._key is not None:
            raise EncryptionError("this holder has a key of this run already", remedy="A new key needs a new run.")
        if self._folder is not None:
            store_key(key, self._path(self._folder))
        self._key, self._encryptor = key, make_encryptor(key)

    def _path(self, folder: Path) -> Path:
        return folder / f"{self._session.run_id}.key"

    def _mark(self, folder: Path) -> Path:
        return folder / f"{self._session.agreement.sha256}.run"
