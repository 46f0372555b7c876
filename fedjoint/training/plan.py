"""The messages of a run: one frozen record for each task and each reply.

A message is a :class:`Parcel`: a body (a record of this module, sent as canonical JSON) and named blobs (bytes, such as
an encrypted frame). A task names the agreement and the run, so that a holder can refuse what it has not signed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from fedjoint.agreement.valuation_terms import MOST_ERROR_NUMBERS
from fedjoint.encryption.ceremony import Acknowledgement, KeyOffer
from fedjoint.encryption.opened import CANARY, OpenReply, ToOpen
from fedjoint.encryption.scratch import Bytes
from fedjoint.errors import FedjointError, InvalidValue
from fedjoint.privacy.receipts import RoundReceipt
from fedjoint.strict import strict
from fedjoint.training.block_messages import OpenBlockReply, OpenBlockTask
from fedjoint.training.release_messages import (
    OncePurpose,
    OpenReleaseReply,
    OpenReleaseTask,
    ReleaseReply,
    ReleaseTask,
    released_facts,
)
from fedjoint.training.task import Confirmations, Task

__all__ = [
    "MAX_PARTS",
    "REPLIES",
    "TASKS",
    "Blob",
    "Blobs",
    "Channel",
    "ConfirmReply",
    "ConfirmTask",
    "Confirmations",
    "ContributionsReply",
    "ContributionsTask",
    "GetTask",
    "JoinReply",
    "Kind",
    "Log",
    "OncePurpose",
    "OpenReleaseReply",
    "OpenReleaseTask",
    "OpenReply",
    "OpenTask",
    "Opening",
    "Parcel",
    "PartReply",
    "PutTask",
    "Refusal",
    "ReleaseReply",
    "ReleaseTask",
    "RoundReceipt",
    "RoundReply",
    "RoundTask",
    "SampleToOpen",
    "TakeKeyTask",
    "Task",
    "released_facts",
]

#: So many numbers of one holder leave encryption at most; nearly always it is one.
MAX_PARTS = 4
#: Bytes of a message, or an array of them that may be mapped from a file.
Blob: TypeAlias = bytes | Bytes
Blobs: TypeAlias = Mapping[str, Blob]
#: Writes an event (type, body) to the run record.
Log = Callable[[str, Mapping[str, Any]], object]
Kind = Literal[
    "join",
    "make_key",
    "take_key",
    "train",
    "confirm",
    "open_sum",
    "open_contributions",
    "release",
    "open_release",
    "open_block",
    "finish",
    "put",
    "get",
]


@strict
@dataclass(frozen=True, kw_only=True)
class JoinReply:
    """A holder's proof that it is who the agreement says: its signature over the task (``join`` or ``finish``)."""

    holder: str
    signature: str


@strict
@dataclass(frozen=True, kw_only=True)
class KeyReply:
    """What the maker of the key returns: the key, sealed to each other holder, and its own acknowledgement."""

    offers: tuple[KeyOffer, ...]
    acknowledgement: Acknowledgement


@strict
@dataclass(frozen=True, kw_only=True)
class TakeKeyTask(Task):
    """A key's offer, relayed to a holder that did not make it."""

    offer: KeyOffer


@strict
@dataclass(frozen=True, kw_only=True)
class ConfirmTask(Task):
    """Sign that this, and nothing else, is to be opened in its place: once for each place in a run."""

    subject: ToOpen


@strict
@dataclass(frozen=True, kw_only=True)
class ConfirmReply:
    """A holder's signature of a :class:`~fedjoint.encryption.opened.ToOpen`."""

    signature: str


@strict
@dataclass(frozen=True, kw_only=True)
class Opening:
    """A sum to be decrypted.

    Args:
        round: The round whose sum it is, from 1.
        contributors: Ids of the holders whose updates are in it, sorted.
        reveal: Whether this holder returns the sum itself; every holder returns its hash.
        confirmations: Of a quorum of holders.
    """

    round: int
    contributors: tuple[str, ...]
    reveal: bool
    confirmations: Confirmations

    def __post_init__(self) -> None:
        if list(self.contributors) != sorted(set(self.contributors)):
            raise InvalidValue("the contributors of a sum are not sorted and distinct")


@strict
@dataclass(frozen=True, kw_only=True)
class OpenTask(Task):
    """Decrypt a sum outside a round: after the last one, or when too few holders returned it.

    Blobs: ``sum`` (frame), and ``model`` if ``catch_up``.
    """

    opening: Opening
    catch_up: bool = False


@strict
@dataclass(frozen=True, kw_only=True)
class RoundTask(Task):
    """Train in a round, after opening the sum of the round before.

    Args:
        round: From 1.
        opening: The sum of the round before; None in round 1.
        catch_up: Whether the blob ``model`` holds the model before that sum, for a holder that missed a round.

    Blobs: ``sum`` (frame), ``model`` (:func:`fedjoint.training.aggregate.state_bytes`).
    """

    round: int
    opening: Opening | None = None
    catch_up: bool = False


