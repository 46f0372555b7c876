"""Memory for bytes that come piece by piece: it grows with what has come, never with what was announced."""

from __future__ import annotations

import mmap

from fedjoint.errors import TransportError

__all__ = ["Gathered", "Gathering"]

#: Bytes that have all come.
Gathered = bytes | bytearray | memoryview

#: More than this is kept in pages of 2 MiB where the system has them (madvise(2)): it took six times as long in small
#: ones, each of which the kernel hands out and empties by itself.
_SMALL = 4 << 20
_HUGE_PAGES: int | None = getattr(mmap, "MADV_HUGEPAGE", None)


class Gathering:
    """Takes the bytes of one message in order.

    Args:
        size: Of the whole; the caller adds no more than that.

    Example:
        >>> gathering = Gathering(5)
        >>> gathering.add(b"abc"), gathering.add(b"de"), len(gathering)
        (None, None, 5)
        >>> bytes(gathering.whole())
        b'abcde'
    """

    def __init__(self, size: int) -> None:
        self._size, self._filled = size, 0
        self._bytes = bytearray()
        self._pages: mmap.mmap | None = None
        self._mapped = size > _SMALL and _HUGE_PAGES is not None

    def __len__(self) -> int:
        return self._filled

    def add(self, data: bytes | memoryview) -> None:
        """Take the next bytes.

        Raises:
            TransportError: this machine has no memory for them.
        """
        if self._mapped:
            self._room(self._filled + len(data))[self._filled : self._filled + len(data)] = data
        else:
            self._bytes += data
        self._filled += len(data)

    def whole(self) -> Gathered:
        """All of them, once they are all there."""
        return memoryview(self._pages) if self._pages is not None else self._bytes

    def _room(self, needed: int) -> mmap.mmap:
        """Memory for so many bytes: a mapping takes up none before it is written to, and moves without a copy."""
        try:
            if self._pages is None:
                private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
                self._pages = mmap.mmap(-1, min(self._size, max(needed, 2 * _SMALL)), flags=private)
            if needed > len(self._pages):
                self._pages.resize(min(self._size, max(needed, 2 * len(self._pages))))
            self._pages.madvise(_HUGE_PAGES or 0)
        except OSError as problem:
            raise TransportError(f"no memory for a message of {self._size} bytes ({problem})") from None
        return self._pages
