"""All that a coordinator must not forget of a run when its process is killed, so that another takes it up again.

Before holders are asked for what they do only once, what it is about is kept: the sum that they are to open, the masks
under which contributions are opened. A coordinator that comes back asks for the very same, and holders that answered
before say the very same. Of a round that was under way nothing is kept: its updates are asked for again. And what goes
to the record is kept first, so that whoever comes back writes the same lines, or finds them written.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.encryption.ciphertext import Ciphertext
from fedjoint.encryption.opened import ConfirmedOpening
from fedjoint.encryption.parameters import DEGREE, Parameters
from fedjoint.encryption.streams import SEED_BYTES
from fedjoint.errors import TrainingError
from fedjoint.privacy.receipts import RoundReceipt
from fedjoint.strict import build, plain, strict
from fedjoint.training.aggregate import sum_from_bytes
from fedjoint.training.checkpoint import CheckpointStore, Kept, Piece
from fedjoint.training.plan import Blob, ContributionsReply, Refusal
from fedjoint.training.round import PendingRound, RoundSummary
from fedjoint.training.session import Session

__all__ = ["ClosedFacts", "CoordinatorFacts", "CoordinatorMemory", "Logged", "Prepared", "ReleaseFacts"]


@strict
@dataclass(frozen=True, kw_only=True)
class Logged:
    """An event of the record."""

    type: str
    body: dict[str, Any]


@strict
@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The ceremony's outcome.

    Args:
        key_id: Of the key that holders share.
        holders: Who has it, in the agreement's order.
        events: What the record says of it.
    """

    key_id: str
    holders: tuple[str, ...]
    events: tuple[Logged, ...]


@strict
@dataclass(frozen=True, kw_only=True)
class ClosedFacts:
    """A round: what the record says of it, and who refused.

    Args:
        summed: Body of ``round.summed``.
        refusals: Who did not take part, and why.
        opened: Body of ``round.opened``; empty before.
    """

    summed: dict[str, Any]
    refusals: dict[str, Refusal]
    opened: dict[str, Any] = field(default_factory=dict)


@strict
@dataclass(frozen=True, kw_only=True)
class ReleaseFacts:
    """A release that is made once.

    Args:
        contributors: Whose sums are in it, sorted.
        refusals: Who refused, and the codes why.
        opened: Holder to its signature over what it opened; None before.

    Blob: ``release.LABEL``, the sum's frame, and once it is opened the sum, decimal numbers in lines.
    """

    contributors: tuple[str, ...]
    refusals: dict[str, str]
    opened: dict[str, str] | None = None


@strict
@dataclass(frozen=True, kw_only=True)
class CoordinatorFacts:
    """What a coordinator must remember of a run.

    Args:
        prepared: None before the ceremony of keys is over.
        model_round: For each holder, the round whose sum it opened last.
        steps: For each holder, the noisy steps it has accounted for.
        active: Holders that are asked to train.
        rounds: How many rounds are closed. Blobs: ``round.N`` (:class:`ClosedFacts`) and ``levels.N``.
        pending: The round whose sum is made and not opened. Blobs: ``pending.sum`` and ``pending.update.HOLDER``.
        ended: What the record says of an early end.
        end: The same in words.
        releases: Releases made once, by purpose; of validation gradients by purpose and round.
        contributions: What holders opened of them, by holder.
        confirmed: What a quorum has confirmed, by place in the run.
        valuation: What the valuation keeps. Blobs: ``valuation.*``.
    """

    prepared: Prepared | None = None
    model_round: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    active: tuple[str, ...] = ()
    rounds: int = 0
    pending: ClosedFacts | None = None
    ended: Logged | None = None
    end: str = ""
    releases: dict[str, ReleaseFacts] = field(default_factory=dict)
    contributions: dict[str, ContributionsReply] = field(default_factory=dict)
    confirmed: dict[str, ConfirmedOpening] = field(default_factory=dict)
    valuation: dict[str, Any] = field(default_factory=dict)


