"""A Flower message as bytes: a protobuf head, and after it the data of its arrays, which are not copied to send them.

Only Flower's public record types are read and made. Bytes from the network are checked against every bound before
anything is made of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, Metadata, MetricRecord, RecordDict
from google.protobuf.message import DecodeError

from fedjoint.errors import TransportError
from fedjoint.transport.link import link_pb2 as wire
from fedjoint.transport.link.buffers import Buffers
from fedjoint.transport.link.gathering import Gathered
from fedjoint.transport.touch_points import delivered_message

__all__ = ["MAX_HEAD_BYTES", "from_bytes", "to_buffers"]

_LENGTH = struct.Struct(">I")
#: All of a message but its arrays' data: 16 MiB of canonical JSON, and as much again for other applications' records.
MAX_HEAD_BYTES = 32 << 20
_MAX_DIMENSIONS = 32

_LISTS: dict[type, str] = {int: "integers", float: "reals", bool: "truths", str: "texts", bytes: "raws"}
_SCALARS: dict[type, str] = {int: "integer", float: "real", bool: "truth", str: "text", bytes: "raw"}


def to_buffers(message: Message) -> Buffers:
    """A message as buffers to be sent one after the other.

    Raises:
        TransportError: its head is larger than a receiver takes.
    """
    metadata = message.metadata
    head = wire.Head(
        message_type=metadata.message_type,
        group_id=metadata.group_id,
        message_id=metadata.message_id,
        reply_to=metadata.reply_to_message_id,
        created_at=metadata.created_at,
        ttl=metadata.ttl,
        run_id=metadata.run_id,
        source=metadata.src_node_id,
        destination=metadata.dst_node_id,
    )
    data: list[bytes] = []
    if message.has_error():
        head.error.code, head.error.reason = message.error.code, message.error.reason or ""
    else:
        for key, record in message.content.items():
            data += _put_record(head.records.add(key=key), record)
    packed = head.SerializeToString()
    if len(packed) > MAX_HEAD_BYTES:
        raise TransportError(
            f"a message of type '{metadata.message_type}' has a head of {len(packed)} bytes",
            expected=f"at most {MAX_HEAD_BYTES}",
            remedy="Send what is large as arrays, not as configuration.",
        )
    return (_LENGTH.pack(len(packed)) + packed, *data)


def from_bytes(data: Gathered) -> Message:
    """Read a message.

    Raises:
        TransportError: the bytes are no message, or not exactly one.
    """
    view = memoryview(data)
    if len(view) < _LENGTH.size:
        raise _malformed(f"{len(view)} bytes")
    (length,) = _LENGTH.unpack_from(view)
    rest = view[_LENGTH.size + length :]
    if length > min(MAX_HEAD_BYTES, len(view) - _LENGTH.size):
        raise _malformed(f"a head of {length} bytes in {len(view)}")
    head = wire.Head()
    try:
        head.ParseFromString(bytes(view[_LENGTH.size : _LENGTH.size + length]))
    except DecodeError:
        raise _malformed("a head that is no protobuf") from None
    return _message(head, rest)


def _message(head: wire.Head, rest: memoryview) -> Message:
    try:
        metadata = Metadata(
            run_id=head.run_id,
            message_id=head.message_id,
            src_node_id=head.source,
            dst_node_id=head.destination,
            reply_to_message_id=head.reply_to,
            group_id=head.group_id,
            created_at=head.created_at,
            ttl=head.ttl,
            message_type=head.message_type,
        )
    except ValueError:
        raise _malformed(f"a message type '{head.message_type[:40]}'") from None
    if head.HasField("error"):
        if head.records or len(rest):
            raise _malformed("an error with records")
        return delivered_message(metadata, error=Error(head.error.code, head.error.reason))
    reader = _Reader(rest)
    content = RecordDict()
    for record in head.records:
        if record.key in content:
            raise _malformed(f"two records of the key '{record.key[:40]}'")
        content[record.key] = _get_record(record, reader)
    if reader.left:
        raise _malformed(f"{reader.left} bytes too many")
    return delivered_message(metadata, content=content)


class _Reader:
    """Takes the arrays' data off the end of a message, in order."""

    def __init__(self, view: memoryview) -> None:
        self._view = view

    @property
    def left(self) -> int:
        return len(self._view)

    def take(self, size: int) -> bytes:
        if size > len(self._view):
            raise _malformed(f"an array of {size} bytes where {len(self._view)} are left")
        data, self._view = bytes(self._view[:size]), self._view[size:]
        return data


def _put_record(slot: wire.Record, record: Any) -> Iterator[bytes]:
    if isinstance(record, ArrayRecord):
        slot.arrays.SetInParent()
        for key, array in record.items():
            slot.arrays.arrays.add(
                key=key, dtype=array.dtype, shape=array.shape, stype=array.stype, size=len(array.data)
            )
            yield array.data
    elif isinstance(record, MetricRecord | ConfigRecord):
        values = slot.metrics if isinstance(record, MetricRecord) else slot.config
        values.SetInParent()
        for key, value in record.items():
            _put_value(values.values.add(key=key), value)
    else:
        raise TransportError(f"a record of type {type(record).__name__} cannot be sent")


def _put_value(slot: wire.Value, value: Any) -> None:
    if isinstance(value, list):
        # Flower's lists hold one type; an empty one has none, and is read as an empty list all the same.
        name = _LISTS[type(value[0])] if value else "integers"
        getattr(slot, name).SetInParent()
        getattr(slot, name).values.extend(value)
    else:
        setattr(slot, _SCALARS[type(value)], value)


def _get_record(record: wire.Record, reader: _Reader) -> Any:
    kinds: dict[str | None, Callable[[], Any]] = {
        "arrays": lambda: _get_arrays(record.arrays, reader),
        "metrics": lambda: MetricRecord(_get_values(record.metrics)),
        "config": lambda: ConfigRecord(_get_values(record.config)),
    }
    make = kinds.get(record.WhichOneof("kind"))
    if make is None:
        raise _malformed(f"a record '{record.key[:40]}' of no kind")
    try:
        return make()
    except (TypeError, ValueError) as problem:
        raise _malformed(f"a record '{record.key[:40]}' that Flower refuses ({type(problem).__name__})") from None


def _get_arrays(arrays: wire.Arrays, reader: _Reader) -> ArrayRecord:
    found: dict[str, Array] = {}
    for array in arrays.arrays:
        if array.key in found or len(array.shape) > _MAX_DIMENSIONS:
            raise _malformed(f"an array '{array.key[:40]}' twice, or of {len(array.shape)} dimensions")
        found[array.key] = Array(
            dtype=array.dtype, shape=tuple(array.shape), stype=array.stype, data=reader.take(array.size)
        )
    return ArrayRecord(found)


def _get_values(values: wire.Values) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for value in values.values:
        kind = value.WhichOneof("kind")
        if kind is None or value.key in found:
            raise _malformed(f"a value '{value.key[:40]}' twice, or of no kind")
        got = getattr(value, kind)
        found[value.key] = list(got.values) if kind in _LISTS.values() else got
    return found


def _malformed(what: str) -> TransportError:
    return TransportError(f"a message that cannot be read: {what}", expected="one whole message of the link's format")
