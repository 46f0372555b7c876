"""Room for what is too large to stay in memory: arrays mapped from files that have no name.

Of a mapped array only what is worked on stays resident (:func:`forget`), so that a model of any size is encrypted,
added and decrypted in the memory of a few blocks. Without a name nothing is left of such a file when its process ends,
however it ends.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import tempfile
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fedjoint.errors import EncryptionError

__all__ = [
    "IN_MEMORY",
    "SMALL_BYTES",
    "Bytes",
    "Scratch",
    "forget",
    "forget_maps",
    "hash_into",
    "mapped",
    "pieces",
    "product",
    "sha256_of",
]

#: The bytes of a frame or a sum, in memory or mapped from a file.
Bytes: TypeAlias = NDArray[np.uint8]

#: What is not larger stays in memory, and travels in one message.
SMALL_BYTES = 4 << 20
#: Bytes hashed, and numbers computed, at a time.
_PIECE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """Where a party keeps large arrays while it works on them.

    Args:
        folder: Of the party; None for the system's temporary folder. It should not itself be kept in memory.
        small_bytes: What is not larger stays in memory.

    Example:
        >>> Scratch(small_bytes=0).array("<u8", 3).tolist()
        [0, 0, 0]
    """

    folder: Path | None = None
    small_bytes: int = SMALL_BYTES

    def array(self, dtype: DTypeLike, size: int) -> NDArray[Any]:
        """A new array of zeros, which goes when nobody refers to it any more.

        Args:
            dtype: Type of the elements.
            size: Number of elements.

        Raises:
            EncryptionError: the folder cannot be written, or the disk has no room for all of it.
        """
        num_bytes = size * np.dtype(dtype).itemsize
        if num_bytes <= self.small_bytes or not num_bytes:
            return np.zeros(size, dtype=dtype)
        try:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                # Room that is only promised would end the process with SIGBUS when the disk is full.
                os.posix_fallocate(file.fileno(), 0, num_bytes)
                return np.memmap(file, dtype=dtype, mode="r+", shape=(size,))
        except OSError as problem:
            raise EncryptionError(
                f"{self.folder or tempfile.gettempdir()} has no room for {num_bytes} bytes: {problem.strerror}",
                remedy="Choose a folder with room that this account may use.",
            ) from None


#: Where nothing is large.
IN_MEMORY = Scratch(small_bytes=1 << 62)


def mapped(arrays: Sequence[NDArray[Any] | None]) -> list[mmap.mmap]:
    """The files' maps under arrays, but for private ones (mode c), in which what was written would be lost."""
    found = []
    for array in arrays:
        base, shared = typing.cast(Any, array), False
        while isinstance(base, (np.ndarray, memoryview)):
            shared |= isinstance(base, np.memmap) and base.mode != "c"
            base = base.obj if isinstance(base, memoryview) else base.base
        if shared and isinstance(base, mmap.mmap):
            found.append(base)
    return found


def forget(*arrays: NDArray[Any] | None) -> None:
    """Let the system take back the memory of arrays that are mapped from files; nothing in them changes."""
    forget_maps(mapped(arrays))


def forget_maps(maps: Sequence[mmap.mmap]) -> None:
    """:func:`forget` for those whose maps are known."""
    if hasattr(mmap, "MADV_DONTNEED"):
        for one in maps:
            one.madvise(mmap.MADV_DONTNEED)


def pieces(size: int, *arrays: NDArray[Any] | None) -> Iterator[slice]:
    """Go through arrays of one length piece by piece; what is behind is forgotten.

    Args:
        size: Their length.
        arrays: Those that are read or written.

    Example:
        >>> list(pieces(3))
        [slice(0, 3, None)]
    """
    maps = mapped(arrays)
    for start in range(0, size, _PIECE):
        yield slice(start, min(start + _PIECE, size))
        forget_maps(maps)


def product(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Inner product of two vectors of numbers in float64, piece by piece: both may be mapped from files.

    Example:
        >>> product(np.array([1.0, 2.0], dtype=np.float32), np.array([3.0, 4.0]))
        11.0
    """
    found = pieces(first.size, first, second)
    return sum(float(first[piece].astype(np.float64) @ second[piece].astype(np.float64)) for piece in found)


class Digest(Protocol):
    """A hash in the making, as of :mod:`hashlib`."""

    def update(self, data: Any, /) -> None:
        """Take more bytes in."""


def hash_into(digest: Digest, data: Bytes) -> None:
    """Have a hash take in bytes that may be mapped from a file."""
    for piece in pieces(data.size, data):
        digest.update(data[piece].data)


def sha256_of(data: bytes | NDArray[Any]) -> str:
    """SHA-256 of bytes, or of an array's memory, as 64 lower-case hex digits.

    Example:
        >>> sha256_of(b"a") == sha256_of(np.array([97], dtype=np.uint8))
        True
    """
    digest = hashlib.sha256()
    hash_into(digest, np.frombuffer(data, dtype=np.uint8) if isinstance(data, bytes) else data.view(np.uint8))
    return digest.hexdigest()
