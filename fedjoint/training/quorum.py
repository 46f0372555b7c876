"""The coordinator's side of :mod:`fedjoint.training.confirming`: ask holders until a quorum has signed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fedjoint.encryption.opened import ConfirmedOpening, ToOpen
from fedjoint.errors import FedjointError
from fedjoint.strict import plain
from fedjoint.training.confirming import CONFIRM
from fedjoint.training.coordinator_state import CoordinatorMemory
from fedjoint.training.plan import Channel, Confirmations, ConfirmTask, Log, Parcel, Refusal
from fedjoint.training.session import Session

__all__ = ["Confirmed", "confirm"]


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """What holders answered when they were asked to confirm.

    Args:
        confirmations: Signatures by holder.
        refusals: Who did not confirm, and why.
        needed: The quorum.
    """

    confirmations: Confirmations
    refusals: Mapping[str, Refusal]
    needed: int

    @property
    def is_quorum(self) -> bool:
        """Whether it may be opened."""
        return len(self.confirmations) >= self.needed

    @property
    def counted(self) -> str:
        """How many confirmed it, in words."""
        return f"confirmed by {len(self.confirmations)} of at least {self.needed} holders"

    @property
    def reasons(self) -> str:
        """Why others did not."""
        return "; ".join(f"{holder}: {refusal.message}" for holder, refusal in sorted(self.refusals.items()))


def confirm(
    channel: Channel, session: Session, subject: ToOpen, *, holders: Iterable[str], memory: CoordinatorMemory, log: Log
) -> Confirmed:
    """Have holders confirm what is to be opened, unless they did, and write a quorum's signatures to the run record.

    Args:
        channel: How holders are reached.
        session: The run.
        subject: What is to be opened.
        holders: Who has the key; once a quorum has answered nobody is waited for.
        memory: Where a quorum's signatures are kept before they are used.
        log: Writes the run record.
    """
    known, place = memory.facts.confirmed, str(subject.slot)
    if place in known:
        kept = known[place]
        found = Confirmed(confirmations=kept.confirmations, refusals={}, needed=session.terms.quorum)
    else:
        found = _ask(channel, session, subject, holders)
        kept = ConfirmedOpening(subject=subject, confirmations=found.confirmations)
        if found.is_quorum:
            memory.remember(confirmed={**known, place: kept})
    if found.is_quorum:
        log("opening.confirmed", plain(kept))
    return found


def _ask(channel: Channel, session: Session, subject: ToOpen, holders: Iterable[str]) -> Confirmed:
    task = Parcel(body=ConfirmTask(**session.address, subject=subject))
    confirmations, refusals, needed = Confirmations(), dict[str, Refusal](), session.terms.quorum
    for holder, reply in channel.exchange("confirm", dict.fromkeys(sorted(holders), task)):
        if isinstance(reply, Refusal):
            refusals[holder] = reply
            continue
        try:
            session.check(holder, CONFIRM, subject, reply.body.signature)
            confirmations[holder] = reply.body.signature
        except FedjointError as problem:
            refusals[holder] = Refusal.because(problem)
        if len(confirmations) == needed:
            break
    return Confirmed(confirmations=dict(sorted(confirmations.items())), refusals=refusals, needed=needed)