@strict
@dataclass(frozen=True, kw_only=True)
class RoundReply:
    """A holder's part in a round. Blobs: ``frame`` (its encrypted update), and ``sum`` as in :class:`OpenReply`."""

    receipt: RoundReceipt
    signature: str
    opened: OpenReply | None = None


@strict
@dataclass(frozen=True, kw_only=True)
class SampleToOpen:
    """One masked, encrypted number: a contribution, or one for its error.

    Args:
        holder: Whose it is; ``CANARY``: nobody's (:func:`fedjoint.encryption.dot.canary_sample`).
        part: 0 to 3; more than one only if the encryption's precision had to be set anew during the run.
        error: 0: a contribution; from 1: the number of that place for its error, of which leading bits are opened.
    """

    holder: str
    part: int
    error: int = 0

    def __post_init__(self) -> None:
        most = 1 if self.holder == CANARY or self.error else MAX_PARTS
        if not 0 <= self.part < most:
            raise InvalidValue(f"part {self.part} of a contribution", expected=f"0 to {most - 1}")
        most = 0 if self.holder == CANARY else MOST_ERROR_NUMBERS
        if not 0 <= self.error <= most:
            raise InvalidValue(f"number {self.error} for the error of a contribution", expected=f"0 to {most}")

    @property
    def blob(self) -> str:
        """Name of the blob with the sample's frame: ``<holder>.<part>``, or ``<holder>.error.<number>``."""
        return f"{self.holder}.error.{self.error}" if self.error else f"{self.holder}.{self.part}"


@strict
@dataclass(frozen=True, kw_only=True)
class ContributionsTask(Task):
    """Decrypt the masked contributions, once in a run, with the confirmations of a quorum of holders."""

    samples: tuple[SampleToOpen, ...]
    confirmations: Confirmations

    def __post_init__(self) -> None:
        if len(set(self.samples)) != len(self.samples):
            raise InvalidValue("a contribution is to be opened twice", expected="each sample once")


@strict
@dataclass(frozen=True, kw_only=True)
class ContributionsReply:
    """The masked numbers in the order of the task, as decimal strings, signed with agreement and run."""

    values: tuple[str, ...]
    signature: str


@strict
@dataclass(frozen=True, kw_only=True)
class PutTask(Task):
    """Keep a part of a blob for the next task. Blob: ``part``.

    Args:
        blob: Its name in that task.
        size: Bytes of the whole blob.
        start: Where the part begins, from 0.
    """

    blob: str
    size: int
    start: int


@strict
@dataclass(frozen=True, kw_only=True)
class GetTask(Task):
    """Give out a part of a blob of the last reply.

    Args:
        blob: Its name in that reply.
        start: Where the part begins, from 0.
        size: Bytes of the part, unless the blob ends before.
    """

    blob: str
    start: int
    size: int


@strict
@dataclass(frozen=True, kw_only=True)
class PartReply:
    """Which part was taken, or is given out. Blob, of a part that is given out: ``part``."""

    start: int


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """A task or a reply on its way.

    Args:
        body: A record of this module.
        blobs: By name.
        left: Names and bytes of blobs that are not here, but travel in parts (:mod:`fedjoint.training.parts`).
    """

    body: Any
    blobs: Blobs = field(default_factory=dict)
    left: Mapping[str, int] = field(default_factory=dict)


@strict
@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A holder's "no", its silence, or an answer that had to be refused: a stable code, and words without a record."""

    code: str
    message: str

    @classmethod
    def because(cls, problem: FedjointError) -> Refusal:
        """The refusal that an error comes to."""
        return cls(code=problem.code, message=str(problem))


class Channel(Protocol):
    """How the coordinator reaches holders; implemented over Flower's Grid."""

    def exchange(self, kind: Kind, tasks: Mapping[str, Parcel]) -> Iterator[tuple[str, Parcel | Refusal]]:
        """Send each holder its task and give out the replies one by one, a :class:`Refusal` for each that fails."""
        ...


TASKS: Mapping[Kind, type[Task]] = {
    "join": Task,
    "make_key": Task,
    "take_key": TakeKeyTask,
    "train": RoundTask,
    "confirm": ConfirmTask,
    "open_sum": OpenTask,
    "open_contributions": ContributionsTask,
    "release": ReleaseTask,
    "open_release": OpenReleaseTask,
    "open_block": OpenBlockTask,
    "finish": Task,
    "put": PutTask,
    "get": GetTask,
}

REPLIES: Mapping[Kind, type[Any]] = {
    "join": JoinReply,
    "make_key": KeyReply,
    "take_key": Acknowledgement,
    "train": RoundReply,
    "confirm": ConfirmReply,
    "open_sum": OpenReply,
    "open_contributions": ContributionsReply,
    "release": ReleaseReply,
    "open_release": OpenReleaseReply,
    "open_block": OpenBlockReply,
    "finish": JoinReply,
    "put": PartReply,
    "get": PartReply,
}
