"""A Flower Grid over our own links: the ServerApp runs here, the ClientApps run at the holders, in other processes."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from flwr.app import Error, Message
from flwr.clientapp import ClientApp

from fedjoint.errors import FedjointError, TransportError
from fedjoint.transport.app_node import answer_of, context_of
from fedjoint.transport.holder_grid import HolderGrid
from fedjoint.transport.link.buffers import Buffers, message_size
from fedjoint.transport.link.codec import from_bytes, to_buffers
from fedjoint.transport.link.gathering import Gathered
from fedjoint.transport.touch_points import begin_run, give_id

__all__ = ["Carrier", "GrpcGrid", "make_answer", "serve_app"]

#: Flower error code of ours: a reply that could not be read.
_UNREADABLE = 7_004
_MOMENT_S = 1.0


class Carrier(Protocol):
    """Carries tasks to holders: a LinkServer, or the door to a stock Flower federation."""

    def submit(self, holder: str, key: str, buffers: Buffers) -> None:
        """Send a task."""
        ...

    def withdraw(self, holder: str, key: str) -> None:
        """Expect no reply to a task any more."""
        ...


class GrpcGrid(HolderGrid):
    """Connects a ServerApp to holders over links.

    Which holder a reply is from is what the holder's certificate says, and which task it answers is what its key says:
    nothing that the reply says of itself is believed.

    Args:
        holders: Ids, one node each.
    """

    def __init__(self, holders: Sequence[str]) -> None:
        super().__init__(holders)
        self._tasks: dict[str, Message] = {}
        self._replies: dict[str, Gathered] = {}
        self._news = threading.Condition()
        self._server: Carrier | None = None
        self._interruption: FedjointError | None = None

    def serve_through(self, server: Carrier) -> None:
        """Send tasks through a server whose replies come to :meth:`on_reply`."""
        self._server = server

    def on_reply(self, holder: str, key: str, data: Gathered) -> None:
        """Take a reply; called by the server's thread."""
        with self._news:
            task = self._tasks.get(key)
            if task is not None and self._holders.get(task.metadata.dst_node_id) == holder:
                self._replies[key] = data
                self._news.notify_all()

    def interrupt(self, reason: FedjointError) -> None:
        """Wait for no reply any more: whoever does, or would, gets this error instead. Any thread may call it."""
        with self._news:
            self._interruption = reason
            self._news.notify_all()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send tasks; a holder that is not connected gets its task when it is."""
        if self._server is None:
            raise TransportError("the grid has no server yet", remedy="Call serve_through first.")
        keys = []
        for message in messages:
            key = uuid.uuid4().hex
            give_id(message, key)
            with self._news:
                self._tasks[key] = message
            buffers = to_buffers(message)
            self._count("down", message.metadata.message_type, message_size(buffers))
            self._server.submit(self._holders[message.metadata.dst_node_id], key, buffers)
            keys.append(key)
        return keys

    def pull_messages(self, message_ids: Iterable[str]) -> Iterator[Message]:
        """Give out the replies that are here, each once."""
        for key in message_ids:
            with self._news:
                data = self._replies.pop(key, None)
                task = self._tasks.pop(key) if data is not None else None
            if data is not None and task is not None:
                self._count("up", task.metadata.message_type, len(data))
                yield _reply(task, data)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Send tasks and give out the replies one by one as they come, until the time is up.

        Args:
            messages: Tasks.
            timeout: Seconds of waiting for all of them together; None waits for ever. While this process is stopped, or
                busy with a reply, no holder loses time.

        Raises:
            FedjointError: the reason given to :meth:`interrupt`.
        """
        waiting = set(self.push_messages(messages))
        patience = _Patience(timeout)
        try:
            while waiting and (arrived := self._wait(waiting, patience)):
                waiting -= arrived
                yield from self.pull_messages(sorted(arrived))
        finally:
            self._withdraw(waiting)

    def _wait(self, waiting: set[str], patience: _Patience) -> set[str]:
        """Those of some tasks whose replies are here; empty when the time is up."""
        with self._news:
            while not (self._interruption or waiting & self._replies.keys() or patience.is_over):
                patience.wait(self._news)
            if self._interruption is not None:
                raise self._interruption
            return waiting & self._replies.keys()

    def _withdraw(self, keys: Iterable[str]) -> None:
        for key in keys:
            with self._news:
                task = self._tasks.pop(key, None)
                self._replies.pop(key, None)
            if task is not None and self._server is not None:
                self._server.withdraw(self._holders[task.metadata.dst_node_id], key)


class _Patience:
    """Time that is spent waiting, and none that passes while the process does not run.

    Args:
        seconds: So long; None for ever.
    """

    def __init__(self, seconds: float | None) -> None:
        self._left = math.inf if seconds is None else seconds

    @property
    def is_over(self) -> bool:
        return self._left <= 0

    def wait(self, news: threading.Condition) -> None:
        """Wait a moment, or until there is news: whoever is stopped in it comes back a moment older, not a night."""
        began, moment = time.monotonic(), min(self._left, _MOMENT_S)
        news.wait(moment)
        self._left -= min(time.monotonic() - began, moment)


def _reply(task: Message, data: Gathered) -> Message:
    try:
        got = from_bytes(data)
    except TransportError as problem:
        return Message(Error(_UNREADABLE, str(problem)), reply_to=task)
    reply = Message(got.error, reply_to=task) if got.has_error() else Message(got.content, reply_to=task)
    give_id(reply, uuid.uuid4().hex)
    return reply


def make_answer(serve: Callable[[Message], Message]) -> Callable[[Gathered], Buffers]:
    """What a holder's link does with a task's bytes: read it, let the app do it, write the reply."""

    def answer(data: Gathered) -> Buffers:
        return to_buffers(serve(from_bytes(data)))

    return answer


def serve_app(app: ClientApp, holder: str) -> Callable[[Gathered], Buffers]:
    """What the link of a deployed holder does with a task: its ClientApp does it, in this process.

    Args:
        app: The holder's app.
        holder: Its id.
    """
    context = context_of(holder, run_id=begin_run().run_id)  # without a run of its process Flower makes no reply
    return make_answer(lambda message: answer_of(app, message, context))
