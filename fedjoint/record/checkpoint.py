"""Checkpoints: what a log was at a moment, signed by its coordinator and countersigned by those who watch it.

A witness countersigns a checkpoint only if the log goes on from the last one it saw, and keeps it. So a coordinator
cannot show one history to one holder and another to the next: two checkpoints that do not continue each other, both
with its signature, are the evidence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from fedjoint.agreement.canonical import canonical_bytes
from fedjoint.errors import IdentityError, RecordError
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.record.merkle import EMPTY_ROOT, MAX_LEAVES, leaf_hash, root_by_consistency, root_by_inclusion
from fedjoint.strict import strict

__all__ = [
    "Checkpoint",
    "InclusionProof",
    "SignedCheckpoint",
    "continues",
    "countersign",
    "require_included",
    "require_signed",
    "sign_checkpoint",
]

_SIGNED, _WITNESSED = "checkpoint", "checkpoint-witness"
_ORIGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@strict
@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A log up to some entry.

    Args:
        origin: Which log, 1 to 200 of letters, digits, ``.``, ``_``, ``/``, ``-``: no two logs have the same.
        size: Number of entries, 0 to 2^40.
        root: Root of their Merkle tree, 64 hex digits.
        at: When, ISO 8601 in UTC.

    Raises:
        RecordError: malformed.
    """

    format: Literal["fedjoint-checkpoint-1"] = "fedjoint-checkpoint-1"
    origin: str
    size: int
    root: str
    at: str

    def __post_init__(self) -> None:
        for name, text, pattern in (("origin", self.origin, _ORIGIN), ("root", self.root, _SHA256)):
            if not pattern.fullmatch(text):
                raise RecordError(f"a checkpoint's {name} is '{text[:80]}'", expected=f"a match of {pattern.pattern}")
        if not 0 <= self.size <= MAX_LEAVES:
            raise RecordError(f"a checkpoint of {self.size} entries", expected=f"0 to {MAX_LEAVES}")
        if self.size == 0 and self.root != EMPTY_ROOT.hex():
            raise RecordError("a checkpoint of no entries has a root of some")
        try:
            offset = datetime.fromisoformat(self.at).utcoffset()
        except ValueError:
            offset = None
        if offset is None or offset.total_seconds():
            raise RecordError(f"a checkpoint of {self.at[:40]}", expected="ISO 8601 in UTC")


@strict
@dataclass(frozen=True, kw_only=True)
class SignedCheckpoint:
    """A checkpoint, its coordinator's signature, and those of the witnesses so far by party id."""

    type: Literal["checkpoint"] = "checkpoint"
    checkpoint: Checkpoint
    signature: str
    witnesses: dict[str, str] = field(default_factory=dict)


@strict
@dataclass(frozen=True, kw_only=True)
class InclusionProof:
    """That an entry is in a log: its place from 0 and the hashes from it to the root, the lowest first, in hex."""

    place: int
    path: tuple[str, ...]

    def __post_init__(self) -> None:
        if not all(_SHA256.fullmatch(node) for node in self.path):
            raise RecordError("an inclusion proof has a malformed hash", expected="64 lower-case hex digits")


def sign_checkpoint(checkpoint: Checkpoint, coordinator: Identity) -> SignedCheckpoint:
    """The coordinator stands by a checkpoint."""
    return SignedCheckpoint(
        checkpoint=checkpoint, signature=coordinator.sign(_SIGNED, canonical_bytes(checkpoint)), witnesses={}
    )


