"""All that a holder must not forget when its process is killed, in one place: what it signed, joined, sent and opened.

With a folder, whatever leaves the holder is kept before it leaves. Asked again, after a restart of either side, a
holder says the very same: nothing is encrypted twice in a round, charged twice or opened twice. Without a folder, as in
simulation, a holder's memory ends with its process, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fedjoint.encryption.binding import Binding
from fedjoint.encryption.key_files import erase_key, load_key, store_key
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.opened import OpenReply
from fedjoint.encryption.parameters import Parameters
from fedjoint.errors import TrainingError
from fedjoint.files import replace_file
from fedjoint.privacy.receipts import RoundReceipt
from fedjoint.strict import strict
from fedjoint.training.checkpoint import CheckpointStore, FolderStore, Kept

__all__ = [
    "HolderFacts",
    "HolderFolder",
    "HolderMemory",
    "HolderStore",
    "KeyFile",
    "KeyStore",
    "OpenedOnce",
    "OpenedSum",
    "RunFacts",
    "RunMemory",
    "RunStore",
    "SentUpdate",
]


@strict
@dataclass(frozen=True, kw_only=True)
class OpenedSum:
    """The sum that was opened last.

    Args:
        frame_sha256: Hash of its frame.
        reply: What the holder said of it.

    Blob: ``sum``.
    """

    frame_sha256: str
    reply: OpenReply


@strict
@dataclass(frozen=True, kw_only=True)
class SentUpdate:
    """The update that was made last; it may have left.

    Args:
        receipt: What the holder said of it.
        signature: Over the receipt.

    Blob: ``frame``.
    """

    receipt: RoundReceipt
    signature: str


@strict
@dataclass(frozen=True, kw_only=True)
class OpenedOnce:
    """A release's sum, or the contributions, as they were opened.

    Args:
        asked_sha256: Hash of the task and its frames: nothing else is opened in its place.
        values: What was said.
        signature: Over it.
        contributors: Ids of the holders whose sums were in it; none for contributions.
    """

    asked_sha256: str
    values: tuple[str, ...]
    signature: str
    contributors: tuple[str, ...] = ()


@strict
@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a holder must remember of one run.

    Args:
        made_key: Whether it made the run's key, and may seal it to the others again.
        model_round: Rounds whose sum is in its model. Blob: ``model``.
        trained_round: The last round that it began.
        rounds_charged: How many rounds it has accounted for.
        opened_sum: See :class:`OpenedSum`.
        update: Of ``trained_round``; None if it was begun and not made: nothing of it left, and it may be made yet.
        begun: What is released once and was begun, by purpose; of validation gradients by purpose and round.
        barred: What was begun and is never made: by a memory that was lost it may have been made already.
        released: What was made of these, by purpose to signature. Blobs: ``release.PURPOSE``.
        opened: Releases that it opened, by purpose, and ``contributions``.
        confirmed: By place what it signed to be the only thing opened there, by hash.
        disclosed: By place, whose updates are in the sums that it signed or opened; where blocks are audited.
        is_over: Whether the coordinator said so.

    Blob ``held_out``: which records it holds out, a byte each, secret.
    """

    made_key: bool = False
    model_round: int = 0
    trained_round: int = 0
    rounds_charged: int = 0
    opened_sum: OpenedSum | None = None
    update: SentUpdate | None = None
    begun: tuple[str, ...] = ()
    barred: tuple[str, ...] = ()
    released: dict[str, str] = field(default_factory=dict)
    opened: dict[str, OpenedOnce] = field(default_factory=dict)
    confirmed: dict[str, str] = field(default_factory=dict)
    disclosed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    is_over: bool = False

    @property
    def releases_but_gradients(self) -> dict[str, Any]:
        """``begun``, ``released`` and ``opened`` less validation gradients, whose time ends with the next round."""

        def lasts(what: str) -> bool:
            return not what.startswith("validation ")

        return {
            "begun": tuple(what for what in self.begun if lasts(what)),
            "released": {what: signature for what, signature in self.released.items() if lasts(what)},
            "opened": {what: opened for what, opened in self.opened.items() if lasts(what)},
        }


class RunMemory(Kept[RunFacts]):
    """What a holder remembers of one run.

    Args:
        store: Where it is kept; None: only here.
    """

    def __init__(self, store: CheckpointStore | None = None) -> None:
        super().__init__(RunFacts(), store)

    def bar(self, what: str) -> None:
        """Never make what a ledger has and this memory did not know of: it may have left."""
        self.remember(barred=(*self.facts.barred, what))

    def end(self) -> None:
        """Remember nothing but that the run is over."""
        self.drop("")
        self.facts = RunFacts(trained_round=self.facts.trained_round, is_over=True)
        self.commit()


class KeyStore(Protocol):
    """Keeps the secret key of one run."""

    def keep(self, key: SecretKey) -> None:
        """Keep a key; from then on each round is written down before its encryption."""
        ...

    def load(self, parameters: Parameters, binding: Binding) -> SecretKey | None:
        """The key, if one was kept."""
        ...

    def erase(self) -> None:
        """Forget it, after it was closed."""
        ...


