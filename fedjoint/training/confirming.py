"""Before anything is opened, a quorum of holders signs that it is the only one of its round.

A coordinator that cheats could give two holders two true sums of a round, over A, B, C and over A, B: their difference
is C's update. So every holder of the agreement signs one sum for each place of a run (a round, or what is opened once
in a run) and never another, and opens only what a quorum has signed: floor((n + c) / 2) + 1 of the agreement's n
holders, where c are assumed to help the coordinator (``privacy.colluders``). Two quorums have more than c holders in
common, so an honest one would have signed both, which it does not. n is the agreement's, known to all without asking
anybody, not the number of those the coordinator says are there. Who vanishes stops nothing while a quorum remains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedjoint.agreement.canonical import canonical_bytes, sha256_hex
from fedjoint.encryption.opened import ToOpen
from fedjoint.encryption.scratch import sha256_of
from fedjoint.errors import FedjointError, IdentityError, InvalidValue, QuorumMissing
from fedjoint.strict import plain
from fedjoint.training.plan import Blobs, Channel, Confirmations, ConfirmTask, Parcel, Refusal
from fedjoint.training.session import Session

__all__ = ["CONFIRM", "Confirmed", "confirm", "require_quorum", "samples_to_open"]

#: What a confirmation is signed for.
CONFIRM = "confirm"
_Log = Callable[[str, Mapping[str, Any]], object]


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


def confirm(channel: Channel, session: Session, subject: ToOpen, *, holders: Iterable[str], log: _Log) -> Confirmed:
    """Have holders confirm what is to be opened, and write a quorum's signatures to the run record.

    Args:
        channel: How holders are reached.
        session: The run.
        subject: What is to be opened.
        holders: Who has the key; once a quorum has answered nobody is waited for.
        log: Writes the run record.
    """
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
    found = Confirmed(confirmations=dict(sorted(confirmations.items())), refusals=refusals, needed=needed)
    if found.is_quorum:
        log("opening.confirmed", {"subject": plain(subject), "confirmations": found.confirmations})
    return found


def require_quorum(session: Session, subject: ToOpen, confirmations: Confirmations) -> None:
    """What a holder demands before it opens anything.

    Raises:
        QuorumMissing: too few holders of the agreement signed exactly this.
    """
    signed = sum(_is_signed(session, subject, holder, by) for holder, by in confirmations.items())
    if signed < session.terms.quorum:
        raise QuorumMissing(
            f"{signed} holders have confirmed that this is the only sum in place {subject.slot}",
            expected=f"{session.terms.quorum} of {len(session.terms.holders)}",
            remedy="The coordinator must have it confirmed by a quorum first.",
        )


def _is_signed(session: Session, subject: ToOpen, holder: str, signature: str) -> bool:
    try:
        session.check(holder, CONFIRM, subject, signature)
    except (IdentityError, InvalidValue):
        return False
    return True


def samples_to_open(slot: int, names: Sequence[tuple[str, str]], blobs: Blobs) -> ToOpen:
    """All samples that are to be opened, as one thing.

    Args:
        slot: Their place in the run.
        names: Holder and blob of each sample, in order.
        blobs: Their frames; a missing one counts as empty.
    """
    frames = [[blob, sha256_of(blobs.get(blob, b""))] for _, blob in names]
    contributors = tuple(sorted({holder for holder, _ in names}))
    return ToOpen(slot=slot, contributors=contributors, sha256=sha256_hex(canonical_bytes(frames)))
