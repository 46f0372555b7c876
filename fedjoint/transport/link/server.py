"""The exchange's end of all links: a gRPC service that holders connect to, in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import grpc
import grpc.aio

from fedjoint.errors import FedjointError, IdentityError, TransportError
from fedjoint.transport.link import link_pb2 as wire
from fedjoint.transport.link.buffers import Buffers
from fedjoint.transport.link.endpoint import Endpoint
from fedjoint.transport.link.framing import METHOD, SERVICE, Chunk, Frame, frame_from_bytes, frame_to_bytes
from fedjoint.transport.link.gathering import Gathered
from fedjoint.transport.link.settings import (
    MAX_DOCUMENT_BYTES,
    NEWEST_VERSION,
    OLDEST_VERSION,
    LinkSettings,
    channel_options,
)
from fedjoint.transport.link.versions import SOFTWARE, VersionRefused, common_version

__all__ = ["AddServices", "Admit", "HolderState", "LinkServer", "OnReply", "ServerCredentials", "peer_certificate"]

_log = logging.getLogger(__name__)
_EPOCH_BYTES = 16
_START_S, _GRACE_S, _END_S = 30.0, 1.0, 5.0

#: Who a client certificate (PEM) belongs to; raises :class:`IdentityError` for one that may not connect.
Admit = Callable[[bytes], str]
#: Hears a holder's reply: holder, key of the task, bytes. It is called in the server's thread and must be quick.
OnReply = Callable[[str, str, Gathered], None]
#: Adds services to a server before it starts.
AddServices = Callable[[Any], None]
_Context = Any  # grpc.aio.ServicerContext; gRPC ships no types


@dataclass(frozen=True, kw_only=True)
class ServerCredentials:
    """What an exchange serves with.

    Args:
        key_pem: Its TLS key.
        certificate_pem: Its certificate.
        authority_pem: The authority whose certificates holders must show.
    """

    key_pem: bytes = field(repr=False)
    certificate_pem: bytes
    authority_pem: bytes


@dataclass(frozen=True, kw_only=True)
class HolderState:
    """What an exchange knows of a holder's connection.

    Args:
        connected: Whether there is one now.
        silent_s: Seconds since the holder was last heard; None if it never was.
        tasks: Tasks without a reply.
        connections: How often it has connected.
        software: What the node says it is.
    """

    connected: bool
    silent_s: float | None
    tasks: int
    connections: int
    software: str


@dataclass(kw_only=True)
class _Link:
    """One holder's link; it outlives its connections."""

    endpoint: Endpoint
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    echo: wire.Frame | None = None  # the holder's last beat, to be sent back
    unanswered: dict[str, Buffers] = field(default_factory=dict)
    peer_epoch: bytes = b""
    connection: asyncio.Task[Any] | None = None
    heard_at: float | None = None
    connections: int = 0
    software: str = ""
    cut: bool = False  # its connection was ended by the exchange


