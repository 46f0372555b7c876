"""A holder as witness of the coordinator's log: it remembers what it was shown, and refuses another history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.errors import RecordError
from fedjoint.files import replace_file
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.record.checkpoint import Checkpoint, SignedCheckpoint, countersign
from fedjoint.strict import build

__all__ = ["Prove", "Witness"]

#: From the size of an older log to the consistency proof with the present one, in hex.
Prove = Callable[[int], Sequence[str]]


class Witness:
    """Countersigns the checkpoints of one log, each only if it goes on from the one before.

    Args:
        identity: Who countersigns.
        coordinator: Whose log it is.
        origin: Which log.
        file: Where the last checkpoint is kept between two meetings; None keeps it in memory, for a simulation.

    Raises:
        RecordError: the file is not what a witness of this log keeps.

    Guarantees:
        The checkpoint is on disk before its countersignature is given out.
    """

    def __init__(
        self, identity: Identity, *, coordinator: PublicIdentity, origin: str, file: Path | None = None
    ) -> None:
        self._identity, self._coordinator, self._file = identity, coordinator, file
        self._origin = origin
        self.seen: Checkpoint | None = None
        if file is not None and file.exists():
            kept = parse_canonical(file.read_bytes(), error=RecordError, where=file.name)
            self.seen = build(Checkpoint, kept, error=RecordError, where=file.name)
            self._require_origin(self.seen)

    def countersign(self, signed: SignedCheckpoint, prove: Prove) -> str:
        """Countersign the log's latest checkpoint.

        Args:
            signed: The checkpoint.
            prove: Gives the consistency proof from the size that this witness saw last.

        Raises:
            RecordError: another log, a false signature, or a log that does not go on from what was seen; nothing is
                kept then.
        """
        self._require_origin(signed.checkpoint)
        seen = self.seen
        proof = prove(seen.size) if seen is not None and seen.size < signed.checkpoint.size else ()
        signature = countersign(signed, self._identity, coordinator=self._coordinator, seen=seen, proof=proof)
        if self._file is not None:
            replace_file(self._file, canonical_bytes(signed.checkpoint))
        self.seen = signed.checkpoint
        return signature

    def _require_origin(self, checkpoint: Checkpoint) -> None:
        if checkpoint.origin != self._origin:
            raise RecordError(
                f"a checkpoint of log '{checkpoint.origin}'", expected=f"one of '{self._origin}', which is watched here"
            )
