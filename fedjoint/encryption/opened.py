"""What holders say and sign of the sums they opened; training compares it, and whoever verifies a run does again."""

from __future__ import annotations

from dataclasses import dataclass

from fedjoint.errors import InvalidValue
from fedjoint.strict import strict

__all__ = ["CANARY", "MINIMUM_OPENERS", "ConfirmedOpening", "OpenReply", "ToOpen"]

#: So many holders must have decrypted a sum, or the contributions, alike before they are used.
MINIMUM_OPENERS = 2
#: In the place of a holder's id, which never begins so: the sample of whose content everybody is sure beforehand.
CANARY = "_canary"

#: More places than any run has.
_MAX_SLOT = 1 << 20


@strict
@dataclass(frozen=True, kw_only=True)
class ToOpen:
    """What is to be opened in one place of a run; a holder signs one of them for each place, and no other.

    Args:
        slot: The place, :mod:`fedjoint.agreement.slots`.
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
class ConfirmedOpening:
    """What the record says of a quorum: body of ``opening.confirmed``.

    Args:
        subject: What was confirmed to be the only thing opened in its place.
        confirmations: Holder to its signature of the subject.
    """

    subject: ToOpen
    confirmations: dict[str, str]


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