def require_signed(
    signed: SignedCheckpoint,
    coordinator: PublicIdentity,
    *,
    witnesses: Mapping[str, PublicIdentity] | None = None,
    minimum: int = 0,
) -> None:
    """Refuse a checkpoint whose signature, or any countersignature, is not right.

    Args:
        signed: The checkpoint.
        coordinator: Who must have signed it.
        witnesses: Who may have countersigned it, by party id.
        minimum: So many of them must have.

    Raises:
        RecordError: a false signature, one of a stranger, or too few.
    """
    payload = canonical_bytes(signed.checkpoint)
    known = witnesses or {}
    try:
        coordinator.verify(_SIGNED, payload, signed.signature)
        for party, signature in signed.witnesses.items():
            if party not in known:
                raise RecordError(f"'{party}' countersigned a checkpoint and is no witness of this log")
            known[party].verify(_WITNESSED, payload, signature)
    except IdentityError as problem:
        raise RecordError(f"checkpoint of {signed.checkpoint.size} entries: {problem}") from None
    if len(signed.witnesses) < minimum:
        raise RecordError(
            f"{len(signed.witnesses)} witnesses countersigned the checkpoint", expected=f"at least {minimum}"
        )


def countersign(
    signed: SignedCheckpoint,
    witness: Identity,
    *,
    coordinator: PublicIdentity,
    seen: Checkpoint | None,
    proof: Sequence[str] = (),
) -> str:
    """A witness stands by a checkpoint, after it has made sure that the log only grew.

    Args:
        signed: From the coordinator.
        witness: Who countersigns; it must keep the checkpoint and hand it in as ``seen`` the next time.
        coordinator: Whose log it is.
        seen: The last checkpoint of this log that the witness countersigned, None at first.
        proof: Consistency proof from ``seen``, in hex.

    Returns:
        The countersignature, for :attr:`SignedCheckpoint.witnesses`.

    Raises:
        RecordError: not signed by the coordinator, or the log does not go on from ``seen``.
    """
    require_signed(SignedCheckpoint(checkpoint=signed.checkpoint, signature=signed.signature), coordinator)
    if seen is not None:
        continues(seen, signed.checkpoint, proof)
    return witness.sign(_WITNESSED, canonical_bytes(signed.checkpoint))


def continues(old: Checkpoint, new: Checkpoint, proof: Sequence[str]) -> None:
    """Refuse a checkpoint that is not the older one with entries added behind.

    Args:
        old: The checkpoint kept.
        new: The checkpoint shown.
        proof: Consistency proof, each 64 hex digits; none if the log did not grow.

    Raises:
        RecordError: another log, a shorter one, or another history.
    """
    if new.origin != old.origin or new.size < old.size:
        raise RecordError(
            f"a checkpoint of {new.size} entries of log '{new.origin}'",
            expected=f"one of log '{old.origin}' with at least {old.size}",
            remedy="The log was cut or replaced: keep both checkpoints as evidence.",
        )
    hashes = [_hash(node) for node in proof]
    if old.size == 0:
        return
    root = (
        bytes.fromhex(old.root)
        if old.size == new.size
        else root_by_consistency(bytes.fromhex(old.root), old=old.size, new=new.size, proof=hashes)
    )
    if root.hex() != new.root:
        raise RecordError(
            f"two checkpoints of {new.size} entries do not have the same history",
            remedy="Keep both as evidence: their coordinator signed two histories.",
        )


def require_included(entry: bytes, proof: InclusionProof, checkpoint: Checkpoint) -> None:
    """Refuse an entry that a checkpoint does not cover.

    Args:
        entry: The entry's bytes.
        proof: Of its place.
        checkpoint: Whose signatures were checked before (:func:`require_signed`).

    Raises:
        RecordError: the proof does not lead from the entry to the checkpoint's root.
    """
    path = [_hash(node) for node in proof.path]
    root = root_by_inclusion(leaf_hash(entry), proof.place, size=checkpoint.size, proof=path)
    if root.hex() != checkpoint.root:
        raise RecordError(
            f"entry {proof.place} is not in the log of {checkpoint.size} entries that was signed",
            remedy="It was altered, or the coordinator never recorded it.",
        )


def _hash(digits: str) -> bytes:
    if not _SHA256.fullmatch(digits):
        raise RecordError(f"a proof's hash is '{digits[:80]}'", expected="64 lower-case hex digits")
    return bytes.fromhex(digits)
