"""What holders say and sign of the sums they opened; training compares it, and whoever verifies a run does again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedjoint.errors import InvalidValue
from fedjoint.strict import strict

__all__ = ["MINIMUM_OPENERS", "OpenReply", "OpenedOnce", "ToOpen", "slot_of"]

#: So many holders must have decrypted a sum, or the contributions, alike before they are used.
MINIMUM_OPENERS = 2


#: What is opened once in a run, beside the sums of its rounds.
OpenedOnce = Literal["statistics", "metrics", "contributions"]
_MAX_SLOT = 1 << 20


def slot_of(what: OpenedOnce, *, rounds: int) -> int:
    """The place of what is opened once: 0 before the first round, or after the last.

    Example:
        >>> [slot_of(what, rounds=3) for what in ("statistics", "metrics", "contributions")]
        [0, 4, 5]
    """
    return {"statistics": 0, "metrics": rounds + 1, "contributions": rounds + 2}[what]


@strict
@dataclass(frozen=True, kw_only=True)
class ToOpen:
    """What is to be opened in one place of a run; a holder signs one of them for each place, and no other.

    Args:
        slot: A round's number, or :func:`slot_of`.
        contributors: Ids of the holders whose updates are in it, sorted.
        sha256: Of the sum's frame, or of all frames of samples.

    Raises:
        InvalidValue: a slot out of range, or contributors that are not sorted and distinct.
    """

    slot: int
    contributors: tuple[str, ...]
    sha256: str

    def __post_init__(self) -> None:
        if not 0 <= self.slot <= _MAX_SLOT or list(self.contributors) != sorted(set(self.contributors)):
            raise InvalidValue(
                f"what is to be opened in place {self.slot}", expected="a place of the run, contributors sorted"
            )


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
