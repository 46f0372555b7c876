"""A round at the coordinator: while its updates come in, and once its sum is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fedjoint.encryption.ciphertext import Accumulator, Ciphertext
from fedjoint.privacy.receipts import RoundReceipt
from fedjoint.strict import plain
from fedjoint.training.aggregate import Levels
from fedjoint.training.plan import Refusal

__all__ = ["PendingRound", "RoundSummary"]


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