class CoordinatorMemory(Kept[CoordinatorFacts]):
    """What a coordinator remembers of one run.

    Args:
        session: The run.
        store: Where it is kept; None: only here, and of rounds and updates nothing.
    """

    def __init__(self, session: Session, store: CheckpointStore | None = None) -> None:
        super().__init__(CoordinatorFacts(), store)
        self._session = session
        self._known = weakref.WeakKeyDictionary[Ciphertext, str]()  # written once, however often they are named

    def stage_pending(self, current: PendingRound | None) -> None:
        """Take a round's sum and updates as those that are to be opened next; None if there are none."""
        self.drop("pending.")
        if current is None or not self.lasts:
            self.stage(pending=None)
            return
        self.stage(
            {"pending.sum": current.frame},
            pending=ClosedFacts(summed=current.summed(), refusals=current.refusals),
        )
        for holder, update in current.updates.items():
            self.stage_ciphertext(f"pending.update.{holder}", update)

    def pending(self) -> PendingRound | None:
        """The round that was to be opened next.

        Raises:
            TrainingError: what is kept of it is damaged.
        """
        facts = self.facts.pending
        if facts is None:
            return None
        receipts = _receipts(facts)
        return PendingRound(
            number=int(facts.summed["round"]),
            updates={holder: self.ciphertext(f"pending.update.{holder}") for holder in receipts},
            receipts=receipts,
            signatures=dict(facts.summed["signatures"]),
            refusals=dict(facts.refusals),
            frame=self.required("pending.sum"),
        )

    def stage_closed(self, summary: RoundSummary, closed: ClosedFacts) -> None:
        """Take a round as closed."""
        blobs: dict[str, Piece] = {}
        if self.lasts:
            blobs[f"round.{summary.round}"] = canonical_bytes(closed)
            blobs[f"levels.{summary.round}"] = summary.levels.view(np.uint8)
        self.stage(blobs, rounds=summary.round)

    def closed(self, number: int) -> tuple[RoundSummary, ClosedFacts]:
        """A round that was closed.

        Raises:
            TrainingError: what is kept of it is damaged.
        """
        value = parse_canonical(bytes(self.required(f"round.{number}")), error=TrainingError, where=f"round {number}")
        closed = build(ClosedFacts, value, error=TrainingError, where=f"round {number}")
        receipts = _receipts(closed)
        summary = RoundSummary(
            round=number,
            contributors=tuple(sorted(receipts)),
            refusals=closed.refusals,
            metrics=closed.opened["metrics"],
            loss=float(closed.opened["loss"]),
            receipts=receipts,
            levels=sum_from_bytes(self.required(f"levels.{number}"), self._session.terms),
        )
        return summary, closed

    def stage_valuation(self, facts: object, blobs: Mapping[str, Piece | Ciphertext]) -> None:
        """Take what the valuation keeps, all of it."""
        if self.lasts:
            self.drop("valuation.")
            self.stage(valuation=plain(facts))
            for label, data in blobs.items():
                if isinstance(data, Ciphertext):
                    self.stage_ciphertext(f"valuation.{label}", data)
                else:
                    self.stage({f"valuation.{label}": data})

    def keep_release(self, label: str, facts: ReleaseFacts, data: Blob) -> None:
        """Keep how far a release that is made once is."""
        if self.lasts:
            self.remember({f"release.{label}": data}, releases={**self.facts.releases, label: facts})

    def stage_ciphertext(self, label: str, ciphertext: Ciphertext) -> None:
        """Name an encrypted update, and write it if it is not there yet."""
        if self._store is not None:
            if ciphertext not in self._known:
                self._known[ciphertext] = self._store.put(*_pieces(ciphertext))
            self._names[label] = self._known[ciphertext]

    def ciphertext(self, label: str) -> Ciphertext:
        """An encrypted update of one holder, as it was named.

        Raises:
            TrainingError: it is missing or damaged.
        """
        found = _ciphertext(self.required(label), self._session.parameters)
        self._known[found] = self._names[label]
        return found

    def required(self, label: str) -> Blob:
        """A blob that must be there.

        Raises:
            TrainingError: it is not, or is damaged.
        """
        found = self.blob(label)
        if found is None:
            raise TrainingError(f"'{label}' of the run is not kept", remedy="The run cannot be taken up again.")
        return found


def _receipts(facts: ClosedFacts) -> dict[str, RoundReceipt]:
    said = facts.summed["receipts"]
    return {holder: build(RoundReceipt, receipt, error=TrainingError, where=holder) for holder, receipt in said.items()}


def _pieces(ciphertext: Ciphertext) -> list[Piece]:
    """The words, the second polynomials if there are any, and the seeds."""
    arrays = [ciphertext.c0] + ([ciphertext.c1] if ciphertext.c1 is not None else [])
    return [*(array.astype("<u8", copy=False).reshape(-1).view(np.uint8) for array in arrays), *ciphertext.seeds]


def _ciphertext(data: Blob, parameters: Parameters) -> Ciphertext:
    words = parameters.num_words
    second = parameters.num_polynomials * DEGREE if parameters.scheme == "seal" else 0
    seeds = 0 if second else SEED_BYTES
    if len(data) != 8 * (words + second) + seeds:
        raise TrainingError(f"an encrypted update of {len(data)} bytes", remedy="The run cannot be taken up again.")
    c0 = np.frombuffer(data, "<u8", count=words)
    c1 = np.frombuffer(data, "<u8", count=second, offset=8 * words).reshape(-1, DEGREE) if second else None
    return Ciphertext(parameters=parameters, count=1, c0=c0, c1=c1, seeds=(bytes(data[8 * words :]),) if seeds else ())
