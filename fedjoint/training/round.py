"""A round at the coordinator: while its updates come in, and once its sum is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fedjoint.agreement.slots import slot_of
from fedjoint.agreement.terms import Terms
from fedjoint.encryption.ciphertext import Ciphertext
from fedjoint.encryption.opened import ToOpen
from fedjoint.encryption.scratch import sha256_of
from fedjoint.errors import TrainingError
from fedjoint.privacy.receipts import RoundReceipt, check_releases
from fedjoint.strict import plain
from fedjoint.training.aggregate import Levels
from fedjoint.training.plan import Blob, Confirmations, Parcel, Refusal, RoundReply
from fedjoint.training.session import Session

__all__ = ["PendingRound", "RoundSummary", "checked_frame"]


@dataclass(frozen=True, kw_only=True)
class RoundSummary:
    """What a round came to.

    Args:
        round: From 1.
        contributors: Whose updates are in the sum, sorted.
        refusals: Who did not take part, and why.
        metrics: The model after it, on the reference set.
        loss: The reference loss after it.
        receipts: What each contributor signed.
        levels: The opened sum, as :func:`fedjoint.training.aggregate.apply_sum` takes it.
    """

    round: int
    contributors: tuple[str, ...]
    refusals: Mapping[str, Refusal]
    metrics: Mapping[str, float | None]
    loss: float
    receipts: Mapping[str, RoundReceipt]
    levels: Levels


@dataclass(kw_only=True)
class PendingRound:
    """A round whose updates are in, or come in, and whose sum is not yet opened."""

    number: int
    updates: dict[str, Ciphertext] = field(default_factory=dict)
    receipts: dict[str, RoundReceipt] = field(default_factory=dict)
    signatures: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    frame: Blob = b""
    confirmations: Confirmations = field(default_factory=dict)

    @property
    def contributors(self) -> tuple[str, ...]:
        """Whose updates are in it, sorted."""
        return tuple(sorted(self.updates))

    def subject(self, terms: Terms) -> ToOpen:
        """What holders confirm, once its sum is made."""
        slot = slot_of(terms, "training", self.number)
        return ToOpen(slot=slot, contributors=self.contributors, sha256=sha256_of(self.frame))

    def summed(self) -> dict[str, Any]:
        """What the record says of it once its sum is made."""
        return {
            "round": self.number,
            "receipts": {holder: plain(receipt) for holder, receipt in sorted(self.receipts.items())},
            "signatures": dict(sorted(self.signatures.items())),
            "refusals": {holder: refusal.code for holder, refusal in sorted(self.refusals.items())},
        }


def checked_frame(session: Session, holder: str, parcel: Parcel, *, number: int, steps: int) -> tuple[Blob, int]:
    """The frame of a holder's update, if its receipt is about it and this round and it pays for what it says.

    Args:
        session: The run.
        holder: Who sent it.
        parcel: Its reply.
        number: The round.
        steps: Noisy steps that the holder had accounted for before.

    Returns:
        The frame, and the noisy steps that the holder has accounted for now.

    Raises:
        FedjointError: what is wrong with it.
    """
    reply: RoundReply = parcel.body
    receipt, frame = reply.receipt, parcel.blobs.get("frame", b"")
    session.check(holder, "receipt", receipt, reply.signature)
    expected = (session.run_id, holder, number, sha256_of(frame))
    if (receipt.run_id, receipt.holder, receipt.round, receipt.frame_sha256) != expected:
        raise TrainingError(f"the receipt of '{holder}' is not about the frame it sent in round {number}")
    return frame, check_releases(receipt, session.terms, steps_before=steps)
