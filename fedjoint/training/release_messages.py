"""Messages by which holders release noisy sums over their own records, and open the sum of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fedjoint.agreement.release_terms import MAX_RELEASED_VALUES
from fedjoint.errors import InvalidValue
from fedjoint.privacy.validation_plan import gradient_sha256
from fedjoint.strict import strict
from fedjoint.training.task import Confirmations, Task

__all__ = ["OncePurpose", "OpenReleaseReply", "OpenReleaseTask", "ReleaseReply", "ReleaseTask", "released_facts"]

_MAX_DIGITS = 20
#: What a holder releases by a task of its own: once, or of validation gradients once for each round.
OncePurpose = Literal["statistics", "validation", "metrics"]


@strict
@dataclass(frozen=True, kw_only=True)
class ReleaseTask(Task):
    """Release noisy sums over the own records, encrypted, once in a run.

    Args:
        purpose: What for.
        round: Of a validation gradient: along whose path; else 0.
    """

    purpose: OncePurpose
    round: int = 0

    @property
    def label(self) -> str:
        """What a holder remembers it by."""
        return _label(self.purpose, self.round)


@strict
@dataclass(frozen=True, kw_only=True)
class ReleaseReply:
    """A holder's signature over purpose and frame. Blob: ``frame`` (its encrypted sums)."""

    signature: str


@strict
@dataclass(frozen=True, kw_only=True)
class OpenReleaseTask(Task):
    """Decrypt the sum of a release, once in a run.

    Args:
        purpose: Of the release.
        contributors: Ids of the holders whose sums are in it, sorted.
        round: As in :class:`ReleaseTask`.
        confirmations: Of a quorum of holders.

    Blob: ``sum`` (frame).
    """

    purpose: OncePurpose
    contributors: tuple[str, ...]
    confirmations: Confirmations
    round: int = 0

    def __post_init__(self) -> None:
        if list(self.contributors) != sorted(set(self.contributors)):
            raise InvalidValue("the contributors of a sum are not sorted and distinct")

    @property
    def label(self) -> str:
        """What a holder remembers it by."""
        return _label(self.purpose, self.round)

    def facts(self, values: tuple[str, ...]) -> dict[str, object]:
        """What whoever opens it signs for."""
        return released_facts(self.purpose, self.round, self.contributors, values)


@strict
@dataclass(frozen=True, kw_only=True)
class OpenReleaseReply:
    """The opened sum in steps of the release's grid, as decimal strings, signed with purpose and contributors.

    Raises:
        InvalidValue: too many of them, or one that is no whole number.
    """

    values: tuple[str, ...]
    signature: str

    def __post_init__(self) -> None:
        if len(self.values) > MAX_RELEASED_VALUES or not all(map(_is_whole, self.values)):
            raise InvalidValue("an opened release that is not a list of whole numbers")


def _label(purpose: OncePurpose, number: int) -> str:
    return f"{purpose} {number}" if number else purpose


def released_facts(purpose: str, number: int, contributors: Sequence[str], values: Sequence[str]) -> dict[str, object]:
    """What whoever opens a release signs for; of a validation gradient, which is as long as the model, its hash."""
    if purpose == "validation":
        digest = gradient_sha256(values)
        return {"purpose": purpose, "round": number, "contributors": list(contributors), "gradient_sha256": digest}
    return {"purpose": purpose, "contributors": list(contributors), "values": list(values)}


def _is_whole(value: str) -> bool:
    digits = value.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS
