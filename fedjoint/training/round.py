"""A round at the coordinator: while its updates come in, and once its sum is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.agreement.slots import slot_of
from fedjoint.encryption.ciphertext import Accumulator, Ciphertext
from fedjoint.encryption.frames import parse_frame
from fedjoint.errors import TrainingError
from fedjoint.privacy.receipts import RoundReceipt, check_releases
from fedjoint.strict import plain
from fedjoint.training.aggregate import Levels
from fedjoint.training.plan import Parcel, Refusal, RoundReply
from fedjoint.training.session import Session

__all__ = ["PendingRound", "RoundSummary", "checked_update"]


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
    total: Accumulator
    updates: dict[str, Ciphertext] = field(default_factory=dict)
    receipts: dict[str, RoundReceipt] = field(default_factory=dict)
    signatures: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    frame: bytes = b""

    @property
    def contributors(self) -> tuple[str, ...]:
        """Whose updates are in it, sorted."""
        return tuple(sorted(self.updates))

    def summed(self) -> dict[str, Any]:
        """What the record says of it once its sum is made."""
        return {
            "round": self.number,
            "receipts": {holder: plain(receipt) for holder, receipt in sorted(self.receipts.items())},
            "signatures": dict(sorted(self.signatures.items())),
            "refusals": {holder: refusal.code for holder, refusal in sorted(self.refusals.items())},
        }


def checked_update(
    session: Session, holder: str, parcel: Parcel, *, number: int, key_id: str, steps: int
) -> tuple[Ciphertext, int]:
    """A holder's encrypted update, if its receipt and frame are of this round and it pays for what it says.

    Args:
        session: The run.
        holder: Who sent it.
        parcel: Its reply.
        number: The round.
        key_id: Of the run's key.
        steps: Noisy steps that the holder had accounted for before.

    Returns:
        The update, and the noisy steps that it has accounted for now.

    Raises:
        FedjointError: what is wrong with it.
    """
    reply: RoundReply = parcel.body
    receipt, frame = reply.receipt, parcel.blobs.get("frame", b"")
    session.check(holder, "receipt", receipt, reply.signature)
    expected = (session.run_id, holder, number, sha256_hex(frame))
    if (receipt.run_id, receipt.holder, receipt.round, receipt.frame_sha256) != expected:
        raise TrainingError(f"the receipt of '{holder}' is not about the frame it sent in round {number}")
    after = check_releases(receipt, session.terms, steps_before=steps)
    update = parse_frame(
        frame,
        expected=session.frame("update", slot_of(session.terms, "training", number), key_id),
        sender=session.terms.holder(holder).identity,
        parameters=session.parameters,
    )
    return update, after
