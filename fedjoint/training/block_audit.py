"""The coordinator's side of :mod:`fedjoint.training.blocks`: add up each agreed block, have it confirmed and opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fedjoint.agreement.slots import block_slot, slot_of
from fedjoint.encryption.ciphertext import Accumulator, Ciphertext
from fedjoint.encryption.frames import pack_frame
from fedjoint.encryption.opened import MINIMUM_OPENERS, ToOpen
from fedjoint.encryption.scratch import sha256_of
from fedjoint.errors import FedjointError, TrainingError
from fedjoint.identity.keys import Identity
from fedjoint.strict import plain
from fedjoint.training.aggregate import Levels, sum_from_bytes
from fedjoint.training.block_messages import OpenBlockTask, block_facts
from fedjoint.training.coordinator_state import CoordinatorMemory, ReleaseFacts
from fedjoint.training.plan import Channel, Log, Parcel, Refusal
from fedjoint.training.quorum import Confirmed, confirm
from fedjoint.training.session import Session

__all__ = ["BlockAudit"]


class BlockAudit:
    """Has the sums of agreed blocks opened, round by round.

    A block of which somebody is missing in a round is not opened in it; nor one that holders refuse, which ends no run.

    Args:
        session: The run.
        channel: How holders are reached.
        coordinator: Signs the sums' frames.
        memory: Where opened sums are kept.
        log: Writes the run record.
    """

    def __init__(
        self, session: Session, channel: Channel, coordinator: Identity, *, memory: CoordinatorMemory, log: Log
    ) -> None:
        self._session, self._channel, self._coordinator = session, channel, coordinator
        self._memory, self._log = memory, log
        #: By round and block, in levels of the fixed point.
        self.sums: dict[tuple[int, int], Levels] = {}

    def open_round(
        self, number: int, updates: Mapping[str, Ciphertext], *, key_id: str, holders: Sequence[str]
    ) -> None:
        """Open a round's blocks, or give out again what was opened before this process began.

        Args:
            number: The round, whose sum is opened.
            updates: Its updates; none where it was closed before.
            key_id: Of the run's key.
            holders: Who has it.

        Raises:
            TrainingError: two holders opened a block differently.
        """
        for block, members in enumerate(self._session.terms.valuation.audit_blocks):
            known = self._memory.facts.releases.get(_label(number, block))
            if known is None and set(members) <= set(updates):
                known = self._open(number, block, updates, key_id=key_id, holders=holders)
            elif known is not None:
                self._again(number, block, known)
            if known is not None:
                self._write(number, block, known)

    def _open(
        self, number: int, block: int, updates: Mapping[str, Ciphertext], *, key_id: str, holders: Sequence[str]
    ) -> ReleaseFacts:
        terms = self._session.terms
        members, total = terms.valuation.audit_blocks[block], Accumulator(self._session.parameters)
        for member in members:
            total.add(updates[member])
        header = self._session.frame("sum", slot_of(terms, "training", number), key_id)
        frame = pack_frame(total.total(), header=header, sender=self._coordinator)
        subject = ToOpen(slot=block_slot(terms, number, block), contributors=members, sha256=sha256_of(frame))
        found = confirm(self._channel, self._session, subject, holders=holders, memory=self._memory, log=self._log)
        opened, refusals = dict[str, str](), dict(found.refusals)
        if found.is_quorum:
            opened, said = self._ask((number, block), found, frame, holders=holders)
            refusals |= said
        facts = ReleaseFacts(
            contributors=members,
            refusals={holder: refusal.code for holder, refusal in sorted(refusals.items())},
            opened=dict(sorted(opened.items())),
        )
        levels = self.sums.get((number, block))
        self._memory.keep_release(_label(number, block), facts, b"" if levels is None else levels.view(np.uint8))
        return facts

    def _ask(
        self, place: tuple[int, int], found: Confirmed, frame: bytes, *, holders: Sequence[str]
    ) -> tuple[dict[str, str], dict[str, Refusal]]:
        """Ask two holders at a time until two have opened it alike."""
        number, block = place
        body = OpenBlockTask(**self._session.address, round=number, block=block, confirmations=found.confirmations)
        opened, refusals, waiting = dict[str, str](), dict[str, Refusal](), list(holders)
        while len(opened) < MINIMUM_OPENERS and waiting:
            count = MINIMUM_OPENERS - len(opened)
            asked, waiting = waiting[:count], waiting[count:]
            tasks = dict.fromkeys(asked, Parcel(body=body, blobs={"sum": frame}))
            for holder, reply in self._channel.exchange("open_block", tasks):
                if isinstance(reply, Refusal):
                    refusals[holder] = reply
                    continue
                try:
                    levels = self._checked(place, holder, reply)
                except FedjointError as problem:
                    refusals[holder] = Refusal.because(problem)
                    continue
                if (self.sums.setdefault(place, levels) != levels).any():
                    raise TrainingError(
                        f"block {block} of round {number} was opened differently by {holder}",
                        remedy="One of the machines is wrong: compare their records; the run stops here.",
                    )
                opened[holder] = reply.body.signature
        if len(opened) < MINIMUM_OPENERS:
            self.sums.pop(place, None)
            return {}, refusals
        return opened, refusals

    def _checked(self, place: tuple[int, int], holder: str, reply: Parcel) -> Levels:
        levels = sum_from_bytes(reply.blobs.get("sum", b""), self._session.terms)
        facts = block_facts(*place, sha256_of(levels))
        self._session.check(holder, "opened block", facts, reply.body.signature)
        return levels

    def _again(self, number: int, block: int, known: ReleaseFacts) -> None:
        """What was confirmed and opened before: nobody is asked."""
        confirmed = self._memory.facts.confirmed.get(str(block_slot(self._session.terms, number, block)))
        if confirmed is not None:
            self._log("opening.confirmed", plain(confirmed))
        if known.opened:
            kept = self._memory.required(f"release.{_label(number, block)}")
            self.sums[number, block] = sum_from_bytes(kept, self._session.terms)

    def _write(self, number: int, block: int, known: ReleaseFacts) -> None:
        where = {"round": number, "block": block, "contributors": list(known.contributors)}
        if not known.opened:
            self._log("block.refused", {**where, "refusals": known.refusals})
            return
        digest = sha256_of(self.sums[number, block])
        self._log("block.opened", {**where, "sum_sha256": digest, "opened": known.opened, "refusals": known.refusals})


def _label(number: int, block: int) -> str:
    return f"block {number} {block}"
