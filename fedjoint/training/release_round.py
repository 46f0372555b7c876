"""The coordinator's side of a release that is made once: collect encrypted sums, add them, have the sum opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.encryption.ciphertext import Accumulator, Ciphertext
from fedjoint.encryption.frames import pack_frame, parse_frame
from fedjoint.encryption.opened import MINIMUM_OPENERS
from fedjoint.errors import FedjointError, TrainingError
from fedjoint.identity.keys import Identity
from fedjoint.training.coordinator_state import CoordinatorMemory, ReleaseFacts
from fedjoint.training.plan import (
    Channel,
    Log,
    OncePurpose,
    OpenReleaseReply,
    OpenReleaseTask,
    Parcel,
    Refusal,
    ReleaseReply,
    ReleaseTask,
)
from fedjoint.training.session import Session

__all__ = ["OpenedRelease", "ReleaseRound"]


@dataclass(frozen=True, kw_only=True)
class OpenedRelease:
    """A sum that was opened.

    Args:
        purpose: What it is for.
        contributors: Whose sums are in it, sorted.
        values: The sum in steps of the release's grid.
    """

    purpose: OncePurpose
    contributors: tuple[str, ...]
    values: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ReleaseRound:
    """How a run's coordinator has something released once.

    Args:
        session: The run.
        channel: How holders are reached.
        coordinator: Signs the sum's frame.
        key_id: Of the run's key.
        log: Writes the run record.
        memory: Where the sum is kept before anybody is asked to open it.
    """

    session: Session
    channel: Channel
    coordinator: Identity
    key_id: str
    log: Log
    memory: CoordinatorMemory

    def run(self, purpose: OncePurpose, *, slot: int, holders: Sequence[str]) -> OpenedRelease:
        """Have every holder release its noisy sums, and open only their sum.

        Args:
            purpose: Statistics or metrics.
            slot: Which round's place under the key it takes.
            holders: Who has the key.

        Raises:
            TrainingError: too few holders took part or opened the sum, or two opened it differently.
        """
        known = self.memory.facts.releases.get(purpose) or self._summed(purpose, slot, holders)
        if known.opened is None:
            frame = self.memory.required(f"release.{purpose}")
            values, signatures = self._open(purpose, frame, known.contributors, holders)
            opened = {
                "purpose": purpose,
                "contributors": list(known.contributors),
                "values": list(values),
                "opened": dict(sorted(signatures.items())),
                "refusals": dict(sorted(known.refusals.items())),
            }
            known = dataclasses.replace(known, opened=opened)
            self.memory.keep_release(purpose, known)
        assert known.opened is not None  # now or before
        self.log("release.opened", known.opened)
        values = known.opened["values"]
        return OpenedRelease(purpose=purpose, contributors=known.contributors, values=tuple(map(int, values)))

    def _summed(self, purpose: OncePurpose, slot: int, holders: Sequence[str]) -> ReleaseFacts:
        """Collect a release, and keep its sum before anybody is asked to open it."""
        total, contributors, refusals = self._collect(purpose, slot, holders)
        if len(contributors) < self.session.terms.training.minimum_holders:
            raise _too_few(purpose, "released by", contributors, refusals)
        header = self.session.frame("sum", slot, self.key_id)
        frame = pack_frame(total.total(), header=header, sender=self.coordinator)
        codes = {holder: refusal.code for holder, refusal in refusals.items()}
        facts = ReleaseFacts(contributors=contributors, refusals=codes)
        self.memory.keep_release(purpose, facts, frame)
        return facts

    def _collect(
        self, purpose: OncePurpose, slot: int, holders: Sequence[str]
    ) -> tuple[Accumulator, tuple[str, ...], dict[str, Refusal]]:
        total, taken, refusals = Accumulator(self.session.parameters), list[str](), dict[str, Refusal]()
        task = Parcel(body=ReleaseTask(**self.session.address, purpose=purpose))
        for holder, reply in self.channel.exchange("release", dict.fromkeys(holders, task)):
            if isinstance(reply, Refusal):
                refusals[holder] = reply
                continue
            try:
                total.add(self._update_of(holder, purpose, slot, reply))
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
        self, purpose: OncePurpose, frame: bytes, contributors: tuple[str, ...], holders: Sequence[str]
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        """All holders open it, as all need what it says; at least two must, and nobody may differ."""
        body = OpenReleaseTask(**self.session.address, purpose=purpose, contributors=contributors)
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
            raise _too_few(purpose, "opened by", tuple(said), refusals)
        if len(set(said.values())) > 1:
            raise TrainingError(
                f"the {purpose} were opened differently by {', '.join(sorted(said))}",
                expected="the same sum from all",
                remedy="One of them, or its machine, is wrong: compare their records; the run stops here.",
            )
        return next(iter(said.values())), signatures


def _too_few(purpose: OncePurpose, what: str, holders: Sequence[str], refusals: Mapping[str, Refusal]) -> TrainingError:
    words = "; ".join(f"{holder}: {refusal.message}" for holder, refusal in sorted(refusals.items()))
    return TrainingError(f"the {purpose} were {what} {len(holders)} holders, which are too few. {words}")
