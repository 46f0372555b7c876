"""The run record: append-only lines, hashed into a Merkle tree whose root the coordinator signs and holders witness.

A line is the canonical JSON of an event, ``{seq, type, at, body}``, or of a checkpoint
(:class:`fedjoint.record.checkpoint.SignedCheckpoint`) of all events above it. Events are the leaves of the tree
(RFC 9162), so no event under a checkpoint can be changed, removed, added or moved unnoticed, and short proofs show one
event to somebody who has not the rest. A last event of type :data:`CLOSED` says that nothing was cut off.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.errors import RecordError
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.record.checkpoint import Checkpoint, SignedCheckpoint, require_signed, sign_checkpoint
from fedjoint.record.merkle import Frontier, MerkleTree, leaf_hash
from fedjoint.record.witness import Prove
from fedjoint.strict import build, strict

__all__ = ["CLOSED", "MAX_LINE_BYTES", "AskWitnesses", "Event", "ReadRecord", "RunRecord", "origin_of", "read_record"]

CLOSED = "run.closed"
MAX_LINE_BYTES = 64 << 20
#: Hands a new checkpoint to the witnesses and brings their countersignatures by party id.
AskWitnesses = Callable[[SignedCheckpoint, Prove], Mapping[str, str]]


@strict
@dataclass(frozen=True, kw_only=True)
class Event:
    """One event of the record.

    Args:
        seq: Its number, from 0: its place in the tree.
        type: What happened, such as ``round.closed``.
        at: When, ISO 8601 in UTC.
        body: The facts, plain JSON.
    """

    seq: int
    type: str
    at: str
    body: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ReadRecord:
    """A record whose every signature was checked.

    Args:
        events: In order.
        checkpoint: The last, of all of them.
    """

    events: tuple[Event, ...]
    checkpoint: SignedCheckpoint


def origin_of(agreement_sha256: str, run_id: str) -> str:
    """What the checkpoints of a run's record name as their log."""
    return f"{agreement_sha256}/{run_id}"


