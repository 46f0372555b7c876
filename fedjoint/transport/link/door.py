"""Doors: Unix sockets through which the processes of a stock Flower federation reach ours on the same machine.

A SuperNode starts a process for every message and forgets it; a SuperLink starts one for the coordinator's app. What
must be remembered and protected (keys, budget, policy, the record) stays in our own process, which those ask through a
door and cannot get behind. Only the user that our process runs as, and root, can open a door.
"""

from __future__ import annotations

import contextlib
import os
import queue
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from fedjoint.errors import FedjointError, TransportError
from fedjoint.transport.link.buffers import Buffers
from fedjoint.transport.link.client import Answer
from fedjoint.transport.link.server import OnReply

__all__ = ["MAX_DOOR_BYTES", "ExchangeDoor", "HolderDoor", "carry", "knock"]

#: gRPC itself takes less than 2 GiB in one message.
MAX_DOOR_BYTES = 1 << 30
_SERVICE, _METHOD = "fedjoint.door.v1.Door", "Answer"
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_DOOR_BYTES),
    ("grpc.max_send_message_length", MAX_DOOR_BYTES),
    ("grpc.enable_http_proxy", 0),
]
#: A Unix socket's name is at most 108 bytes with its final zero (unix(7)).
_MAX_PATH_BYTES = 107
_STOP_S = 1.0


class _Door:
    """A gRPC server behind a Unix socket; a context manager."""

    def __init__(self, path: Path, method: Any) -> None:
        self._path = path.absolute()
        _require_private(self._path)
        self._server: Any = grpc.server(ThreadPoolExecutor(2, thread_name_prefix="fedjoint-door"), options=_OPTIONS)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {_METHOD: method}),))

    def __enter__(self) -> Self:
        try:
            bound = self._server.add_insecure_port(f"unix:{self._path}")
        except RuntimeError:
            bound = 0
        if not bound:
            raise TransportError(
                f"the socket {self._path} cannot be opened", remedy="Stop the other process that has this folder."
            )
        self._path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(_STOP_S).wait()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


class HolderDoor(_Door):
    """Answers the tasks that a SuperNode's processes hand on, one after the other.

    Args:
        path: Of the socket; its folder must be readable by its owner alone.
        answer: Does a task, as :class:`~fedjoint.transport.link.client.HolderLink` has it done.

    Raises:
        TransportError: the path is too long, its folder is open to others, or another process has the door.
    """

    def __init__(self, path: Path, answer: Answer) -> None:
        super().__init__(path, grpc.unary_unary_rpc_method_handler(self._serve))  # bytes in, bytes out
        self._answer, self._one_at_a_time = answer, threading.Lock()

    def _serve(self, task: bytes, context: Any) -> bytes:
        try:
            with self._one_at_a_time:
                return b"".join(self._answer(task))
        except FedjointError as refusal:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{refusal.code}: {refusal}")
            raise  # abort raises by itself


class ExchangeDoor(_Door):
    """Gives the SuperLink's app the tasks to send, and takes the replies that it received.

    It stands where a :class:`~fedjoint.transport.link.server.LinkServer` stands for links of our own. A task waits
    until an app is there; an app that comes after another was lost gets every task that has no reply yet.

    Args:
        path: Of the socket; its folder must be readable by its owner alone.
        on_reply: Hears each reply once.

    Raises:
        TransportError: as for :class:`HolderDoor`.
    """

    def __init__(self, path: Path, on_reply: OnReply) -> None:
        super().__init__(path, grpc.stream_stream_rpc_method_handler(self._serve))
        self._on_reply = on_reply
        self._unanswered: dict[str, tuple[str, Buffers]] = {}
        self._outgoing: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._outgoing.put(None)  # the app's stream ends as agreed, not broken
        super().__exit__(kind, value, trace)

    def submit(self, holder: str, key: str, buffers: Buffers) -> None:
        """Send a task."""
        with self._lock:
            self._unanswered[key] = (holder, buffers)
            self._outgoing.put(key)

    def withdraw(self, holder: str, key: str) -> None:
        """Expect no reply to a task any more; one that comes is dropped."""
        del holder
        with self._lock:
            self._unanswered.pop(key, None)

    def _serve(self, replies: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """One app, until it is gone."""
        with self._lock:
            self._outgoing.put(None)  # an older app, if there is one, is lost: it would never see this through
            mine = self._outgoing = queue.SimpleQueue()
            for waiting in self._unanswered:
                mine.put(waiting)
        context.add_callback(lambda: mine.put(None))
        threading.Thread(target=self._take, args=(replies,), daemon=True).start()
        while (key := mine.get()) is not None:
            with self._lock:
                task = self._unanswered.get(key)
            if task is not None:
                yield b"\n".join((task[0].encode(), key.encode(), b"".join(task[1])))

    def _take(self, replies: Iterator[bytes]) -> None:
        with contextlib.suppress(grpc.RpcError):  # the app is gone
            for reply in replies:
                head, _, data = reply.partition(b"\n")
                key = head.decode(errors="replace")
                with self._lock:
                    task = self._unanswered.pop(key, None)
                if task is not None:
                    self._on_reply(task[0], key, data)


def knock(path: Path, task: bytes, *, timeout_s: float) -> bytes:
    """Have a task answered by the holder's process.

    Raises:
        TransportError: nobody is behind the door, it took too long, or the task was refused.
    """
    with grpc.insecure_channel(f"unix:{path.absolute()}", options=_OPTIONS) as channel:
        ask = channel.unary_unary(f"/{_SERVICE}/{_METHOD}")
        try:
            return bytes(ask(task, timeout=timeout_s))
        except grpc.RpcError as failure:
            raise TransportError(
                f"the holder's process behind {path} did not answer ({failure.code().name}: {failure.details()})",
                remedy="Start it with `fedjoint holder start` and the same folder.",
            ) from None


def carry(path: Path, send: Callable[[str, str, bytes], None], replies: Iterable[tuple[str, bytes]]) -> None:
    """Stand between an exchange's door and a SuperLink, until the exchange closes the door.

    Args:
        path: Of the door.
        send: Sends a task on: holder, key, bytes. It is called in this thread.
        replies: Key and bytes of each reply; iterated in another thread until it ends.

    Raises:
        TransportError: nobody is behind the door.
    """
    with grpc.insecure_channel(f"unix:{path.absolute()}", options=_OPTIONS) as channel:
        stream = channel.stream_stream(f"/{_SERVICE}/{_METHOD}")
        try:
            for task in stream(b"\n".join((key.encode(), data)) for key, data in replies):
                holder, of_task, content = task.split(b"\n", 2)
                send(holder.decode(), of_task.decode(), content)
        except grpc.RpcError as failure:
            raise TransportError(
                f"the exchange's process behind {path} is not there ({failure.code().name}: {failure.details()})",
                remedy="Start it with `fedjoint exchange start` and the same folder.",
            ) from None


def _require_private(path: Path) -> None:
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise TransportError(
            f"the socket's path has {len(os.fsencode(path))} bytes: {path}",
            expected=f"at most {_MAX_PATH_BYTES}",
            remedy="Choose a shorter folder.",
        )
    if not path.parent.is_dir():
        raise TransportError(f"there is no folder {path.parent} for a door", remedy=f"mkdir -m 700 {path.parent}")
    if path.parent.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise TransportError(
            f"the folder {path.parent} of a door is open to others than its owner", remedy=f"chmod 700 {path.parent}"
        )
