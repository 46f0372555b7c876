"""Frames as bytes. A chunk, of which there are millions, is written and read by hand: the same bytes, fewer copies.

By protobuf's own rules a frame with nothing but a chunk is one tag, the chunk's length and the chunk. Whatever else
comes is parsed by protobuf.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from fedjoint.transport.link import link_pb2 as wire

__all__ = ["METHOD", "SERVICE", "Chunk", "Frame", "frame_from_bytes", "frame_to_bytes"]

SERVICE, METHOD = "fedjoint.link.v1.Link", "Connect"
#: Field 4, length-delimited.
_CHUNK_TAG = wire.Frame.CHUNK_FIELD_NUMBER << 3 | 2
_LONGEST_VARINT = 5


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of a message, not yet copied."""

    data: memoryview


Frame = wire.Frame | Chunk


def frame_to_bytes(frame: Frame) -> bytes:
    """What protobuf would write."""
    if not isinstance(frame, Chunk):
        return bytes(frame.SerializeToString())
    length, head = len(frame.data), bytearray((_CHUNK_TAG,))
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    head.append(length)
    return b"".join((head, frame.data))


def frame_from_bytes(data: bytes) -> Frame:
    """What protobuf would read; bytes that are no frame come to an empty one, which every receiver refuses."""
    if data and data[0] == _CHUNK_TAG:
        length = shift = 0
        for place in range(1, min(1 + _LONGEST_VARINT, len(data))):
            length |= (data[place] & 127) << shift
            shift += 7
            if data[place] < 128:
                if length == len(data) - place - 1:
                    return Chunk(memoryview(data)[place + 1 :])
                break
    frame = wire.Frame()
    try:
        frame.ParseFromString(data)
    except DecodeError:
        return wire.Frame()
    return frame