class RunRecord:
    """Writes a record: each event is on disk before :meth:`append` returns.

    Args:
        path: A file that does not exist yet, or with ``resume`` one that a killed process left.
        origin: From :func:`origin_of`.
        signer: The coordinator.
        now: Gives the time of an event, ISO 8601 in UTC.
        batch_events: After so many events a checkpoint is signed, and after the last one.
        witnesses: Who countersigns the checkpoints; None: nobody.
        resume: Go on with the file, if there is one. What a crash left of a last line was never heard of, and is cut
            off. An event that stands there already, to the byte, is not written again.

    Raises:
        RecordError: the file exists; or with ``resume``, it is not the beginning of this record.
    """

    def __init__(
        self,
        path: Path,
        origin: str,
        signer: Identity,
        *,
        now: Callable[[], str],
        batch_events: int = 1,
        witnesses: AskWitnesses | None = None,
        resume: bool = False,
    ) -> None:
        self._origin, self._signer, self._now = origin, signer, now
        self._batch_events, self._witnesses = batch_events, witnesses
        self._tree, self._covered, self._closed = MerkleTree(), 0, False
        self._written: dict[bytes, Event] = {}  # by another process
        again = resume and path.exists()
        try:
            self._file: BinaryIO = path.open("r+b" if again else "xb")
        except FileExistsError:
            raise RecordError(
                f"{path} exists", remedy="A record is never overwritten: choose another run.name."
            ) from None
        if again:
            try:
                self._go_on(path.name)
            except BaseException:
                self._file.close()
                raise

    def append(self, kind: str, body: Mapping[str, Any]) -> Event:
        """Write one event, and a checkpoint where a batch ends; one that another process wrote stays as it is.

        Returns:
            The event as it stands in the record.

        Raises:
            RecordError: the record is closed, the line is longer than :data:`MAX_LINE_BYTES`, or a witness refuses.
            AgreementError: the facts have no canonical JSON.
        """
        if self._written and (known := self._written.get(_facts(kind, body))) is not None:
            return known
        if self._closed:
            raise RecordError(f"the record is closed and '{kind}' came after", remedy="Start another run.")
        event = Event(seq=len(self._tree), type=kind, at=self._now(), body=dict(body))
        line = canonical_bytes(event)
        if len(line) >= MAX_LINE_BYTES:  # the reader counts the newline too
            raise RecordError(f"an event '{kind}' of {len(line)} bytes", expected=f"less than {MAX_LINE_BYTES}")
        self._write(line)
        self._tree.append(leaf_hash(line))
        self._closed = kind == CLOSED
        if self._closed or len(self._tree) - self._covered >= self._batch_events:
            self._checkpoint(event.at)
        return event

    def find(self, kind: str) -> Event | None:
        """The first event of a kind that another process wrote, if there is one."""
        return next((event for event in self._written.values() if event.type == kind), None)

    def _go_on(self, name: str) -> None:
        """Read what there is, make it end with a whole line, and sign a checkpoint if the record's end lacks one."""
        reading, end = _Reading(), 0
        for number, line in enumerate(iter(lambda: self._file.readline(MAX_LINE_BYTES + 1), b""), start=1):
            if not line.endswith(b"\n"):
                break
            where = f"{name} line {number}"
            value = _parse_line(line, where)
            if "checkpoint" in value:
                self._require_own(build(SignedCheckpoint, value, error=RecordError, where=where), reading, where)
                self._covered = len(self._tree)
            else:
                event = build(Event, value, error=RecordError, where=where)
                reading.add(event, line[:-1], where)
                self._tree.append(leaf_hash(line[:-1]))
                self._written[_facts(event.type, event.body)] = event
            end += len(line)
        self._file.truncate(end)
        self._file.seek(end)
        self._closed = reading.ended
        if self._closed and self._covered < len(self._tree):
            self._checkpoint(reading.events[-1].at)

    def _require_own(self, signed: SignedCheckpoint, reading: _Reading, where: str) -> None:
        """Refuse a checkpoint that this coordinator did not sign of exactly the events above it."""
        agreement_sha256 = self._origin.partition("/")[0]
        try:
            reading.cover(signed, agreement_sha256)
            require_signed(dataclasses.replace(signed, witnesses={}), self._signer.public)
            if signed.checkpoint.origin != self._origin:
                raise RecordError(f"the checkpoint is of log '{signed.checkpoint.origin}'", expected=self._origin)
        except RecordError as problem:
            raise RecordError(f"{where}: {problem}") from None

    def _checkpoint(self, at: str) -> None:
        size = len(self._tree)
        root = self._tree.root(size).hex()
        signed = sign_checkpoint(Checkpoint(origin=self._origin, size=size, root=root, at=at), self._signer)
        if self._witnesses is not None:
            signed = dataclasses.replace(signed, witnesses=dict(self._witnesses(signed, self._prove)))
        self._write(canonical_bytes(signed))
        self._covered = size

    def _prove(self, old: int) -> tuple[str, ...]:
        """The consistency proof from an older size to now."""
        return tuple(node.hex() for node in self._tree.consistency(old, len(self._tree)))

    def _write(self, line: bytes) -> None:
        self._file.write(line + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> RunRecord:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_record(
    path: Path,
    agreement_sha256: str,
    signer: PublicIdentity,
    *,
    witnesses: Mapping[str, PublicIdentity] | None = None,
) -> ReadRecord:
    """Read a record and check all of it.

    Args:
        path: ``record.jsonl``.
        agreement_sha256: What the run was agreed in.
        signer: The coordinator of the agreement.
        witnesses: Who may have countersigned, by party id: the holders of the agreement.

    Raises:
        RecordError: there is no such file; or names the line: not canonical, out of order, not covered by a signed
            checkpoint with the right root, countersigned by a stranger, cut off or continued after its end.

    Guarantees:
        Every event stands as it was when the coordinator signed, and nothing is missing or added.
    """
    if not path.is_file():
        raise RecordError(f"there is no record {path}", remedy="Name the file record.jsonl of a run folder.")
    reading, number = _Reading(), 0
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1):
            where = f"{path.name} line {number}"
            value = _parse_line(line, where)
            if reading.ended and (reading.last is not None or "checkpoint" not in value):
                raise RecordError(f"{where} comes after the record's end")
            if "checkpoint" not in value:
                reading.add(build(Event, value, error=RecordError, where=where), line[:-1], where)
                continue
            try:
                signed = build(SignedCheckpoint, value, error=RecordError)
                reading.cover(signed, agreement_sha256)
                require_signed(signed, signer, witnesses=witnesses)
            except RecordError as problem:
                raise RecordError(f"{where}: {problem}") from None
    if reading.last is None or not reading.ended:
        raise RecordError(
            f"{path.name} ends after line {number} without '{CLOSED}' under a signed checkpoint",
            remedy="The run was cut off or the file cut.",
        )
    return ReadRecord(events=tuple(reading.events), checkpoint=reading.last)


class _Reading:
    """The events read so far, the root of their tree, and the checkpoint right above, if any."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.last: SignedCheckpoint | None = None
        self._frontier = Frontier()

    @property
    def ended(self) -> bool:
        return bool(self.events) and self.events[-1].type == CLOSED

    def add(self, event: Event, line: bytes, where: str) -> None:
        if event.seq != len(self.events):
            raise RecordError(f"{where} does not follow the line before", remedy="A line was removed, added or moved.")
        self._frontier.append(leaf_hash(line))
        self.events.append(event)
        self.last = None

    def cover(self, signed: SignedCheckpoint, agreement_sha256: str) -> None:
        """Take a checkpoint of exactly these events, of this agreement, and of the run that the first event names."""
        checkpoint = signed.checkpoint
        here = (len(self.events), self._frontier.root().hex())
        if not self.events or self.last is not None or (checkpoint.size, checkpoint.root) != here:
            raise RecordError(
                "the checkpoint is of other events than those above it",
                remedy="A line above it was changed, removed, added or moved.",
            )
        run_id = self.events[0].body.get("run_id")
        if not isinstance(run_id, str) or checkpoint.origin != origin_of(agreement_sha256, run_id):
            raise RecordError(
                f"the checkpoint is of log '{checkpoint.origin}'", expected="that of this agreement and run"
            )
        self.last = signed


def _facts(kind: str, body: Mapping[str, Any]) -> bytes:
    """What makes two events the same, whenever they were written."""
    return canonical_bytes({"type": kind, "body": dict(body)})


def _parse_line(line: bytes, where: str) -> dict[str, Any]:
    if not line.endswith(b"\n") or len(line) > MAX_LINE_BYTES:
        raise RecordError(f"{where} is cut off or longer than {MAX_LINE_BYTES} bytes")
    value = parse_canonical(line[:-1], error=RecordError, where=where)
    if not isinstance(value, dict):
        raise RecordError(f"{where} is neither an event nor a checkpoint")
    return value
