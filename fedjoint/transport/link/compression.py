"""Compression of messages where it pays: words of JSON yes, ciphertexts and models no."""

from __future__ import annotations

import zstandard

from fedjoint.errors import TransportError
from fedjoint.transport.link.buffers import Buffers, message_size
from fedjoint.transport.link.gathering import Gathered, Gathering

__all__ = ["compress", "decompress"]

_LEVEL = 1
#: A buffer this short costs more to look at than to send.
_SMALLEST = 1 << 10
_SAMPLE = 32 << 10
#: A sample must shrink to this for the whole to be worth it.
_PAYS = 0.75
_PART, _MAX_WINDOW = 1 << 20, 8 << 20


def compress(buffers: Buffers) -> Buffers | None:
    """The message compressed (zstd), or None where a sample of each buffer says that it would gain too little."""
    if message_size(buffers) < _SMALLEST:
        return None
    sampled = shrunk = 0
    for buffer in buffers:
        sample = memoryview(buffer)[:_SAMPLE]
        # What a sample gains is worth as much as the buffer is long.
        sampled += len(buffer)
        shrunk += round(len(zstandard.compress(sample, _LEVEL)) / max(1, len(sample)) * len(buffer))
    if shrunk > _PAYS * sampled:
        return None
    stream = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
    parts = [part for buffer in buffers if (part := stream.compress(buffer))]
    return (*parts, stream.flush())


def decompress(data: Gathered, size: int) -> Gathered:
    """Undo :func:`compress`.

    Args:
        data: The compressed message.
        size: Bytes that it must come to; memory grows with what really comes, and never beyond it.

    Raises:
        TransportError: it is no zstd stream, or of another size.
    """
    whole = Gathering(size)
    try:
        with zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(data) as reader:
            while len(whole) < size and (part := reader.read(min(_PART, size - len(whole)))):
                whole.add(part)
            ends_here = len(whole) == size and not reader.read(1)
    except zstandard.ZstdError:
        ends_here = False
    if not ends_here:
        raise TransportError(f"a compressed message that does not come to {size} bytes")
    return whole.whole()
