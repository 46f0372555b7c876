"""A message as a link carries it, which knows nothing of what is in it."""

from __future__ import annotations

__all__ = ["Buffers", "message_size"]

#: Parts of one message in the order in which they are sent.
Buffers = tuple[bytes, ...]


def message_size(buffers: Buffers) -> int:
    """Bytes of a message on the wire, before compression."""
    return sum(map(len, buffers))
