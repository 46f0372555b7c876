"""Checkpoints of a run's record and the holders that countersign them: the run asks, holders' nodes come and answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fedjoint.agreement.canonical import canonical_bytes
from fedjoint.errors import RecordError
from fedjoint.identity.keys import PublicIdentity
from fedjoint.record.checkpoint import SignedCheckpoint, require_signed
from fedjoint.record.witness import Prove

__all__ = ["Pending", "WitnessDesk"]


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A checkpoint that waits for a holder, and what proves that it goes on from what that holder saw last."""

    checkpoint: bytes
    seen_size: int
    proof: tuple[str, ...]


@dataclass(kw_only=True)
class _Asked:
    """A checkpoint out for countersigning."""

    signed: SignedCheckpoint
    prove: Prove
    coordinator: PublicIdentity
    witnesses: Mapping[str, PublicIdentity]
    answers: dict[str, str] = field(default_factory=dict)


class WitnessDesk:
    """Where a run's thread leaves checkpoints and holders' calls pick them up.

    Args:
        timeout_s: So long a checkpoint waits for all; the record goes on with the countersignatures it has by then.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._asked: _Asked | None = None
        self._news = threading.Condition()

    def ask(
        self,
        signed: SignedCheckpoint,
        prove: Prove,
        *,
        coordinator: PublicIdentity,
        witnesses: Sequence[PublicIdentity],
    ) -> dict[str, str]:
        """Have a checkpoint countersigned; called by the run's thread.

        Returns:
            Holder to countersignature, of those that answered in time.
        """
        asked = _Asked(
            signed=signed, prove=prove, coordinator=coordinator, witnesses={one.id: one for one in witnesses}
        )
        deadline = time.monotonic() + self._timeout_s
        with self._news:
            self._asked = asked
            self._news.notify_all()
            while len(asked.answers) < len(witnesses) and (left := deadline - time.monotonic()) > 0:
                self._news.wait(left)
            self._asked = None
            return dict(sorted(asked.answers.items()))

    def pending(self, holder: str, seen: Mapping[str, int]) -> tuple[Pending, ...]:
        """What waits for a holder.

        Args:
            holder: Its id.
            seen: Origin of a log to the size that the holder saw last.

        Raises:
            RecordError: the holder has seen more of the log than there is.
        """
        with self._news:
            asked = self._asked
            if asked is None or holder not in asked.witnesses or holder in asked.answers:
                return ()
            checkpoint = asked.signed.checkpoint
            size = seen.get(checkpoint.origin, 0)
            if not 0 <= size <= checkpoint.size:
                raise RecordError(
                    f"'{holder}' has seen {size} events of a log of {checkpoint.size}",
                    remedy="The log was cut, or the node's memory of it is damaged: compare both.",
                )
            proof = tuple(asked.prove(size)) if 0 < size < checkpoint.size else ()
            return (Pending(checkpoint=canonical_bytes(asked.signed), seen_size=size, proof=proof),)

    def take(self, holder: str, *, origin: str, size: int, signature: str) -> None:
        """Take a countersignature; one that comes late or again is let be.

        Raises:
            RecordError: it is not that holder's, over this checkpoint.
        """
        with self._news:
            asked = self._asked
            if asked is None or holder not in asked.witnesses or holder in asked.answers:
                return
            if (asked.signed.checkpoint.origin, asked.signed.checkpoint.size) != (origin, size):
                return
            witnessed = SignedCheckpoint(
                checkpoint=asked.signed.checkpoint,
                signature=asked.signed.signature,
                witnesses={holder: signature},
            )
            require_signed(witnessed, asked.coordinator, witnesses=asked.witnesses)
            asked.answers[holder] = signature
            self._news.notify_all()
