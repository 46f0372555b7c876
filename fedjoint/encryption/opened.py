"""What holders say and sign of the sums they opened; training compares it, and whoever verifies a run does again."""

from __future__ import annotations

from dataclasses import dataclass

from fedjoint.strict import strict

__all__ = ["MINIMUM_OPENERS", "OpenReply"]

#: So many holders must have decrypted a sum, or the contributions, alike before they are used.
MINIMUM_OPENERS = 2


@strict
@dataclass(frozen=True, kw_only=True)
class OpenReply:
    """A decrypted sum.

    Args:
        round: The round of the sum.
        sum_sha256: Hash of the sum as little-endian uint64.
        model_sha256: Hash of the model after it, as little-endian float32.
        signature: The holder's over the three, bound to agreement and run.

    Blobs: ``sum``, if it was to be revealed.
    """

    round: int
    sum_sha256: str
    model_sha256: str
    signature: str
