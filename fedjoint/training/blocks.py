"""Sums of blocks of holders, opened for audit: what a holder signs for and decrypts, and what it refuses.

An auditor who has the reference records values the sum of a block in the clear and compares it with what the members
were paid by, one number each, off the ciphertexts. By agreement alone, under local noise alone; and never a set of sums
from which one update could be solved (:mod:`fedjoint.valuation.disclosure`), not even by a member who tells another its
own update, and not if updates stayed the same from round to round. A holder asks that before it signs an agreement,
before it signs for a block and again before it decrypts one. The sum of all who took part in a round is opened in any
case: training goes by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fedjoint.agreement.slots import block_at, block_slot, slot_of
from fedjoint.agreement.terms import Terms
from fedjoint.agreement.valuation_terms import LEAST_BLOCK
from fedjoint.encryption.opened import ToOpen
from fedjoint.encryption.scratch import sha256_of
from fedjoint.errors import EncryptionError
from fedjoint.training.block_messages import OpenBlockReply, OpenBlockTask, block_facts
from fedjoint.training.holder_key import HolderKey
from fedjoint.training.holder_state import RunMemory
from fedjoint.training.plan import Blobs, Parcel
from fedjoint.valuation.disclosure import Opened, admit, coalition_sum

__all__ = ["disclosed_with", "open_block", "require_blocks"]

#: How many holders may tell each other their own updates.
_COLLUDERS = LEAST_BLOCK - 2


def require_blocks(terms: Terms) -> None:
    """Refuse an agreement whose blocks would give an update away even if everybody takes part in every round.

    Raises:
        ValuationError: names whose.
    """
    opened = _opened(terms, {})
    whole = coalition_sum(opened, terms.holder_ids)
    admit(opened, 1, [whole, *(coalition_sum(opened, block) for block in terms.valuation.audit_blocks)])


def disclosed_with(
    terms: Terms, known: Mapping[str, tuple[str, ...]], subject: ToOpen
) -> Mapping[str, tuple[str, ...]]:
    """What counts as opened once a sum is signed for or decrypted: by place, whose updates are in it.

    Args:
        terms: The agreement.
        known: What counted before.
        subject: The sum of a round, which is taken down; or that of a block, which is judged.

    Raises:
        EncryptionError: the block has other members than agreed.
        ValuationError: with all sums of this run so far it would give an update away.
    """
    place = str(subject.slot)
    found = block_at(terms, subject.slot)
    if found is None:
        is_round = 0 < subject.slot <= slot_of(terms, "training", terms.training.rounds)
        return {**known, place: subject.contributors} if is_round else known
    number, block = found
    if subject.contributors != terms.valuation.audit_blocks[block]:
        raise EncryptionError(
            f"a sum of {', '.join(subject.contributors)} as block {block}", expected="the members that were agreed"
        )
    of_all = known.get(str(slot_of(terms, "training", number)))  # a block of all who took part tells nothing new
    if place not in known and subject.contributors != of_all:
        opened = _opened(terms, known)
        admit(opened, number, [coalition_sum(opened, subject.contributors)])
    return {**known, place: subject.contributors}


def _opened(terms: Terms, known: Mapping[str, tuple[str, ...]]) -> Opened:
    """The account so far; as updates may change little from round to round, all sums count together."""
    opened = Opened(holders=terms.holder_ids, colluders=_COLLUDERS, lasting=True)
    sums = tuple(sorted({coalition_sum(opened, members) for members in known.values()}))
    return Opened(holders=terms.holder_ids, colluders=_COLLUDERS, lasting=True, sums={0: sums})


def open_block(
    terms: Terms,
    task: OpenBlockTask,
    blobs: Blobs,
    *,
    key: HolderKey,
    memory: RunMemory,
    sign: Callable[[str, object], str],
) -> Parcel:
    """Decrypt the sum of a block; asked again, say the same.

    Raises:
        EncryptionError: no such block was agreed, a quorum has not confirmed it, or it is not of its members.
        ValuationError: it would give an update away.
    """
    if not (0 <= task.block < len(terms.valuation.audit_blocks) and 0 < task.round <= terms.training.rounds):
        raise EncryptionError(f"block {task.block} of round {task.round}", expected="a block that was agreed")
    frame = blobs.get("sum", b"")
    subject = ToOpen(
        slot=block_slot(terms, task.round, task.block),
        contributors=terms.valuation.audit_blocks[task.block],
        sha256=sha256_of(frame),
    )
    memory.remember(disclosed=dict(disclosed_with(terms, memory.facts.disclosed, subject)))
    levels = key.decrypted_sum(
        subject, frame, task.confirmations, encrypted_at=slot_of(terms, "training", task.round)
    ).astype("<u8", copy=False)
    digest = sha256_of(levels)
    signature = sign("opened block", block_facts(task.round, task.block, digest))
    return Parcel(body=OpenBlockReply(sum_sha256=digest, signature=signature), blobs={"sum": levels.view("u1")})
