"""Holders as witnesses of a pool: each countersigns an export's checkpoint, once it went on from the one it saw before.

A countersignature is a file beside the export, ``witness-<party>.json``. Whoever has the export sees who stands by it;
whoever countersigned keeps what it saw, so that no other history can be shown to it later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.errors import RecordError
from fedjoint.files import replace_file
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.pool.exported import POOL_RECORD, checkpoint_of, verify_pool
from fedjoint.pool.state import PoolState
from fedjoint.record.checkpoint import Checkpoint, SignedCheckpoint, require_signed
from fedjoint.record.merkle import MerkleTree, leaf_hash
from fedjoint.record.witness import Witness
from fedjoint.strict import build, strict

__all__ = ["Countersigned", "verify_witnesses", "witness_pool"]

_NAME = "witness-{}.json"
_MAX_BYTES = 10_000


@strict
@dataclass(frozen=True, kw_only=True)
class Countersigned:
    """A witness's countersignature of a checkpoint."""

    party: str
    checkpoint: Checkpoint
    signature: str


def witness_pool(folder: Path, witness: Identity, *, exchange: PublicIdentity, seen: Path) -> Countersigned:
    """Verify an export and countersign its checkpoint.

    Args:
        folder: That ``fedjoint pool export`` wrote; the countersignature is written beside it.
        witness: A registered party.
        exchange: Whose pool it must be.
        seen: Where the witness keeps the checkpoint that it saw last; a file of its own, not of the exchange's.

    Raises:
        FedjointError: the export does not verify, the witness is not registered with these keys, or the record does
            not go on from what was seen: nothing is kept or signed then.

    Guarantees:
        What was seen is on disk before the countersignature is.
    """
    state = verify_pool(folder, exchange)
    party = state.registry.parties.get(witness.id)
    if party is None or party.identity != witness.public:
        raise RecordError(f"'{witness.id}' is not registered in this pool with these keys", remedy="Register it first.")
    signed = checkpoint_of(folder)

    def prove(size: int) -> Sequence[str]:
        with (folder / POOL_RECORD).open("rb") as file:
            leaves = [leaf_hash(line.rstrip(b"\n")) for line in file][: signed.checkpoint.size]
        return [node.hex() for node in MerkleTree(leaves).consistency(size, signed.checkpoint.size)]

    origin = signed.checkpoint.origin
    signature = Witness(witness, coordinator=exchange, origin=origin, file=seen).countersign(signed, prove)
    made = Countersigned(party=witness.id, checkpoint=signed.checkpoint, signature=signature)
    replace_file(folder / _NAME.format(witness.id), canonical_bytes(made))
    return made


def verify_witnesses(folder: Path, state: PoolState) -> tuple[str, ...]:
    """Who countersigned an export.

    Args:
        folder: The export, verified before (:func:`fedjoint.pool.exported.verify_pool`).
        state: What its record comes to.

    Returns:
        Party ids, sorted.

    Raises:
        RecordError: a countersignature that is malformed, false, or of another checkpoint.
    """
    signed, parties = checkpoint_of(folder), state.registry.parties
    found: dict[str, str] = {}
    for path in sorted(folder.glob(_NAME.format("*"))):
        if path.stat().st_size > _MAX_BYTES:
            raise RecordError(f"{path.name} is too large", expected=f"at most {_MAX_BYTES} bytes")
        value = parse_canonical(path.read_bytes(), error=RecordError, where=path.name)
        one = build(Countersigned, value, error=RecordError, where=path.name)
        if path.name != _NAME.format(one.party) or one.checkpoint != signed.checkpoint:
            raise RecordError(f"{path.name} is of another party or checkpoint", remedy="Keep both: they are evidence.")
        found[one.party] = one.signature
    witnessed = SignedCheckpoint(checkpoint=signed.checkpoint, signature=signed.signature, witnesses=found)
    require_signed(witnessed, state.rules.exchange, witnesses={name: party.identity for name, party in parties.items()})
    return tuple(sorted(found))