class LinkServer:
    """Serves links on one port; a context manager.

    Args:
        address: ``host:port``; port 0 takes a free one, see :attr:`port`.
        credentials: Mutual TLS; there is no way to serve without.
        admit: Decides who a certificate is, at each connection.
        on_reply: Hears each reply once.
        settings: Limits and times.
        services: Adds further services to the same server and port; it decides itself who may call them.

    Raises:
        TransportError: the address cannot be served on.
    """

    def __init__(
        self,
        address: str,
        credentials: ServerCredentials,
        *,
        admit: Admit,
        on_reply: OnReply,
        settings: LinkSettings | None = None,
        services: AddServices | None = None,
    ) -> None:
        self._address, self._credentials, self._services = address, credentials, services
        self._admit, self._on_reply, self._settings = admit, on_reply, settings or LinkSettings()
        self._epoch = secrets.token_bytes(_EPOCH_BYTES)
        self._links: dict[str, _Link] = {}
        self._loop = asyncio.new_event_loop()
        self._started: threading.Event = threading.Event()
        self._stop = asyncio.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="fedjoint-link-server", daemon=True)
        self.port = 0

    def __enter__(self) -> LinkServer:
        self._thread.start()
        if not self._started.wait(_START_S) or self._failure is not None:
            raise TransportError(
                f"cannot serve on {self._address} ({str(self._failure or 'no answer').partition(';')[0]})",
                remedy="Choose another port, or stop the program that has it.",
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    # -- what the coordinator's thread calls

    def submit(self, holder: str, key: str, buffers: Buffers) -> None:
        """Send a task; it waits for the holder's next connection if there is none."""
        self._loop.call_soon_threadsafe(self._submit, holder, key, buffers)

    def withdraw(self, holder: str, key: str) -> None:
        """Expect no reply to a task any more; one that comes is dropped."""
        self._loop.call_soon_threadsafe(self._withdraw, holder, key)

    def disconnect(self, holder: str) -> None:
        """End a holder's connection, after its certificate was revoked, say; it may try again."""
        self._loop.call_soon_threadsafe(self._disconnect, holder)

    def states(self) -> dict[str, HolderState]:
        """What is known of every holder that was ever connected or has a task."""

        async def read() -> dict[str, HolderState]:
            return {holder: _state(link) for holder, link in self._links.items()}

        return asyncio.run_coroutine_threadsafe(read(), self._loop).result()

    # -- in the server's own thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
            self._loop.run_until_complete(_end_tasks())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        try:
            server = grpc.aio.server(options=_server_options(self._settings))
            serve = grpc.stream_stream_rpc_method_handler(
                self._connect, request_deserializer=frame_from_bytes, response_serializer=frame_to_bytes
            )
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: serve}),))
            if self._services is not None:
                self._services(server)
            pair = (self._credentials.key_pem, self._credentials.certificate_pem)
            tls = grpc.ssl_server_credentials([pair], self._credentials.authority_pem, require_client_auth=True)
            self.port = server.add_secure_port(self._address, tls)
            await server.start()
        except Exception as failure:  # it is raised in the thread that waits for the start
            self._failure = failure
            self._started.set()
            return
        self._started.set()
        await self._stop.wait()
        stopping = asyncio.ensure_future(server.stop(grace=_GRACE_S))
        for holder in self._links:
            self._disconnect(holder)  # or gRPC breaks it off, and says so at length
        await stopping

    def _link(self, holder: str) -> _Link:
        if holder not in self._links:
            self._links[holder] = _Link(endpoint=Endpoint(self._settings))
        return self._links[holder]

    def _submit(self, holder: str, key: str, buffers: Buffers) -> None:
        link = self._link(holder)
        link.unanswered[key] = buffers
        link.endpoint.send(key, buffers)
        link.wake.set()

    def _withdraw(self, holder: str, key: str) -> None:
        link = self._link(holder)
        link.unanswered.pop(key, None)
        link.endpoint.withdraw(key)

    def _disconnect(self, holder: str) -> None:
        link = self._links.get(holder)
        if link is not None and link.connection is not None:
            link.cut = True
            link.connection.cancel()

    async def _connect(self, frames: AsyncIterator[Frame], context: _Context) -> None:
        """Serve one connection of a holder until it breaks."""
        holder = ""
        try:
            holder = self._admit(peer_certificate(context))
            link = self._link(holder)
            hello = await self._hello(frames)
            await self._serve_connection(holder, link, hello, frames, context)
        except FedjointError as refusal:
            _log.warning("connection of '%s' refused: %s", holder or "unknown", refusal)
            await context.abort(_STATUS.get(type(refusal), grpc.StatusCode.INVALID_ARGUMENT), _words(refusal))
        except TimeoutError:
            _log.info("connection of '%s' is silent and was closed", holder)
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "transport.silent\nnothing was heard for too long")

    async def _hello(self, frames: AsyncIterator[Frame]) -> wire.Hello:
        async with asyncio.timeout(self._settings.hello_s):
            first = await anext(frames, wire.Frame())
        hello = wire.Hello() if isinstance(first, Chunk) else first.hello
        if len(hello.epoch) != _EPOCH_BYTES:
            raise TransportError("a connection that does not begin with hello")
        _common_version(hello)
        return hello

    async def _serve_connection(
        self,
        holder: str,
        link: _Link,
        hello: wire.Hello,
        frames: AsyncIterator[Frame],
        context: _Context,
    ) -> None:
        mine = asyncio.current_task()
        if link.connection is not None:
            link.connection.cancel()  # the node has connected anew: the older connection is dead, or its twin
        link.connection, link.software, link.cut = mine, hello.software[:60], False
        link.connections += 1
        link.heard_at = time.monotonic()
        _log.info("'%s' is connected", holder)
        writer: asyncio.Task[None] | None = None
        try:
            welcome = self._welcome(link, hello)
            await context.write(wire.Frame(welcome=welcome))
            writer = asyncio.create_task(_write(link, context))
            await self._read(holder, link, frames)
        except asyncio.CancelledError:
            if link.connection is not mine:
                return  # replaced by a newer connection
            if not link.cut:
                raise
            # to return ends the stream, so that the node connects anew at once and is told whether it still may
        finally:
            if writer is not None:
                writer.cancel()
            if link.connection is mine:
                link.connection = None
                _log.info("'%s' is not connected any more", holder)

    def _welcome(self, link: _Link, hello: wire.Hello) -> wire.Welcome:
        """Take up where the last connection broke, or begin anew with every task that has no reply yet."""
        welcome = wire.Welcome(
            version=_common_version(hello),
            software=SOFTWARE,
            epoch=self._epoch,
            beat_ms=round(self._settings.beat_s * 1000),
        )
        if hello.epoch == link.peer_epoch and hello.peer_epoch == self._epoch:
            link.endpoint.connected(hello.received)
            welcome.received.CopyFrom(link.endpoint.received)
            return welcome
        link.peer_epoch = hello.epoch
        link.endpoint.clear()
        link.endpoint.connected(None)
        link.endpoint.forget_received()
        for key, buffers in link.unanswered.items():
            link.endpoint.send(key, buffers)
        return welcome

    async def _read(self, holder: str, link: _Link, frames: AsyncIterator[Frame]) -> None:
        while True:
            async with asyncio.timeout(self._settings.silence_s):
                frame = await anext(frames, None)
            if frame is None:
                return
            link.heard_at = time.monotonic()
            if isinstance(frame, wire.Frame) and frame.WhichOneof("body") == "beat":
                link.echo = frame
            arrived = link.endpoint.take(frame)
            link.wake.set()
            if arrived is not None and link.unanswered.pop(arrived.key, None) is not None:
                self._on_reply(holder, arrived.key, arrived.data)


