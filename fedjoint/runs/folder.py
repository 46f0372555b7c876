"""The folder of a run: complete, or not there at all."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from fedjoint.errors import RecordError

__all__ = [
    "AGREEMENT",
    "BLOCKS",
    "GRADIENTS",
    "LEDGER",
    "MODEL",
    "RECORD",
    "REPORT",
    "REPORT_PAGE",
    "STATEMENTS",
    "SUMS",
    "NewRunFolder",
    "file_hashes",
]

AGREEMENT, RECORD, MODEL, SUMS = "agreement.json", "record.jsonl", "model.safetensors", "sums.bin"
GRADIENTS, BLOCKS = "gradients.bin", "blocks.safetensors"
REPORT, REPORT_PAGE, LEDGER, STATEMENTS = "report.json", "report.html", "ledger.sqlite", "statements"
_PARTIAL = ".partial"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class NewRunFolder:
    """Collects a run's files beside their final place, and takes that place in one step when all is there.

    Args:
        parent: Where run folders stand; made if missing.
        name: 1 to 100 of letters, digits, ``.``, ``_``, ``-``; does not start with a sign.
        work: Where files are collected by a caller that comes back if it is killed: on the same disk, of this run
            alone; None: in a folder that nobody comes back to.

    Raises:
        RecordError: a malformed name, a folder of that name, or a place that cannot be written.

    Guarantees:
        Used as a context manager, it leaves the complete folder (after :meth:`publish`) or nothing. If the process is
        killed, no folder has the run's name, and the next run in the same place removes what was collected; what stands
        in ``work`` stays.
    """

    def __init__(self, parent: Path, name: str, *, work: Path | None = None) -> None:
        if not _NAME.fullmatch(name):
            raise RecordError(f"run.name = '{name}'", expected="1 to 100 of A-Z, a-z, 0-9, '.', '_' and '-'")
        self.final = parent / name
        if self.final.exists():
            raise RecordError(f"{self.final} exists", remedy="A run is never overwritten: choose another run.name.")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(parent)
            if work is None:
                work = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=_PARTIAL, dir=parent))
            else:
                work.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._work, self._is_kept = work, False
            self._lock = _locked(self._work)
            (self._work / STATEMENTS).mkdir(exist_ok=True)
        except OSError as problem:
            raise RecordError(f"{parent} cannot be written: {problem.strerror}", remedy="Set run.folder.") from None

    def path(self, *parts: str) -> Path:
        """Where a file of the run is collected."""
        return self._work.joinpath(*parts)

    def write(self, data: bytes, *parts: str) -> None:
        """Write one file and have it reach the disk."""
        with self.path(*parts).open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def clear(self) -> None:
        """Remove what a process that was killed had collected, but for the record, which goes on."""
        for path in self._work.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != RECORD:
                path.unlink()
        (self._work / STATEMENTS).mkdir()

    def keep(self) -> None:
        """Leave what was collected, for a run that goes on later."""
        self._is_kept = True

    def publish(self) -> Path:
        """Take the final place.

        Raises:
            RecordError: somebody took that place meanwhile.
        """
        self._work.chmod(0o755)
        try:
            self._work.rename(self.final)
        except OSError:
            raise RecordError(f"{self.final} was made meanwhile", remedy="Choose another run.name.") from None
        return self.final

    def __enter__(self) -> NewRunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_kept:
            shutil.rmtree(self._work, ignore_errors=True)  # gone after publish
        os.close(self._lock)


def _locked(folder: Path) -> int:
    """Lock a folder for as long as the handle is open, the process's life at most.

    Raises:
        OSError: it is locked, or gone.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def _remove_leftovers(parent: Path) -> None:
    """Remove what runs that were killed had collected; a run that goes on holds a lock."""
    for leftover in parent.glob(f".*{_PARTIAL}"):
        with suppress(OSError):
            handle = _locked(leftover)
            shutil.rmtree(leftover, ignore_errors=True)
            os.close(handle)


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a run folder but the record itself, by its path in it."""
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    return {
        path.relative_to(folder).as_posix(): _sha256(path)
        for path in files
        if path.relative_to(folder).as_posix() != RECORD
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
