"""The coordinator's side of a release that is made once: collect encrypted sums, add them, have the sum opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedjoint.agreement.slots import slot_of
from fedjoint.encryption.opened import MINIMUM_OPENERS, ToOpen
from fedjoint.encryption.scratch import sha256_of
from fedjoint.errors import FedjointError, TrainingError
from fedjoint.identity.keys import Identity
from fedjoint.strict import plain
from fedjoint.training.coordinator_state import CoordinatorMemory, ReleaseFacts
from fedjoint.training.plan import (
    Blob,
    Channel,
    Log,
    OncePurpose,
    OpenReleaseReply,
    OpenReleaseTask,
    Parcel,
    Refusal,
    ReleaseTask,
    released_facts,
)
from fedjoint.training.quorum import confirm
from fedjoint.training.session import Session
from fedjoint.training.summing import SumInProgress
from fedjoint.training.workplace import Workplace

__all__ = ["OpenedRelease", "ReleaseRound"]

_NAMES: Mapping[OncePurpose, str] = {
    "statistics": "statistics",
    "validation": "validation gradients",
    "metrics": "metrics",
}


@dataclass(frozen=True, kw_only=True)
class OpenedRelease:
    """A sum that was opened.

    Args:
        purpose: What it is for.
        contributors: Whose sums are in it, sorted.
        values: The sum in steps of the release's grid.
        round: Of a validation gradient: along whose path; else 0.
        opened: Holder to its signature over all that.
        refusals: Holder to the code of why it did not release.
    """

    purpose: OncePurpose
    contributors: tuple[str, ...]
    values: tuple[int, ...]
    round: int
    opened: Mapping[str, str]
    refusals: Mapping[str, str]

    def facts(self) -> dict[str, object]:
        """What the record says of it: of a validation gradient, which is as long as the model, its hash."""
        signed = released_facts(self.purpose, self.round, self.contributors, tuple(map(str, self.values)))
        return signed | {"opened": dict(self.opened), "refusals": dict(self.refusals)}


@dataclass(frozen=True, kw_only=True)
class ReleaseRound:
    """How a run's coordinator has something released once.

    Args:
        session: The run.
        channel: How holders are reached.
        coordinator: Signs the sum's frame.
        key_id: Of the run's key.
        memory: Where the sum is kept before anybody is asked to open it, and what it was opened to.
        log: Writes the run record.
        workplace: Where large arrays are kept.
    """

    session: Session
    channel: Channel
    coordinator: Identity
    key_id: str
    memory: CoordinatorMemory
    log: Log
    workplace: Workplace

    def run(self, purpose: OncePurpose, *, holders: Sequence[str], number: int = 0) -> OpenedRelease:
        """Have every holder release its noisy sums, and open only their sum.

        Args:
            purpose: Statistics, metrics, or the validation gradient of a round.
            holders: Who has the key.
            number: That round; else 0.

        Raises:
            TrainingError: too few holders took part or opened the sum, or two opened it differently.
        """
        task = ReleaseTask(**self.session.address, purpose=purpose, round=number)
        facts, frame = self._summed(task, holders)
        slot = slot_of(self.session.terms, purpose, number)
        if facts.opened is None:
            subject = ToOpen(slot=slot, contributors=facts.contributors, sha256=sha256_of(frame))
            opening = OpenReleaseTask(
                **self.session.address,
                purpose=purpose,
                contributors=facts.contributors,
                round=number,
                confirmations=self._confirmations(subject, purpose, holders),
            )
            values, signatures = self._open(opening, frame, holders)
            facts = dataclasses.replace(facts, opened=dict(sorted(signatures.items())))
            self.memory.keep_release(task.label, facts, "\n".join(values).encode())
        else:
            self.log("opening.confirmed", plain(self.memory.facts.confirmed[str(slot)]))
            values = tuple(bytes(self.memory.required(f"release.{task.label}")).decode().split("\n"))
        assert facts.opened is not None  # now or before
        return OpenedRelease(
            purpose=purpose,
            contributors=facts.contributors,
            values=tuple(map(int, values)),
            round=number,
            opened=facts.opened,
            refusals=facts.refusals,
        )

    def _confirmations(self, subject: ToOpen, purpose: OncePurpose, holders: Sequence[str]) -> dict[str, str]:
        found = confirm(self.channel, self.session, subject, holders=holders, memory=self.memory, log=self.log)
        if not found.is_quorum:
            raise TrainingError(f"the {_NAMES[purpose]} were {found.counted}. {found.reasons}")
        return found.confirmations

    def _summed(self, task: ReleaseTask, holders: Sequence[str]) -> tuple[ReleaseFacts, Blob]:
        """Collect a release, unless it was, and keep its sum before anybody is asked to open it."""
        known = self.memory.facts.releases.get(task.label)
        if known is not None:
            return known, b"" if known.opened is not None else self.memory.required(f"release.{task.label}")
        slot = slot_of(self.session.terms, task.purpose, task.round)
        total, contributors, refusals = self._collect(task, slot, holders)
        if len(contributors) < self.session.terms.training.minimum_holders:
            raise _too_few(task.purpose, "released by", contributors, refusals)
        frame = total.finish()
        codes = {holder: refusal.code for holder, refusal in sorted(refusals.items())}
        facts = ReleaseFacts(contributors=contributors, refusals=codes)
        self.memory.keep_release(task.label, facts, frame)
        return facts, frame

    def _collect(
        self, body: ReleaseTask, slot: int, holders: Sequence[str]
    ) -> tuple[SumInProgress, tuple[str, ...], dict[str, Refusal]]:
        total = SumInProgress(self.session, slot, self.key_id, coordinator=self.coordinator, workplace=self.workplace)
        taken, refusals = list[str](), dict[str, Refusal]()
        for holder, reply in self.channel.exchange("release", dict.fromkeys(holders, Parcel(body=body))):
            if isinstance(reply, Refusal):
                refusals[holder] = reply
                continue
            try:
                frame = reply.blobs.get("frame", b"")
                facts = {"purpose": body.purpose, "frame_sha256": sha256_of(frame)}
                self.session.check(holder, "release", facts, reply.body.signature)
                total.add(holder, frame)
                taken.append(holder)
            except FedjointError as problem:
                refusals[holder] = Refusal.because(problem)
        return total, tuple(sorted(taken)), refusals

    def _open(
        self, body: OpenReleaseTask, frame: Blob, holders: Sequence[str]
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        """All holders open it, as all need what it says; at least two must, and nobody may differ."""
        said, signatures, refusals = dict[str, tuple[str, ...]](), dict[str, str](), dict[str, Refusal]()
        tasks = dict.fromkeys(holders, Parcel(body=body, blobs={"sum": frame}))
        for holder, reply in self.channel.exchange("open_release", tasks):
            if isinstance(reply, Refusal):
                refusals[holder] = reply
                continue
            answer: OpenReleaseReply = reply.body
            try:
                self.session.check(holder, "opened release", body.facts(answer.values), answer.signature)
            except FedjointError as problem:
                refusals[holder] = Refusal.because(problem)
                continue
            said[holder], signatures[holder] = answer.values, answer.signature
        if len(said) < MINIMUM_OPENERS:
            raise _too_few(body.purpose, "opened by", tuple(said), refusals)
        if len(set(said.values())) > 1:
            raise TrainingError(
                f"the {_NAMES[body.purpose]} were opened differently by {', '.join(sorted(said))}",
                expected="the same sum from all",
                remedy="One of them, or its machine, is wrong: compare their records; the run stops here.",
            )
        return next(iter(said.values())), signatures


def _too_few(purpose: OncePurpose, what: str, holders: Sequence[str], refusals: Mapping[str, Refusal]) -> TrainingError:
    words = "; ".join(f"{holder}: {refusal.message}" for holder, refusal in sorted(refusals.items()))
    return TrainingError(f"the {_NAMES[purpose]} were {what} {len(holders)} holders, which are too few. {words}")
