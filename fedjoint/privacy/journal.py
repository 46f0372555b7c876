"""An append-only file of JSON lines that outlives crashes and notices most of what else can happen to a file.

Each line holds the SHA-256 of the line before, and is on the disk before :meth:`Journal.append` returns. A second file
beside it (``NAME.counter``) says how many lines there are and what the last one is: a ledger put back from a backup has
fewer. What it cannot notice is both files put back together, or both removed; note the head that
``fedjoint holder budget`` prints, or keep the folder out of backups that restore in place.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedjoint.agreement.canonical import canonical_bytes, sha256_hex
from fedjoint.errors import PrivacyError
from fedjoint.strict import build, strict

__all__ = ["Journal", "Line", "counter_path", "create_journal", "open_journal"]

MAX_FILE_BYTES = 256 << 20
_FORMAT = "fedjoint-lifetime-1"
_START = sha256_hex(_FORMAT.encode())
_NEVER_REMOVED = "If it was put back from a backup or moved, put the newest one back; never start a new one over it."


@strict
@dataclass(frozen=True, kw_only=True)
class Line:
    """One line.

    Args:
        seq: Its number, from 0.
        type: What happened.
        at: When, ISO 8601 in UTC.
        body: The facts.
        previous: SHA-256 of the line before.
    """

    seq: int
    type: str
    at: str
    body: dict[str, Any]
    previous: str


@strict
@dataclass(frozen=True, kw_only=True)
class _Counter:
    """The last line known to be written, and its SHA-256."""

    seq: int
    head: str


def counter_path(path: Path) -> Path:
    """Where the counter of a journal is."""
    return path.with_name(path.name + ".counter")


class Journal:
    """An open and locked journal; made by :func:`open_journal`.

    Args:
        handle: Of the open file.
        path: Its name.
        lines: What it holds.
        head: SHA-256 of the last line.
        data: All lines as they stand in the file.
    """

    def __init__(self, handle: int, path: Path, *, lines: list[Line], head: str, data: bytes) -> None:
        self._handle, self._path = handle, path
        self.lines, self.head, self.data = lines, head, data

    def append(self, kind: str, body: dict[str, Any], *, at: str) -> str:
        """Write one line.

        Returns:
            SHA-256 of the line.

        Raises:
            PrivacyError: it is not certain to be on the disk. It may count; nothing may be released because of it.
        """
        line = Line(seq=len(self.lines), type=kind, at=at, body=body, previous=self.head)
        data = canonical_bytes(line)
        try:
            end = os.fstat(self._handle).st_size
            if os.write(self._handle, data + b"\n") != len(data) + 1:
                os.ftruncate(self._handle, end)
                raise OSError(None, "the disk is full")
            os.fsync(self._handle)
            self.lines.append(line)
            self.data += data + b"\n"
            self.head = sha256_hex(data)
            _write_counter(self._path, _Counter(seq=line.seq, head=self.head))
        except OSError as problem:
            raise _cannot_write(self._path, problem) from None
        return self.head


def create_journal(path: Path, kind: str, body: dict[str, Any], *, at: str) -> None:
    """Make a journal with its first line.

    Raises:
        PrivacyError: the file exists, or existed and its counter still stands, or cannot be written.
    """
    line = canonical_bytes(Line(seq=0, type=kind, at=at, body=body, previous=_START))
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as problem:
        raise _cannot_write(path, problem) from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # of two that create it at once, the second finds it
        if os.path.lexists(path):
            raise PrivacyError(f"{path} exists", remedy="Use it, or name another: a ledger is never overwritten.")
        counter = _read_counter(path, missing_is_none=True)
        if counter is not None and counter.seq > 0:
            raise PrivacyError(
                f"{path} had {counter.seq + 1} lines, says {counter_path(path).name}, and a new one would forget them",
                remedy=_NEVER_REMOVED,
            )
        # the counter first: a crash in between leaves one of a ledger in which nothing was ever charged
        _write_counter(path, _Counter(seq=0, head=sha256_hex(line)))
        _replace(path, line + b"\n")
    except OSError as problem:
        raise _cannot_write(path, problem) from None
    finally:
        os.close(folder)


@contextmanager
def open_journal(path: Path, *, writing: bool, known: Journal | None = None) -> Iterator[Journal]:
    """Open, lock, read and check a journal.

    Whoever writes has it alone; who else wants it waits. What a crash left of a line that was never finished is cut
    off when it is next opened for writing: its writer was never told that it counts, so nothing was released for it. A
    line that only lacks its end counts.

    Args:
        path: The file.
        writing: Whether lines will be added.
        known: As it was when it was open before: what was read and checked then is only compared.

    Raises:
        PrivacyError: the file or its counter is missing, open to others, damaged, or older than its counter.
    """
    flags = (os.O_RDWR | os.O_APPEND if writing else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        handle = os.open(path, flags)
    except OSError as problem:
        raise PrivacyError(
            f"{path} cannot be opened: {problem.strerror}",
            expected="a lifetime ledger",
            remedy="Make one with `fedjoint holder budget FILE --create`.",
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if writing else fcntl.LOCK_SH)
        _require_private(handle, path)
        data = _read_all(handle, path)
        whole = _whole(data)
        lines, head = _read_lines(whole, path, known)
        counter = _read_counter(path)
        assert counter is not None  # it was not allowed to be missing
        _require_newest(counter, lines, head, path)
        if writing:
            _finish(handle, path, data=data, whole=whole)
            if counter.head != head:
                _write_counter(path, _Counter(seq=len(lines) - 1, head=head))
        yield Journal(handle, path, lines=lines, head=head, data=whole)
    finally:
        os.close(handle)


def _require_private(handle: int, path: Path) -> None:
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        raise PrivacyError(f"{path} is no file", expected="a lifetime ledger")
    if found.st_mode & 0o077:
        raise PrivacyError(f"{path} is open to others", expected="mode 0600", remedy=f"Run: chmod 600 {path}")
    if found.st_nlink == 0:
        raise PrivacyError(f"{path} was replaced while it was opened", remedy=_NEVER_REMOVED)


def _read_all(handle: int, path: Path) -> bytes:
    size = os.fstat(handle).st_size
    if size > MAX_FILE_BYTES:
        raise PrivacyError(f"{path} has {size} bytes", expected=f"at most {MAX_FILE_BYTES}")
    return os.pread(handle, size, 0)


def _whole(data: bytes) -> bytes:
    """The finished lines, and a last one that only lacks its end."""
    finished = data.rfind(b"\n") + 1
    try:
        json.loads(data[finished:])
    except ValueError:
        return data[:finished]
    return data + b"\n"


def _finish(handle: int, path: Path, *, data: bytes, whole: bytes) -> None:
    """Make what a crash left behind end with a whole line."""
    try:
        if len(whole) > len(data):
            os.write(handle, b"\n")
            os.fsync(handle)
        elif len(whole) < len(data):
            os.ftruncate(handle, len(whole))
            os.fsync(handle)
    except OSError as problem:
        raise _cannot_write(path, problem) from None


def _read_lines(whole: bytes, path: Path, known: Journal | None) -> tuple[list[Line], str]:
    lines: list[Line] = []
    previous, unread = _START, whole
    if known is not None and whole.startswith(known.data):
        lines, previous, unread = list(known.lines), known.head, whole[len(known.data) :]
    for number, data in enumerate(unread.split(b"\n")[:-1], start=len(lines)):
        where = f"{path.name} line {number + 1}"
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            raise PrivacyError(f"{where} is damaged", remedy=_NEVER_REMOVED) from None
        line = build(Line, value, error=PrivacyError, where=where)
        if line.seq != number or line.previous != previous:
            raise PrivacyError(f"{where} does not follow the line before", remedy=_NEVER_REMOVED)
        previous = sha256_hex(data)
        lines.append(line)
    if not lines:
        raise PrivacyError(f"{path} has no line", expected="a lifetime ledger", remedy=_NEVER_REMOVED)
    return lines, previous


def _require_newest(counter: _Counter, lines: list[Line], head: str, path: Path) -> None:
    """The counter is written after each line: it is of the last line, or after a crash of the one before."""
    if counter.seq >= len(lines):
        raise PrivacyError(
            f"{path} has {len(lines)} lines and had {counter.seq + 1}",
            expected="as many as its counter says",
            remedy=_NEVER_REMOVED,
        )
    known = {len(lines) - 1: head, len(lines) - 2: lines[-1].previous}
    if known.get(counter.seq) != counter.head:
        raise PrivacyError(f"{path} and {counter_path(path).name} are not of one ledger", remedy=_NEVER_REMOVED)


def _read_counter(path: Path, *, missing_is_none: bool = False) -> _Counter | None:
    counter = counter_path(path)
    try:
        value = json.loads(counter.read_bytes()[:4096])
    except FileNotFoundError:
        if missing_is_none:
            return None
        raise PrivacyError(
            f"{counter} is missing", expected="the counter of the ledger", remedy=_NEVER_REMOVED
        ) from None
    except (OSError, ValueError):
        raise PrivacyError(f"{counter} cannot be read or is damaged", remedy=_NEVER_REMOVED) from None
    return build(_Counter, value, error=PrivacyError, where=counter.name)


def _write_counter(path: Path, counter: _Counter) -> None:
    _replace(counter_path(path), canonical_bytes(counter))


def _replace(path: Path, data: bytes) -> None:
    """Give a name to new contents in one step. Whoever does has the lock, so the other name is never shared."""
    new = path.with_name(path.name + ".new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.write(handle, data) != len(data):
            raise OSError(None, "the disk is full")
        os.fsync(handle)
    finally:
        os.close(handle)
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)  # the name, too, must be on the disk
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _cannot_write(path: Path, problem: OSError) -> PrivacyError:
    return PrivacyError(
        f"{path} cannot be written: {problem.strerror}", remedy="Nothing may be released until it can be."
    )
