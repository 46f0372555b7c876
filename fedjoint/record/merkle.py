"""Merkle trees of RFC 9162 (Certificate Transparency 2): one hash for a whole log, short proofs about its parts.

An inclusion proof shows that an entry stands at a place of a log; a consistency proof shows that a longer log is the
shorter one with entries added behind. Both are checked with two roots and some twenty hashes, without the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from fedjoint.errors import RecordError

__all__ = [
    "EMPTY_ROOT",
    "MAX_LEAVES",
    "Frontier",
    "MerkleTree",
    "inclusion_path",
    "leaf_hash",
    "node_hash",
    "root_by_consistency",
    "root_by_inclusion",
]

_HASH_BYTES = 32
#: More leaves than any log here; proofs then have at most 41 hashes.
MAX_LEAVES = 1 << 40
#: Root of the tree without leaves: SHA-256 of nothing.
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Hash of an entry: SHA-256 of 0x00 and the entry, so that no entry can pass for an inner node.

    Source:
        RFC 9162, section 2.1.1.
    """
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256 of 0x01 and its two children's hashes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The root of a growing log in memory that grows with the logarithm of its length.

    Example:
        >>> frontier = Frontier()
        >>> frontier.append(leaf_hash(b"first")); frontier.append(leaf_hash(b"second"))
        >>> frontier.root() == node_hash(leaf_hash(b"first"), leaf_hash(b"second")), frontier.size
        (True, 2)
    """

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # roots of full subtrees, the largest first

    def append(self, leaf: bytes) -> None:
        """Add the hash of the next entry."""
        place, node = self.size, leaf
        while place & 1:
            node = node_hash(self._peaks.pop(), node)
            place >>= 1
        self._peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Root of what was added so far."""
        if not self._peaks:
            return EMPTY_ROOT
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = node_hash(peak, node)
        return node


