"""What a party must not forget of a run if its process is killed: facts that change in one step, and blobs they name.

A blob is kept under its SHA-256 and never changes, so that nothing is written twice. The facts name the blobs that
belong to them; they are replaced in one step, after all that they name is on the disk, and only then does what nobody
names any more go. Whoever reads finds the last committed facts with all of their blobs, or is told what is wrong.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical, sha256_hex
from fedjoint.encryption.scratch import SMALL_BYTES, Bytes, hash_into, pieces, sha256_of
from fedjoint.errors import TrainingError
from fedjoint.files import replace_file, replace_file_in_parts, sync_folder
from fedjoint.strict import build, plain, strict

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["Checkpoint", "CheckpointStore", "FolderStore", "Kept", "MemoryStore", "Piece"]

_FORMAT = "fedjoint-state-1"
#: More than any run's facts; blobs are as long as the facts say.
MAX_FACTS_BYTES = 64 << 20
_STATE, _BLOBS, _LOCK = "state.json", "blobs", "lock"
_NEWER = "Another version of fedjoint wrote it, or it is damaged: nothing of it is used."

#: Bytes of a blob, or a part of them; a blob of several is as one that was joined. An array may be mapped from a file.
Piece: TypeAlias = bytes | memoryview | Bytes
F = TypeVar("F", bound="DataclassInstance")


@strict
@dataclass(frozen=True, kw_only=True)
class _Blob:
    sha256: str
    size: int


@strict
@dataclass(frozen=True, kw_only=True)
class _State:
    format: str
    of: dict[str, str]
    facts: dict[str, Any]
    blobs: dict[str, _Blob]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What was committed last.

    Args:
        facts: Plain JSON values.
        blobs: Label to the name (SHA-256) of each blob.
    """

    facts: Mapping[str, Any]
    blobs: Mapping[str, str]


class CheckpointStore(Protocol):
    """Keeps one party's state of one run. One process uses it at a time."""

    def load(self) -> Checkpoint | None:
        """What was committed last; None before the first time.

        Raises:
            TrainingError: it is damaged, of another run or party, or was written by another version.
        """
        ...

    def put(self, *parts: Piece) -> str:
        """Keep a blob until the next commit, and from then on if that names it; gives its name (SHA-256)."""
        ...

    def get(self, name: str) -> bytes | Bytes:
        """A blob that the last commit named; a large one as an array mapped from its file.

        Raises:
            TrainingError: it is missing or damaged.
        """
        ...

    def commit(self, facts: Mapping[str, Any], blobs: Mapping[str, str]) -> None:
        """Make this the state, in one step.

        Args:
            facts: Plain JSON values; all of them.
            blobs: Label to name of each blob that belongs to them.
        """
        ...

    def close(self) -> None:
        """Let another process use it."""
        ...


