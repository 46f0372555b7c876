"""The coordinator's sum of one round, grown update by update right in the frame that goes to the holders."""

from __future__ import annotations

from fedjoint.encryption.ciphertext import Accumulator, Ciphertext
from fedjoint.encryption.frames import FrameWriter, frame_bytes, parse_frame
from fedjoint.encryption.scratch import Bytes
from fedjoint.identity.keys import Identity
from fedjoint.training.plan import Blob
from fedjoint.training.session import Session
from fedjoint.training.workplace import Workplace

__all__ = ["SumInProgress"]


class SumInProgress:
    """A sum that updates are added to as they come.

    Args:
        session: The run.
        slot: Its place under the key: a round's number, or that of what is released once.
        key_id: Of the run's key.
        coordinator: Signs the frame.
        workplace: Where it grows, and who hears how far an addition is.
    """

    def __init__(
        self, session: Session, slot: int, key_id: str, *, coordinator: Identity, workplace: Workplace
    ) -> None:
        self._session, self._slot, self._key_id, self._workplace = session, slot, key_id, workplace
        parameters, most = session.parameters, session.parameters.max_holders
        room = workplace.scratch.array("u1", frame_bytes(parameters, kind="sum", count=most))
        header = session.frame("sum", slot, key_id)
        self._frame = FrameWriter(header, sender=coordinator, parameters=parameters, count=most, room=room)
        self._total = Accumulator(parameters, into=self._frame.body)

    def add(self, holder: str, frame: Blob) -> Ciphertext:
        """Add one holder's update.

        Args:
            holder: Whose.
            frame: As it came.

        Returns:
            The update, a view of the frame.

        Raises:
            FrameRefused: it is not that holder's update of this round.
            EncryptionError: it is in the sum already.
        """
        update = parse_frame(
            frame,
            expected=self._session.frame("update", self._slot, self._key_id),
            sender=self._session.terms.holder(holder).identity,
            parameters=self._session.parameters,
        )
        self._total.add(update, progress=self._workplace.progress(f"adding the update of '{holder}'"))
        return update

    def finish(self) -> Bytes:
        """The signed frame of the sum; nothing is added any more.

        Raises:
            EncryptionError: nothing was added.
        """
        return self._frame.finish(self._total.total())
