"""Before anything is opened, a quorum of holders signs that it is the only one of its round.

A coordinator that cheats could give two holders two true sums of a round, over A, B, C and over A, B: their difference
is C's update. So every holder of the agreement signs one sum for each place of a run (a round, or what is opened once
in a run) and never another, and opens only what a quorum has signed: floor((n + c) / 2) + 1 of the agreement's n
holders, where c are assumed to help the coordinator (``privacy.colluders``). Two quorums have more than c holders in
common, so an honest one would have signed both, which it does not. n is the agreement's, known to all without asking
anybody, not the number of those the coordinator says are there. Who vanishes stops nothing while a quorum remains.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedjoint.agreement.canonical import canonical_bytes, sha256_hex
from fedjoint.agreement.slots import contributions_slot
from fedjoint.agreement.terms import Terms
from fedjoint.encryption.opened import CANARY, ToOpen
from fedjoint.encryption.scratch import sha256_of
from fedjoint.errors import IdentityError, InvalidValue, QuorumMissing
from fedjoint.training.plan import Blobs, Confirmations, SampleToOpen
from fedjoint.training.session import Session

__all__ = ["CONFIRM", "require_quorum", "samples_to_open"]

#: What a confirmation is signed for.
CONFIRM = "confirm"


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


def samples_to_open(terms: Terms, samples: Sequence[SampleToOpen], blobs: Blobs) -> ToOpen:
    """All samples of a run that are to be opened, as one thing.

    Args:
        terms: The agreement.
        samples: In order.
        blobs: Their frames; a missing one counts as empty.
    """
    frames = [[sample.blob, sha256_of(blobs.get(sample.blob, b""))] for sample in samples]
    contributors = tuple(sorted({sample.holder for sample in samples} - {CANARY}))
    digest = sha256_hex(canonical_bytes(frames))
    return ToOpen(slot=contributions_slot(terms), contributors=contributors, sha256=digest)