class KeyFile:
    """A :class:`KeyStore` in a file of mode 0600 (:mod:`fedjoint.encryption.key_files`).

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, key: SecretKey) -> None:
        """See :class:`KeyStore`.

        Raises:
            EncryptionError: there is one, or it cannot be written.
        """
        store_key(key, self._path)

    def load(self, parameters: Parameters, binding: Binding) -> SecretKey | None:
        """See :class:`KeyStore`.

        Raises:
            EncryptionError: readable by others, in use, damaged, or of another run or agreement.
        """
        return load_key(self._path, parameters=parameters, binding=binding) if self._path.exists() else None

    def erase(self) -> None:
        """See :class:`KeyStore`."""
        if self._path.exists():
            erase_key(self._path)


@dataclass(frozen=True, kw_only=True)
class RunStore:
    """Where one run's state is kept: facts and blobs, the key, and the folder of the diary if there is to be one."""

    checkpoints: CheckpointStore
    key: KeyStore
    diary: Path | None = None


@strict
@dataclass(frozen=True, kw_only=True)
class HolderFacts:
    """What a holder must remember beyond runs.

    Args:
        run_ids: Of all runs it ever joined: none is joined again as another.
        runs: Agreement (SHA-256) to the id of the run under it. Blobs: the signed agreements, under the same names.
    """

    run_ids: tuple[str, ...] = ()
    runs: dict[str, str] = field(default_factory=dict)


class HolderStore(Protocol):
    """Keeps one holder's state."""

    def mark_signed(self, agreement_sha256: str) -> None:
        """Remember a signature."""
        ...

    def has_signed(self, agreement_sha256: str) -> bool:
        """Whether it was remembered."""
        ...

    def open(self) -> CheckpointStore:
        """Where :class:`HolderFacts` are kept."""
        ...

    def run(self, binding: Binding) -> RunStore:
        """Where a run's state is kept."""
        ...


class HolderMemory:
    """What one holder remembers beyond runs, and with a store its copy that outlives the process.

    Args:
        store: Where it is kept; None: only here.
    """

    def __init__(self, store: HolderStore | None = None) -> None:
        self._store = store
        self._signed: set[str] = set()
        self._kept = Kept(HolderFacts(), store.open() if store is not None else None)

    def mark_signed(self, agreement_sha256: str) -> None:
        """Remember a signature."""
        self._signed.add(agreement_sha256)
        if self._store is not None:
            self._store.mark_signed(agreement_sha256)

    def has_signed(self, agreement_sha256: str) -> bool:
        """Whether this holder signed an agreement, in this process or another."""
        return agreement_sha256 in self._signed or (
            self._store is not None and self._store.has_signed(agreement_sha256)
        )

    def has_joined(self, run_id: str) -> bool:
        """Whether this run was ever joined."""
        return run_id in self._kept.facts.run_ids

    def runs(self) -> Iterator[tuple[bytes, str]]:
        """The runs to be taken up again: the signed agreement and the id of each."""
        for agreement_sha256, run_id in self._kept.facts.runs.items():
            yield bytes(self._kept.blob(agreement_sha256) or b""), run_id

    def add_run(self, binding: Binding, agreement: bytes) -> None:
        """Remember that a run was joined, the only one under its agreement."""
        known = self._kept.facts
        self._kept.remember(
            {binding.agreement_sha256: agreement} if self._kept.lasts else None,
            run_ids=(*known.run_ids, binding.run_id),
            runs={**known.runs, binding.agreement_sha256: binding.run_id},
        )

    def run(self, binding: Binding) -> RunStore | None:
        """Where a run's state is kept, if anywhere."""
        return self._store.run(binding) if self._store is not None else None

    def close(self) -> None:
        """Let another process use the store."""
        self._kept.close()


class HolderFolder:
    """A :class:`HolderStore` in a folder.

    Signing may be done by another process, while the one that trains has all else.

    Args:
        folder: On a local disk; made if missing. Never put back from a backup: what was sent since would be sent anew.
        holder: Its id.
    """

    def __init__(self, folder: Path, *, holder: str) -> None:
        self._folder, self._holder = folder, holder

    def mark_signed(self, agreement_sha256: str) -> None:
        """See :class:`HolderStore`.

        Raises:
            TrainingError: the folder cannot be written.
        """
        path = self._signed(agreement_sha256)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(path, self._holder.encode(), mode=0o600)
        except OSError as problem:
            raise TrainingError(f"{path} cannot be written: {problem.strerror}") from None

    def has_signed(self, agreement_sha256: str) -> bool:
        """See :class:`HolderStore`."""
        with suppress(OSError):
            return self._signed(agreement_sha256).read_bytes() == self._holder.encode()
        return False

    def _signed(self, agreement_sha256: str) -> Path:
        return self._folder / "signed" / agreement_sha256

    def open(self) -> CheckpointStore:
        """See :class:`HolderStore`.

        Raises:
            TrainingError: another process of this holder has it.
        """
        return FolderStore(self._folder / "runs", of={"holder": self._holder})

    def run(self, binding: Binding) -> RunStore:
        """See :class:`HolderStore`.

        Raises:
            TrainingError: another process has it.
        """
        place = self._folder / "runs" / binding.run_id
        of = {"holder": self._holder, "agreement_sha256": binding.agreement_sha256, "run_id": binding.run_id}
        diary = self.diary(binding.run_id)
        return RunStore(checkpoints=FolderStore(place, of=of), key=KeyFile(place / "key"), diary=diary)

    def diary(self, run_id: str) -> Path:
        """What the holder keeps of a run for its own eyes (:mod:`fedjoint.training.diary`)."""
        return self._folder / "diaries" / run_id
