"""The run record: append-only lines, each signed by the coordinator and chained to the one before by its hash.

Line format: canonical JSON of ``{seq, type, at, body, previous, signature}``. ``previous`` is the SHA-256 of the line
before (of the agreement, for the first), ``signature`` the coordinator's over the line without it. So no line can be
changed, removed, added or moved unnoticed; a last line of type :data:`CLOSED` says that nothing was cut off.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical, sha256_hex
from fedjoint.errors import IdentityError, RecordError
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.strict import build, plain, strict

__all__ = ["CLOSED", "MAX_LINE_BYTES", "Event", "RunRecord", "read_record"]

CLOSED = "run.closed"
MAX_LINE_BYTES = 64 << 20
_PURPOSE = "record"


@strict
@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of the record.

    Args:
        seq: Its number, from 0.
        type: What happened, such as ``round.closed``.
        at: When, ISO 8601 in UTC.
        body: The facts, plain JSON.
        previous: SHA-256 of the line before.
        signature: The coordinator's.
    """

    seq: int
    type: str
    at: str
    body: dict[str, Any]
    previous: str
    signature: str = ""

    def signed_bytes(self) -> bytes:
        """What the signature covers."""
        return canonical_bytes({name: value for name, value in plain(self).items() if name != "signature"})


class RunRecord:
    """Writes a record: each event is on disk before :meth:`append` returns.

    Args:
        path: A file that does not exist yet.
        agreement_sha256: What the chain starts from.
        signer: The coordinator.
        now: Gives the time of an event, ISO 8601 in UTC.

    Raises:
        RecordError: the file exists.
    """

    def __init__(self, path: Path, agreement_sha256: str, signer: Identity, *, now: Callable[[], str]) -> None:
        self._signer, self._now = signer, now
        self._seq, self._previous, self._closed = 0, agreement_sha256, False
        try:
            self._file: BinaryIO = path.open("xb")
        except FileExistsError:
            raise RecordError(
                f"{path} exists", remedy="A record is never overwritten: choose another run.name."
            ) from None

    def append(self, kind: str, body: Mapping[str, Any]) -> Event:
        """Sign, chain and write one event.

        Raises:
            RecordError: the record is closed, or the line is longer than :data:`MAX_LINE_BYTES`.
            AgreementError: the facts have no canonical JSON.
        """
        if self._closed:
            raise RecordError(f"the record is closed and '{kind}' came after", remedy="Start another run.")
        event = Event(seq=self._seq, type=kind, at=self._now(), body=dict(body), previous=self._previous)
        signature = self._signer.sign(_PURPOSE, event.signed_bytes())
        event = dataclasses.replace(event, signature=signature)
        line = canonical_bytes(event)
        if len(line) >= MAX_LINE_BYTES:  # the reader counts the newline too
            raise RecordError(f"an event '{kind}' of {len(line)} bytes", expected=f"less than {MAX_LINE_BYTES}")
        self._file.write(line + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._seq, self._previous, self._closed = self._seq + 1, sha256_hex(line), kind == CLOSED
        return event

    @property
    def head(self) -> str:
        """SHA-256 of the last line: it commits to everything before."""
        return self._previous

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> RunRecord:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_record(path: Path, agreement_sha256: str, signer: PublicIdentity) -> Iterator[Event]:
    """Read a record line by line, checking each before it is given out.

    Args:
        path: ``record.jsonl``.
        agreement_sha256: What the chain must start from.
        signer: The coordinator of the agreement.

    Yields:
        The events in order.

    Raises:
        RecordError: there is no such file; or names the line: not canonical, out of order, not chained, not signed, cut
            off or continued after its end.
    """
    if not path.is_file():
        raise RecordError(f"there is no record {path}", remedy="Name the file record.jsonl of a run folder.")
    previous, closed, number = agreement_sha256, False, 0
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1):
            where = f"{path.name} line {number}"
            if closed:
                raise RecordError(f"{where} comes after the record's end")
            event = _read_line(line, where)
            if event.seq != number - 1 or event.previous != previous:
                raise RecordError(
                    f"{where} does not follow the line before", remedy="A line was removed, added or moved."
                )
            try:
                signer.verify(_PURPOSE, event.signed_bytes(), event.signature)
            except IdentityError as problem:
                raise RecordError(f"{where}: {problem}") from None
            previous, closed = sha256_hex(line.rstrip(b"\n")), event.type == CLOSED
            yield event
    if not closed:
        raise RecordError(
            f"{path.name} ends after line {number} without '{CLOSED}'", remedy="The run was cut off or the file cut."
        )


def _read_line(line: bytes, where: str) -> Event:
    if not line.endswith(b"\n") or len(line) > MAX_LINE_BYTES:
        raise RecordError(f"{where} is cut off or longer than {MAX_LINE_BYTES} bytes")
    return build(Event, parse_canonical(line[:-1], error=RecordError, where=where), error=RecordError, where=where)
