"""Messages by which the sum of an agreed block of holders is opened."""

from __future__ import annotations

from dataclasses import dataclass

from fedjoint.strict import strict
from fedjoint.training.task import Confirmations, Task

__all__ = ["OpenBlockReply", "OpenBlockTask", "block_facts"]


@strict
@dataclass(frozen=True, kw_only=True)
class OpenBlockTask(Task):
    """Decrypt the sum of an agreed block's updates of a round.

    Args:
        round: From 1.
        block: Its place in ``valuation.audit_blocks``.
        confirmations: Of a quorum of holders.

    Blob: ``sum`` (frame).
    """

    round: int
    block: int
    confirmations: Confirmations


@strict
@dataclass(frozen=True, kw_only=True)
class OpenBlockReply:
    """A holder's signature of :func:`block_facts`. Blob: ``sum``, the decrypted sum as little-endian uint64."""

    sum_sha256: str
    signature: str


def block_facts(number: int, block: int, sum_sha256: str) -> dict[str, object]:
    """What whoever opens a block's sum signs for."""
    return {"round": number, "block": block, "sum_sha256": sum_sha256}
