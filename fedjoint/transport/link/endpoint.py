"""One side of a link, without a network: what is still to be sent, and what has arrived.

Each direction is a sequence of messages numbered from 1. A message stays here until the other side has said that it has
all of it; after a broken connection the rest of it is sent, from the byte where it broke. Neither side's process is
trusted to survive: one that starts anew has another epoch, and the other side then begins at 1 with all that is unsent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fedjoint.errors import TransportError
from fedjoint.transport.link import link_pb2 as wire
from fedjoint.transport.link.buffers import Buffers, message_size
from fedjoint.transport.link.compression import compress, decompress
from fedjoint.transport.link.framing import Chunk, Frame
from fedjoint.transport.link.gathering import Gathered, Gathering
from fedjoint.transport.link.settings import LinkSettings

__all__ = ["Arrived", "Endpoint"]

MAX_KEY_CHARACTERS = 128


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """A message that is whole: its idempotency key and its bytes."""

    key: str
    data: Gathered


@dataclass(frozen=True, kw_only=True)
class _Outgoing:
    key: str
    buffers: Buffers
    size: int
    raw_size: int


@dataclass(kw_only=True)
class _Incoming:
    key: str
    size: int
    raw_size: int
    data: Gathering


class Endpoint:
    """One side of a link.

    Guarantees:
        Every message sent by one endpoint arrives once and in order at the other, however often and wherever the
        connection breaks, as long as both processes live.
    """

    def __init__(self, settings: LinkSettings) -> None:
        self._settings = settings
        self._waiting: deque[_Outgoing] = deque()  # not begun, and so not numbered
        self._numbered: deque[_Outgoing] = deque()  # begun, and not acknowledged
        self._first = 1  # number of the first of these
        self._sending: Iterator[Frame] = iter(())
        self._next = 1  # number of the next to be begun or resumed in this connection
        self._offset = 0
        self._expected, self._partial = 1, None  # type: int, _Incoming | None
        self._in_message = False  # a Begin was seen in this connection
        self._owes_ack = False

    # -- sending

    def send(self, key: str, buffers: Buffers) -> None:
        """Queue a message.

        Raises:
            TransportError: it is empty, or larger than the other side would take.
        """
        raw_size = message_size(buffers)
        if not 0 < raw_size <= self._settings.max_message_bytes:
            raise TransportError(
                f"a message of {raw_size} bytes",
                expected=f"1 to {self._settings.max_message_bytes}",
                remedy="Raise link.max_message_bytes on both sides, or train a smaller model.",
            )
        packed = compress(buffers)
        self._waiting.append(
            _Outgoing(
                key=key,
                buffers=packed or buffers,
                size=message_size(packed or buffers),
                raw_size=raw_size if packed else 0,
            )
        )

    def withdraw(self, key: str) -> None:
        """Do not send a message that has not been begun; nothing happens if it has."""
        self._waiting = deque(message for message in self._waiting if message.key != key)

    def clear(self) -> None:
        """Withdraw all that is not acknowledged."""
        self._waiting.clear()
        self._numbered.clear()

    def next_frame(self) -> Frame | None:
        """The next frame to put on the connection, None if there is nothing to send now."""
        if self._owes_ack:
            self._owes_ack = False
            return wire.Frame(ack=wire.Ack(sequence=self._expected))
        frame = next(self._sending, None)
        if frame is None and (message := self._following()) is not None:
            self._sending = self._frames(message, self._next, self._offset)
            self._next, self._offset = self._next + 1, 0
            frame = next(self._sending)
        return frame

    def _following(self) -> _Outgoing | None:
        index = self._next - self._first
        if index < len(self._numbered):
            return self._numbered[index]
        if not self._waiting:
            return None
        self._numbered.append(self._waiting.popleft())
        return self._numbered[-1]

    def _frames(self, message: _Outgoing, number: int, offset: int) -> Iterator[Frame]:
        yield wire.Frame(
            begin=wire.Begin(
                sequence=number, key=message.key, size=message.size, offset=offset, raw_size=message.raw_size
            )
        )
        for part in _cut(message.buffers, offset, self._settings.chunk_bytes):
            yield Chunk(part)

    # -- connections

    @property
    def received(self) -> wire.Position:
        """How far this side has got with what the other sends."""
        return wire.Position(sequence=self._expected, offset=len(self._partial.data) if self._partial else 0)

    def connected(self, peer_received: wire.Position | None) -> None:
        """Begin a connection.

        Args:
            peer_received: How far the other side has got; None if its process has forgotten all: then what it has not
                acknowledged is sent again, numbered from 1.

        Raises:
            TransportError: it has got further than anything that was sent.
        """
        self._sending, self._in_message, self._owes_ack = iter(()), False, False
        if peer_received is None:
            self._waiting.extendleft(reversed(self._numbered))
            self._numbered.clear()
            self._first = self._next = 1
            self._offset = 0
            return
        self._acknowledge(peer_received.sequence)
        head = self._numbered[0] if self._numbered else None
        if peer_received.offset > (head.size if head else 0):
            raise TransportError(f"the other side says it has {peer_received.offset} bytes of a message not sent")
        self._next, self._offset = self._first, peer_received.offset

    def forget_received(self) -> None:
        """The other side's process is another: its messages are numbered from 1."""
        self._expected, self._partial = 1, None

    def _acknowledge(self, sequence: int) -> None:
        if not self._first <= sequence <= self._first + len(self._numbered):
            raise TransportError(f"message {sequence} is acknowledged out of turn", expected=f"{self._first} or later")
        for _ in range(sequence - self._first):
            self._numbered.popleft()
        self._first = sequence

    # -- receiving

    def take(self, frame: Frame) -> Arrived | None:
        """Take a frame in; returns the message that it completes.

        Raises:
            TransportError: the frame breaks the protocol's rules or a limit; the connection must end.
        """
        if isinstance(frame, Chunk):
            return self._chunk(frame.data)
        kind = frame.WhichOneof("body")
        if kind == "chunk":
            return self._chunk(frame.chunk)
        if kind == "begin":
            self._begin(frame.begin)
        elif kind == "ack":
            self._acknowledge(frame.ack.sequence)
        elif kind != "beat":
            raise TransportError(f"a frame '{kind}' in the middle of a connection")
        return None

    def _begin(self, begin: wire.Begin) -> None:
        if self._in_message or begin.sequence != self._expected:
            raise TransportError(f"message {begin.sequence} begins out of turn", expected=f"message {self._expected}")
        limit = self._settings.max_message_bytes
        if not 0 < begin.size <= limit or begin.raw_size > limit or len(begin.key) > MAX_KEY_CHARACTERS:
            raise TransportError(
                f"a message of {max(begin.size, begin.raw_size)} bytes is announced", expected=f"1 to {limit}"
            )
        described = (begin.key, begin.size, begin.raw_size)
        if self._partial is None:
            data = Gathering(begin.size)
            self._partial = _Incoming(key=begin.key, size=begin.size, raw_size=begin.raw_size, data=data)
        here = self._partial
        if begin.offset != len(here.data) or described != (here.key, here.size, here.raw_size):
            raise TransportError(f"message {begin.sequence} goes on as another than it began")
        self._in_message = True

    def _chunk(self, data: bytes | memoryview) -> Arrived | None:
        here = self._partial
        if here is None or not self._in_message or not data or len(here.data) + len(data) > here.size:
            raise TransportError(f"a chunk of {len(data)} bytes that belongs to no message")
        here.data.add(data)
        if len(here.data) < here.size:
            return None
        self._expected, self._partial, self._in_message, self._owes_ack = self._expected + 1, None, False, True
        whole = here.data.whole()
        return Arrived(key=here.key, data=decompress(whole, here.raw_size) if here.raw_size else whole)


def _cut(buffers: Iterable[bytes], offset: int, size: int) -> Iterator[memoryview]:
    """All bytes of some buffers from an offset on, in parts of at most ``size``; small buffers share a part."""
    pending = bytearray()
    for buffer in buffers:
        view = memoryview(buffer)
        start = min(offset, len(view))
        offset -= start
        for begin in range(start, len(view), size):
            part = view[begin : begin + size]
            if len(pending) + len(part) > size:
                yield memoryview(bytes(pending))
                pending.clear()
            if len(part) == size:
                yield part
            else:
                pending += part
    if pending:
        yield memoryview(bytes(pending))
