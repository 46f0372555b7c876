"""The coordinator's side of a release that is made once: collect encrypted sums, add them, have the sum opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedjoint.encryption.opened import MINIMUM_OPENERS, ToOpen
from fedjoint.encryption.scratch import Bytes, sha256_of
from fedjoint.errors import FedjointError, TrainingError
from fedjoint.identity.keys import Identity
from fedjoint.training.confirming import confirm
from fedjoint.training.plan import (
    Channel,
    OncePurpose,
    OpenReleaseReply,
    OpenReleaseTask,
    Parcel,
    Refusal,
    ReleaseTask,
)
from fedjoint.training.session import Session
from fedjoint.training.summing import SumInProgress
from fedjoint.training.workplace import Workplace

__all__ = ["OpenedRelease", "ReleaseRound"]

_Log = Callable[[str, Mapping[str, Any]], object]


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
        workplace: Where large arrays are kept.
    """

    session: Session
    channel: Channel
    coordinator: Identity
    key_id: str
    log: _Log
    workplace: Workplace

    def run(self, purpose: OncePurpose, *, slot: int, holders: Sequence[str]) -> OpenedRelease:
        """Have every holder release its noisy sums, and open only their sum.

        Args:
            purpose: Statistics or metrics.
            slot: Which round's place under the key it takes.
            holders: Who has the key.

        Raises:
            TrainingError: too few holders took part or opened the sum, or two opened it differently.
        """
        total, contributors, refusals = self._collect(purpose, slot, holders)
        if len(contributors) < self.session.terms.training.minimum_holders:
            raise _too_few(purpose, "released by", contributors, refusals)
        frame = total.finish()
        subject = ToOpen(slot=slot, contributors=contributors, sha256=sha256_of(frame))
        found = confirm(self.channel, self.session, subject, holders=holders, log=self.log)
        if not found.is_quorum:
            raise TrainingError(f"the {purpose} were {found.counted}. {found.reasons}")
        body = OpenReleaseTask(
            **self.session.address, purpose=purpose, contributors=contributors, confirmations=found.confirmations
        )
        values, signatures = self._open(body, frame, holders)
        self.log(
            "release.opened",
            {
                "purpose": purpose,
                "contributors": list(contributors),
                "values": list(values),
                "opened": dict(sorted(signatures.items())),
                "refusals": {holder: refusal.code for holder, refusal in sorted(refusals.items())},
            },
        )
        return OpenedRelease(purpose=purpose, contributors=contributors, values=tuple(map(int, values)))

    def _collect(
        self, purpose: OncePurpose, slot: int, holders: Sequence[str]
    ) -> tuple[SumInProgress, tuple[str, ...], dict[str, Refusal]]:
        total = SumInProgress(self.session, slot, self.key_id, coordinator=self.coordinator, workplace=self.workplace)
        taken, refusals = list[str](), dict[str, Refusal]()
        task = Parcel(body=ReleaseTask(**self.session.address, purpose=purpose))
        for holder, reply in self.channel.exchange("release", dict.fromkeys(holders, task)):
            if isinstance(reply, Refusal):
                refusals[holder] = reply
                continue
            try:
                frame, body = reply.blobs.get("frame", b""), reply.body
                facts = {"purpose": purpose, "frame_sha256": sha256_of(frame)}
                self.session.check(holder, "release", facts, body.signature)
                total.add(holder, frame)
                taken.append(holder)
            except FedjointError as problem:
                refusals[holder] = Refusal.because(problem)
        return total, tuple(sorted(taken)), refusals

    def _open(
        self, body: OpenReleaseTask, frame: Bytes, holders: Sequence[str]
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
                f"the {body.purpose} were opened differently by {', '.join(sorted(said))}",
                expected="the same sum from all",
                remedy="One of them, or its machine, is wrong: compare their records; the run stops here.",
            )
        return next(iter(said.values())), signatures


def _too_few(purpose: OncePurpose, what: str, holders: Sequence[str], refusals: Mapping[str, Refusal]) -> TrainingError:
    words = "; ".join(f"{holder}: {refusal.message}" for holder, refusal in sorted(refusals.items()))
    return TrainingError(f"the {purpose} were {what} {len(holders)} holders, which are too few. {words}")