class FolderStore:
    """A :class:`CheckpointStore` in a folder of its own, readable by its owner alone.

    Args:
        folder: On a local disk; made if missing.
        of: Whose state of what it is, such as party, agreement and run: another's is refused.

    Raises:
        TrainingError: another process uses it, or it cannot be written.

    Guarantees:
        Killed at any moment, a process leaves the state committed last. What is read was hashed when it was written,
        and is parsed as JSON and raw bytes, never unpickled.
    """

    def __init__(self, folder: Path, *, of: Mapping[str, str]) -> None:
        self._folder, self._of, self._sizes = folder, dict(of), dict[str, int]()
        try:
            self._blobs.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            self._lock: int | None = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise _cannot_write(folder, problem) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise TrainingError(f"{folder} is in use", remedy="End the other process of this party first.") from None
        for leftover in folder.glob(f".{_STATE}.*"):  # of a process killed while it wrote
            leftover.unlink()

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._folder

    @property
    def _blobs(self) -> Path:
        return self._folder / _BLOBS

    def load(self) -> Checkpoint | None:
        """See :class:`CheckpointStore`."""
        path = self._folder / _STATE
        try:
            if path.stat().st_size > MAX_FACTS_BYTES:
                raise TrainingError(f"{path} has {path.stat().st_size} bytes", expected=f"at most {MAX_FACTS_BYTES}")
            written, _, sha256 = path.read_bytes().rpartition(b"\n")
        except FileNotFoundError:
            return None
        if sha256.decode(errors="replace") != sha256_hex(written):
            raise TrainingError(f"{path} is not as it was written", remedy=_NEWER)
        value = parse_canonical(written, error=TrainingError, where=str(path))
        if not isinstance(value, dict) or value.get("format") != _FORMAT:
            raise TrainingError(f"{path} is of another format", expected=_FORMAT, remedy=_NEWER)
        state = build(_State, value, error=TrainingError, where=path.name)
        if state.of != self._of:
            raise TrainingError(f"{path} is of {state.of}", expected=f"{self._of}", remedy="Name the right folder.")
        self._sizes = {blob.sha256: blob.size for blob in state.blobs.values()}
        return Checkpoint(facts=state.facts, blobs={label: blob.sha256 for label, blob in state.blobs.items()})

    def put(self, *parts: Piece) -> str:
        """See :class:`CheckpointStore`.

        Raises:
            TrainingError: the disk is full or cannot be written.
        """
        arrays = [np.frombuffer(part, dtype=np.uint8) for part in parts]
        digest = hashlib.sha256()
        for array in arrays:
            hash_into(digest, array)
        name = digest.hexdigest()
        self._sizes[name] = sum(array.size for array in arrays)
        path = self._blobs / name
        try:
            if not path.exists():
                inside = (array[piece].data for array in arrays for piece in pieces(array.size, array))
                replace_file_in_parts(path, inside, mode=0o600)
        except OSError as problem:
            raise _cannot_write(path, problem) from None
        return name

    def get(self, name: str) -> bytes | Bytes:
        """See :class:`CheckpointStore`."""
        path = self._blobs / name
        try:
            if (size := path.stat().st_size) == self._sizes.get(name):
                data = path.read_bytes() if size <= SMALL_BYTES else np.memmap(path, dtype=np.uint8, mode="r")
                if sha256_of(data) == name:
                    return data
        except OSError:
            pass
        raise TrainingError(f"{path} is missing or not as it was written", remedy="Its state cannot be taken up again.")

    def commit(self, facts: Mapping[str, Any], blobs: Mapping[str, str]) -> None:
        """See :class:`CheckpointStore`.

        Raises:
            TrainingError: the disk is full or cannot be written; the state before stands.
        """
        named = {label: _Blob(sha256=name, size=self._sizes[name]) for label, name in blobs.items()}
        data = canonical_bytes(_State(format=_FORMAT, of=self._of, facts=dict(facts), blobs=named))
        try:
            sync_folder(self._blobs)
            replace_file(self._folder / _STATE, data, b"\n", sha256_hex(data).encode(), mode=0o600)
            sync_folder(self._folder)
            self._remove_all_but(set(blobs.values()))
        except OSError as problem:
            raise _cannot_write(self._folder, problem) from None

    def _remove_all_but(self, names: set[str]) -> None:
        """Remove blobs that nobody names, and what killed processes left half-written."""
        for path in self._blobs.iterdir():
            if path.name not in names:
                path.unlink()
        self._sizes = {name: size for name, size in self._sizes.items() if name in names}

    def close(self) -> None:
        """See :class:`CheckpointStore`."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class MemoryStore:
    """A :class:`CheckpointStore` in memory: it outlives the objects that use it, not the process.

    Example:
        >>> store = MemoryStore()
        >>> store.commit({"round": 1}, {"model": store.put(b"mod", b"el")})
        >>> checkpoint = store.load()
        >>> checkpoint.facts["round"], store.get(checkpoint.blobs["model"])
        (1, b'model')
    """

    def __init__(self) -> None:
        self._state = b""
        self._names: dict[str, str] = {}
        self._blobs: dict[str, bytes] = {}

    def load(self) -> Checkpoint | None:
        """See :class:`CheckpointStore`."""
        return Checkpoint(facts=json.loads(self._state), blobs=dict(self._names)) if self._state else None

    def put(self, *parts: Piece) -> str:
        """See :class:`CheckpointStore`."""
        data = b"".join(_views(parts))
        self._blobs[sha256_hex(data)] = data
        return sha256_hex(data)

    def get(self, name: str) -> bytes:
        """See :class:`CheckpointStore`."""
        with suppress(KeyError):
            return self._blobs[name]
        raise TrainingError(f"there is no blob {name[:16]}", remedy="Its state cannot be taken up again.")

    def commit(self, facts: Mapping[str, Any], blobs: Mapping[str, str]) -> None:
        """See :class:`CheckpointStore`."""
        self._state, self._names = canonical_bytes(dict(facts)), dict(blobs)
        self._blobs = {name: self._blobs[name] for name in blobs.values()}

    def close(self) -> None:
        """See :class:`CheckpointStore`."""


class Kept(Generic[F]):
    """Facts of one kind, and with a store their copy that outlives the process.

    Args:
        facts: Before anything happened; a frozen dataclass that :func:`fedjoint.strict.build` makes.
        store: Where they are kept, and from where they are taken up again; None: only here.

    Raises:
        TrainingError: what is kept is damaged, or other facts.

    Example:
        >>> @strict
        ... @dataclass(frozen=True, kw_only=True)
        ... class Facts:
        ...     round: int = 0
        >>> store = MemoryStore()
        >>> Kept(Facts(), store).remember({"model": b"weights"}, round=3)
        >>> again = Kept(Facts(), store)
        >>> again.facts, again.blob("model")
        (Facts(round=3), b'weights')
    """

    def __init__(self, facts: F, store: CheckpointStore | None = None) -> None:
        self._store, self.facts = store, facts
        self._names: dict[str, str] = {}
        self._here: dict[str, bytes | Bytes] = {}
        if store is not None and (last := store.load()) is not None:
            self.facts = build(type(facts), last.facts, error=TrainingError, where="state")
            self._names = dict(last.blobs)

    @property
    def lasts(self) -> bool:
        """Whether it outlives the process: only then is anything kept that is needed for nothing else."""
        return self._store is not None

    def blob(self, label: str) -> bytes | Bytes | None:
        """A blob, if it is there.

        Raises:
            TrainingError: it is damaged.
        """
        if self._store is not None and label in self._names:
            return self._store.get(self._names[label])
        return self._here.get(label)

    def stage(self, blobs: Mapping[str, Piece | Sequence[Piece]] | None = None, **changes: Any) -> None:
        """Change facts and blobs; they last from the next :meth:`commit`."""
        self.facts = dataclasses.replace(self.facts, **changes)
        for label, data in (blobs or {}).items():
            parts = [data] if isinstance(data, (bytes, memoryview, np.ndarray)) else data
            if self._store is None:
                self._here[label] = data if isinstance(data, np.ndarray) else b"".join(_views(parts))
            else:
                self._names[label] = self._store.put(*parts)

    def drop(self, prefix: str) -> None:
        """Name no blob any more whose label begins so, from the next :meth:`commit`."""
        for labels in (self._names, self._here):
            for label in [label for label in labels if label.startswith(prefix)]:
                del labels[label]

    def commit(self) -> None:
        """Have all that was staged last, in one step."""
        if self._store is not None:
            self._store.commit(plain(self.facts), self._names)

    def remember(self, blobs: Mapping[str, Piece | Sequence[Piece]] | None = None, **changes: Any) -> None:
        """Stage and commit."""
        self.stage(blobs, **changes)
        self.commit()

    def close(self) -> None:
        """Let another process use the store."""
        if self._store is not None:
            self._store.close()


def _views(parts: Sequence[Piece]) -> list[memoryview]:
    return [part.data if isinstance(part, np.ndarray) else memoryview(part) for part in parts]


def _cannot_write(path: Path, problem: OSError) -> TrainingError:
    return TrainingError(
        f"{path} cannot be written: {problem.strerror}",
        remedy="Make room or allow it; the state before stands, and the run can be taken up again.",
    )
