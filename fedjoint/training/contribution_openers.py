"""Holders that open the masked contributions of a run: a quorum confirms which, two decrypt them and must agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fedjoint.encryption.frames import pack_frame
from fedjoint.encryption.opened import MINIMUM_OPENERS
from fedjoint.errors import FedjointError, ValuationError
from fedjoint.identity.keys import Identity
from fedjoint.training.confirming import samples_to_open
from fedjoint.training.coordinator_state import CoordinatorMemory
from fedjoint.training.plan import (
    Channel,
    ContributionsReply,
    ContributionsTask,
    Log,
    Parcel,
    Refusal,
    SampleToOpen,
)
from fedjoint.training.quorum import confirm
from fedjoint.training.session import Session
from fedjoint.valuation.encrypted import MaskedContribution

__all__ = ["ContributionOpeners", "agreed_values"]


@dataclass(frozen=True, kw_only=True)
class ContributionOpeners:
    """Whom a coordinator has open contributions, and how it reaches them.

    Args:
        session: The run.
        channel: How holders are reached.
        key_id: Of the run's key.
        coordinator: Signs what holders are asked to open.
        holders: Who has the key; asked two at a time until two have answered.
        log: Writes the run record.
        memory: Where answers are kept before they are used.
    """

    session: Session
    channel: Channel
    key_id: str
    coordinator: Identity
    holders: Sequence[str]
    log: Log
    memory: CoordinatorMemory

    def open(self, masked: Sequence[MaskedContribution]) -> Mapping[str, ContributionsReply]:
        """Have the masked numbers confirmed and decrypted, unless they were: then, what holders answered.

        Raises:
            ValuationError: too few holders confirmed or opened them, or two opened them differently.
        """
        task = self._confirmed(self._task(masked))
        replies: Mapping[str, ContributionsReply] = self.memory.facts.contributions
        if not replies:
            replies = self._ask(task)
            agreed_values(replies)
            self.memory.remember(contributions=dict(replies))
        return replies

    def _task(self, masked: Sequence[MaskedContribution]) -> Parcel:
        samples = tuple(SampleToOpen(holder=item.holder, part=item.part, error=item.error) for item in masked)
        frames = [
            pack_frame(item.sample, header=self.session.frame("sample", number, self.key_id), sender=self.coordinator)
            for number, item in enumerate(masked)
        ]
        blobs = {sample.blob: frame for sample, frame in zip(samples, frames, strict=True)}
        return Parcel(body=ContributionsTask(**self.session.address, samples=samples, confirmations={}), blobs=blobs)

    def _confirmed(self, task: Parcel) -> Parcel:
        """The task with the signatures of a quorum that these are the only samples of the run."""
        subject = samples_to_open(self.session.terms, task.body.samples, task.blobs)
        found = confirm(self.channel, self.session, subject, holders=self.holders, memory=self.memory, log=self.log)
        if not found.is_quorum:
            raise ValuationError(f"the contributions were {found.counted}. {found.reasons}")
        return Parcel(body=replace(task.body, confirmations=found.confirmations), blobs=task.blobs)

    def _ask(self, task: Parcel) -> dict[str, ContributionsReply]:
        replies: dict[str, ContributionsReply] = {}
        waiting = list(self.holders)
        while len(replies) < MINIMUM_OPENERS and waiting:
            asked, waiting = waiting[: MINIMUM_OPENERS - len(replies)], waiting[MINIMUM_OPENERS - len(replies) :]
            for holder, reply in self.channel.exchange("open_contributions", dict.fromkeys(asked, task)):
                checked = self._checked(holder, reply, task.body)
                if isinstance(checked, Refusal):
                    self.log("contributions.refused", {"holder": holder, "code": checked.code})
                else:
                    replies[holder] = checked
        return replies

    def _checked(self, holder: str, reply: Parcel | Refusal, task: ContributionsTask) -> ContributionsReply | Refusal:
        """What a holder opened, if it signed for it and it can be what was asked for."""
        if isinstance(reply, Refusal):
            return reply
        opened: ContributionsReply = reply.body
        facts = {"samples": [sample.blob for sample in task.samples], "values": list(opened.values)}
        try:
            self.session.check(holder, "contributions", facts, opened.signature)
            if len(opened.values) != len(task.samples) or not all(map(_is_number, opened.values)):
                raise ValuationError(f"'{holder}' opened other than {len(task.samples)} whole numbers")
        except FedjointError as problem:
            return Refusal.because(problem)
        return opened


def agreed_values(replies: Mapping[str, ContributionsReply]) -> list[int]:
    """What holders opened alike, in the order of the task.

    Raises:
        ValuationError: too few opened them, or two did differently.
    """
    said = {reply.values for reply in replies.values()}
    if len(replies) < MINIMUM_OPENERS or len(said) > 1:
        raise ValuationError(
            f"{len(replies)} holders opened the contributions to {len(said)} different results",
            expected=f"{MINIMUM_OPENERS} holders and the same result",
            remedy="Nobody is paid on numbers that holders do not agree on: compare their logs.",
        )
    return [int(value) for value in said.pop()]


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) <= 20
