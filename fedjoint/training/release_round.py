"""The coordinator's side of a release that is made once: collect encrypted sums, add them, have the sum opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.agreement.slots import slot_of
from fedjoint.encryption.ciphertext import Accumulator, Ciphertext
from fedjoint.encryption.frames import pack_frame, parse_frame
from fedjoint.encryption.opened import MINIMUM_OPENERS
from fedjoint.errors import FedjointError, TrainingError
from fedjoint.identity.keys import Identity
from fedjoint.training.coordinator_state import CoordinatorMemory, ReleaseFacts
from fedjoint.training.plan import (
    Channel,
    OncePurpose,
    OpenReleaseReply,
    OpenReleaseTask,
    Parcel,
    Refusal,
    ReleaseReply,
    ReleaseTask,
    released_facts,
)
from fedjoint.training.session import Session

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
    """

    session: Session
    channel: Channel
    coordinator: Identity
    key_id: str
    memory: CoordinatorMemory

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
        if facts.opened is None:
            opening = OpenReleaseTask(
                **self.session.address, purpose=purpose, contributors=facts.contributors, round=number
            )
            values, signatures = self._open(opening, frame, holders)
            facts = dataclasses.replace(facts, opened=dict(sorted(signatures.items())))
            self.memory.keep_release(task.label, facts, "\n".join(values).encode())
        else:
            values = tuple(self.memory.required(f"release.{task.label}").decode().split("\n"))
        assert facts.opened is not None  # now or before
        return OpenedRelease(
            purpose=purpose,
            contributors=facts.contributors,
            values=tuple(map(int, values)),
            round=number,
            opened=facts.opened,
            refusals=facts.refusals,
        )

    def _summed(self, task: ReleaseTask, holders: Sequence[str]) -> tuple[ReleaseFacts, bytes]:
        """Collect a release, unless it was, and keep its sum before anybody is asked to open it."""
        known = self.memory.facts.releases.get(task.label)
        if known is not None:
            return known, b"" if known.opened is not None else self.memory.required(f"release.{task.label}")
        slot = slot_of(self.session.terms, task.purpose, task.round)
        total, contributors, refusals = self._collect(task, slot, holders)
        if len(contributors) < self.session.terms.training.minimum_holders:
            raise _too_few(task.purpose, "released by", contributors, refusals)
        header = self.session.frame("sum", slot, self.key_id)
        frame = pack_frame(total.total(), header=header, sender=self.coordinator)
        codes = {holder: refusal.code for holder, refusal in sorted(refusals.items())}
        facts = ReleaseFacts(contributors=contributors, refusals=codes)
        self.memory.keep_release(task.label, facts, frame)
        return facts, frame

    def _collect(
        self, body: ReleaseTask, slot: int, holders: Sequence[str]
    ) -> tuple[Accumulator, tuple[str, ...], dict[str, Refusal]]:
        total, taken, refusals = Accumulator(self.session.parameters), list[str](), dict[str, Refusal]()
        for holder, reply in self.channel.exchange("release", dict.fromkeys(holders, Parcel(body=body))):
            if isinstance(reply, Refusal):
                refusals[holder] = reply
                continue
            try:
                total.add(self._update_of(holder, body.purpose, slot, reply))
                taken.append(holder)
            except FedjointError as problem:
                refusals[holder] = Refusal.because(problem)
        return total, tuple(sorted(taken)), refusals

    def _update_of(self, holder: str, purpose: OncePurpose, slot: int, reply: Parcel) -> Ciphertext:
        body: ReleaseReply = reply.body
        frame = reply.blobs.get("frame", b"")
        facts = {"purpose": purpose, "frame_sha256": sha256_hex(frame)}
        self.session.check(holder, "release", facts, body.signature)
        return parse_frame(
            frame,
            expected=self.session.frame("update", slot, self.key_id),
            sender=self.session.terms.holder(holder).identity,
            parameters=self.session.parameters,
        )

    def _open(
        self, body: OpenReleaseTask, frame: bytes, holders: Sequence[str]
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