async def _write(link: _Link, context: _Context) -> None:
    """Put frames on the connection as it takes them: gRPC's flow control is the backpressure."""
    while True:
        frame, link.echo = link.echo or link.endpoint.next_frame(), None
        if frame is not None:
            await context.write(frame)
            continue
        link.wake.clear()
        await link.wake.wait()


async def _end_tasks() -> None:
    """Let connections end that gRPC broke off and does not wait for: forgotten, each would complain in the log."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=_END_S)


def _common_version(hello: wire.Hello) -> int:
    spoken = (OLDEST_VERSION, NEWEST_VERSION)
    return common_version(
        hello.oldest_version, hello.newest_version, software=hello.software, spoken=spoken, what="link"
    )


_STATUS: dict[type, grpc.StatusCode] = {
    IdentityError: grpc.StatusCode.UNAUTHENTICATED,
    VersionRefused: grpc.StatusCode.FAILED_PRECONDITION,
}


def _server_options(settings: LinkSettings) -> list[tuple[str, int]]:
    """A handshake that takes longer is a slow-loris; a holder needs one stream, and few calls beside it."""
    received_only = [option for option in channel_options(settings) if option[0] != "grpc.max_send_message_length"]
    return [
        *received_only,
        ("grpc.max_send_message_length", MAX_DOCUMENT_BYTES),
        ("grpc.server_handshake_timeout_ms", round(settings.hello_s * 1000)),
        ("grpc.max_concurrent_streams", 16),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.so_reuseport", 0),
    ]


def _words(refusal: FedjointError) -> str:
    return f"{refusal.code}\n{refusal}"


def _state(link: _Link) -> HolderState:
    silent = None if link.heard_at is None else time.monotonic() - link.heard_at
    return HolderState(
        connected=link.connection is not None,
        silent_s=silent,
        tasks=len(link.unanswered),
        connections=link.connections,
        software=link.software,
    )


def peer_certificate(context: _Context) -> bytes:
    """The certificate (PEM) of whoever calls; TLS has checked who issued it.

    Raises:
        IdentityError: there is none.
    """
    found = context.auth_context().get("x509_pem_cert", [])
    if not found:
        raise IdentityError("a connection without a certificate", remedy="Enrol the node with the exchange first.")
    return bytes(found[0])
