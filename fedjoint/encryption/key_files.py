"""A holder's own key on its disk, so that a restart does not end its part in the run.

The file is of mode 0600 and never overwritten, and holds the rounds that were begun: each is written down and synced
before its encryption, so that whatever happens the same holder never encrypts twice in a round under one key. It is
locked while it is open, so that no second process does either. An old copy of the file put back in its place would undo
that: do not restore it from a backup.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from fedjoint.encryption.binding import Binding
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.parameters import Parameters
from fedjoint.errors import EncryptionError
from fedjoint.files import sync_folder
from fedjoint.strict import plain

__all__ = ["erase_key", "load_key", "store_key"]

_FORMAT = "fedjoint-key-1"
_MAX_BYTES = 1 << 20


def store_key(key: SecretKey, path: Path) -> None:
    """Write a key to a new file, which from now on it writes each round to before encrypting.

    Args:
        key: As made or taken in the ceremony; closing it closes the file.
        path: Where there is nothing yet.

    Raises:
        EncryptionError: the file exists or cannot be written, or the key has a file already.
    """
    record = {
        "format": _FORMAT,
        "binding": plain(key.binding),
        "parameters_sha256": key.parameters.fingerprint,
        "key_id": key.key_id,
        "key": key.pack().hex(),
    }
    try:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise EncryptionError(f"{path} exists", remedy="Use it, or name another: keys are never overwritten.") from None
    except OSError as problem:
        raise EncryptionError(f"{path} cannot be written: {problem.strerror}") from None
    journal = _Journal(handle, path)
    try:
        journal.lock()
        journal.append(record)
        sync_folder(path.parent)
        key.keep_rounds(journal)
    except BaseException:
        journal.close()
        path.unlink()
        raise


def load_key(path: Path, *, parameters: Parameters, binding: Binding) -> SecretKey:
    """Read what :func:`store_key` wrote, with all rounds begun since.

    Args:
        path: The file; it stays open and locked until the key is closed.
        parameters: The run's, as this holder derives them from the agreement.
        binding: The run this holder is in.

    Raises:
        EncryptionError: the file is missing, readable by others, in use, damaged, or of another run or agreement.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as problem:
        raise EncryptionError(f"{path} cannot be read: {problem.strerror}", expected="a key file") from None
    journal = _Journal(handle, path)
    try:
        if os.fstat(handle).st_mode & 0o077:
            raise EncryptionError(f"{path} can be read by others", remedy=f"Run: chmod 600 {path}")
        journal.lock()
        record, rounds = journal.read()
        key = _key(record, parameters, binding, path)
        key.keep_rounds(journal, last_round=max(rounds, default=-1))
    except BaseException:
        journal.close()
        raise
    return key


def erase_key(path: Path) -> None:
    """Overwrite a key file and remove it, at the end of its run.

    On disks that never write in the same place twice (SSDs, copy-on-write file systems) the old bytes may stay.

    Raises:
        EncryptionError: there is no such file, or a key still uses it.
    """
    try:
        with path.open("r+b") as file:
            _lock(file.fileno(), path)
            file.write(bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
            path.unlink()
    except OSError as problem:
        raise EncryptionError(f"{path} cannot be erased: {problem.strerror}") from None


class _Journal:
    """An open key file: one JSON object a line, the key first, then the rounds."""

    def __init__(self, handle: int, path: Path) -> None:
        self._handle, self._path = handle, path

    def lock(self) -> None:
        _lock(self._handle, self._path)

    def append(self, record: dict[str, Any]) -> None:
        line = json.dumps(record).encode() + b"\n"
        try:
            written = os.write(self._handle, line)
            os.fsync(self._handle)
        except OSError as problem:
            raise EncryptionError(f"{self._path} cannot be written: {problem.strerror}") from None
        if written != len(line):
            raise EncryptionError(f"{self._path} cannot be written: the disk is full", remedy="Nothing was encrypted.")

    def write(self, round_number: int) -> None:
        self.append({"round": round_number})

    def read(self) -> tuple[dict[str, Any], list[int]]:
        """The key's record and the rounds; what a crash left of a last line was never encrypted for, and is cut off."""
        data = os.pread(self._handle, _MAX_BYTES, 0)
        whole = data[: data.rfind(b"\n") + 1]
        try:
            record, *rounds = (json.loads(line) for line in whole.splitlines())
            numbers = [int(entry["round"]) for entry in rounds]
        except (ValueError, TypeError, KeyError):
            raise EncryptionError(f"{self._path} is no key file", remedy="A new run makes a new key.") from None
        os.ftruncate(self._handle, len(whole))
        return record, numbers

    def close(self) -> None:
        os.close(self._handle)


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise EncryptionError(f"{path} is in use", remedy="End the other process of this holder first.") from None


def _key(record: dict[str, Any], parameters: Parameters, binding: Binding, path: Path) -> SecretKey:
    try:
        of = record["format"], record["binding"], record["parameters_sha256"]
        packed, key_id = bytes.fromhex(record["key"]), record["key_id"]
    except (KeyError, TypeError, ValueError):
        raise EncryptionError(f"{path} is no key file", remedy="A new run makes a new key.") from None
    if of != (_FORMAT, plain(binding), parameters.fingerprint):
        raise EncryptionError(
            f"{path} holds the key of another run, agreement or version",
            expected=f"that of run {binding.run_id[:16]} under agreement {binding.agreement_sha256[:16]}",
            remedy="Each run, and each change of members, needs a new key.",
        )
    key = SecretKey.unpack(packed, parameters, binding)
    if key.key_id != key_id:
        raise EncryptionError(f"{path} is damaged: its key is not {str(key_id)[:16]}", remedy="Make a new key.")
    return key