class MerkleTree:
    """A log's hashes, kept so that every proof is quick: 64 bytes an entry.

    Args:
        leaves: Hashes of the entries so far, in order.

    Example:
        >>> tree = MerkleTree(leaf_hash(entry) for entry in (b"a", b"b", b"c"))
        >>> proof = tree.inclusion(2, 3)
        >>> root_by_inclusion(leaf_hash(b"c"), 2, size=3, proof=proof) == tree.root(3)
        True
    """

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[bytearray] = [bytearray()]  # level k: roots of full subtrees of 2^k leaves
        for leaf in leaves:
            self.append(leaf)

    def __len__(self) -> int:
        return len(self._levels[0]) // _HASH_BYTES

    def append(self, leaf: bytes) -> None:
        """Add the hash of the next entry."""
        place, node, level = len(self), leaf, 0
        self._levels[0] += node
        while place & 1:
            node = node_hash(self._node(level, place - 1), node)
            place, level = place >> 1, level + 1
            if level == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level] += node

    def root(self, size: int) -> bytes:
        """Root of the first ``size`` entries.

        Raises:
            RecordError: there are not so many.
        """
        self._require(0, size)
        return self._range(0, size) if size else EMPTY_ROOT

    def inclusion(self, place: int, size: int) -> tuple[bytes, ...]:
        """Proof that the entry at ``place`` (from 0) is among the first ``size``.

        Raises:
            RecordError: it is not.

        Source:
            RFC 9162, section 2.1.3.1 (PATH).
        """
        self._require(place + 1, size)
        low, high, path = 0, size, []
        while high - low > 1:
            middle = low + _split(high - low)
            if place < middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        return tuple(reversed(path))

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """Proof that the first ``new`` entries begin with the first ``old``; empty if either is trivial.

        Raises:
            RecordError: ``old`` is above ``new``, or there are not so many.

        Source:
            RFC 9162, section 2.1.4.1 (PROOF).
        """
        self._require(old, new)
        if old in (0, new):
            return ()
        low, high, whole, path = 0, new, True, []
        while old != high:
            middle = low + _split(high - low)
            if old <= middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low, whole = middle, False
        return tuple(reversed(path)) if whole else (self._range(low, high), *reversed(path))

    def _range(self, low: int, high: int) -> bytes:
        """Root of the entries from ``low`` to before ``high``, a subtree that the standard's split makes."""
        width = high - low
        if width & (width - 1) == 0:
            return self._node(width.bit_length() - 1, low // width)
        middle = low + _split(width)
        return node_hash(self._range(low, middle), self._range(middle, high))

    def _node(self, level: int, place: int) -> bytes:
        return bytes(self._levels[level][place * _HASH_BYTES : (place + 1) * _HASH_BYTES])

    def _require(self, small: int, large: int) -> None:
        if not 0 <= small <= large <= len(self):
            raise RecordError(f"a proof about {small} and {large} of {len(self)} entries", expected="a part of the log")


def inclusion_path(leaves: Iterable[bytes], place: int, size: int) -> tuple[bytes, ...]:
    """The proof of :meth:`MerkleTree.inclusion`, from leaves that pass by once, in memory logarithmic in their number.

    Args:
        leaves: Hashes of at least the first ``size`` entries, in order.
        place: Of the entry, from 0.
        size: Entries of the log that the proof is about.

    Raises:
        RecordError: there are fewer leaves, or the place is not among them.

    Example:
        >>> leaves = [leaf_hash(bytes([number])) for number in range(7)]
        >>> inclusion_path(leaves, 3, 6) == MerkleTree(leaves).inclusion(3, 6)
        True
    """
    if not 0 <= place < size <= MAX_LEAVES:
        raise RecordError(f"an inclusion proof of entry {place} of {size}", expected="a place in the log")
    low, high, siblings = 0, size, list[tuple[int, int, Frontier]]()
    while high - low > 1:
        middle = low + _split(high - low)
        if place < middle:
            siblings.append((middle, high, Frontier()))
            high = middle
        else:
            siblings.append((low, middle, Frontier()))
            low = middle
    ordered, turn, here = sorted(siblings, key=lambda sibling: sibling[0]), 0, -1
    for here, leaf in zip(range(size), leaves, strict=False):
        while turn < len(ordered) and here >= ordered[turn][1]:
            turn += 1
        if turn < len(ordered) and here >= ordered[turn][0]:
            ordered[turn][2].append(leaf)
    if here + 1 < size:
        raise RecordError(f"a proof about {size} of {here + 1} entries", expected="a part of the log")
    return tuple(frontier.root() for _, _, frontier in reversed(siblings))


def root_by_inclusion(leaf: bytes, place: int, *, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to; equal to the log's root if the proof is right.

    Args:
        leaf: Hash of the entry.
        place: Its number from 0.
        size: Entries of the log that the proof is about.
        proof: Hashes of 32 bytes.

    Raises:
        RecordError: a place outside the log, or a proof of the wrong length.

    Source:
        RFC 9162, section 2.1.3.2.
    """
    if not 0 <= place < size <= MAX_LEAVES:
        raise RecordError(f"an inclusion proof of entry {place} of {size}", expected="a place in the log")
    _require_hashes(proof)
    node, here, last = leaf, place, size - 1
    for sibling in proof:
        if last == 0:
            raise RecordError("the inclusion proof is too long")
        if here & 1 or here == last:
            node = node_hash(sibling, node)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        here, last = here >> 1, last >> 1
    if last:
        raise RecordError("the inclusion proof is too short")
    return node


def root_by_consistency(old_root: bytes, *, old: int, new: int, proof: Sequence[bytes]) -> bytes:
    """The root of ``new`` entries that a consistency proof leads to from the root of the first ``old``.

    Args:
        old_root: Root of the first ``old`` entries, 32 bytes.
        old: At least 1.
        new: Above ``old``.
        proof: Hashes of 32 bytes.

    Raises:
        RecordError: the proof does not contain the old root, has the wrong length, or the sizes are out of order.

    Guarantees:
        If the result is the root of ``new`` entries, these begin with the ``old`` ones whose root was given.

    Source:
        RFC 9162, section 2.1.4.2.
    """
    if not 1 <= old < new <= MAX_LEAVES:
        raise RecordError(f"a consistency proof from {old} to {new} entries", expected="a log that grew")
    _require_hashes(proof)
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        raise RecordError("the consistency proof is empty")
    here, last = old - 1, new - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise RecordError("the consistency proof is too long")
        if here & 1 or here == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        here, last = here >> 1, last >> 1
    if last or before != old_root:
        raise RecordError(
            f"the log of {new} entries does not begin with the {old} that were signed before",
            remedy="Two histories were shown: keep both checkpoints as evidence.",
        )
    return after


def _require_hashes(proof: Sequence[bytes]) -> None:
    if any(len(node) != _HASH_BYTES for node in proof):
        raise RecordError("a proof has a hash that is not 32 bytes long")


def _split(width: int) -> int:
    """The largest power of two below ``width``, at least 2."""
    return 1 << (width - 1).bit_length() - 1
