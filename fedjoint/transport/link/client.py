"""A holder's end of the link: it connects outward, keeps connected, and answers the exchange's tasks."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
import grpc.aio
import tenacity

from fedjoint.errors import IdentityError, TransportError
from fedjoint.identity.certificates import check_certificate
from fedjoint.transport.link import link_pb2 as wire
from fedjoint.transport.link.buffers import Buffers
from fedjoint.transport.link.endpoint import Arrived, Endpoint
from fedjoint.transport.link.framing import METHOD, SERVICE, frame_from_bytes, frame_to_bytes
from fedjoint.transport.link.gathering import Gathered
from fedjoint.transport.link.settings import NEWEST_VERSION, OLDEST_VERSION, LinkSettings, channel_options
from fedjoint.transport.link.versions import SOFTWARE

__all__ = ["Answer", "ClientCredentials", "HolderLink", "connection_options"]

_log = logging.getLogger(__name__)
_EPOCH_BYTES = 16
_FIRST_BACKOFF_S, _FASTEST_BEAT_S = 0.2, 0.05
#: So many replies are kept, to be sent again when a task comes again: a holder has one task at a time.
_REPLIES_KEPT = 4

#: Does a task: its bytes to the reply's buffers. It runs in a thread of its own, one task after the other.
Answer = Callable[[Gathered], Buffers]
_Call = Any  # grpc.aio.StreamStreamCall; gRPC ships no types


@dataclass(frozen=True, kw_only=True)
class ClientCredentials:
    """What a holder's node connects with.

    Args:
        key_pem: Its TLS key.
        certificate_pem: Its certificate.
        authority_pem: The authority of the exchange that it trusts.
        server_name: Name in the exchange's certificate, where it differs from the one connected to.
    """

    key_pem: bytes = field(repr=False)
    certificate_pem: bytes
    authority_pem: bytes
    server_name: str | None = None

    def secure(self) -> Any:
        """What gRPC connects with."""
        return grpc.ssl_channel_credentials(self.authority_pem, self.key_pem, self.certificate_pem)

    def require_current(self) -> None:
        """Say why an exchange hangs up before a word is spoken: TLS tells it the exchange, and not the node.

        Raises:
            IdentityError: the certificate has expired, is not valid yet, or is another authority's.
        """
        check_certificate(self.certificate_pem, self.authority_pem, now=datetime.now(UTC))


def connection_options(
    settings: LinkSettings, credentials: ClientCredentials, proxy: str | None
) -> list[tuple[str, int | str]]:
    """GRPC's options of a node's connections, through a proxy where there is one."""
    options: list[tuple[str, int | str]] = [*channel_options(settings)]
    if proxy is not None:
        options.append(("grpc.http_proxy", proxy))
    if credentials.server_name is not None:
        options.append(("grpc.ssl_target_name_override", credentials.server_name))
    return options


class HolderLink:
    """Keeps one holder connected to its exchange.

    Args:
        target: ``host:port`` of the exchange.
        credentials: Mutual TLS; there is no way to connect without.
        answer: Does the tasks.
        settings: Limits and times; the exchange says how often it wants a beat.
        proxy: ``http://host:port`` of a proxy that connections go through by HTTP CONNECT; None takes the
            environment's ``https_proxy`` and ``no_proxy``, as gRPC does.

    Attributes:
        connections: How often it has connected.
        latency_s: Seconds between the last beat and its echo; None before the first.
    """

    def __init__(
        self,
        target: str,
        credentials: ClientCredentials,
        *,
        answer: Answer,
        settings: LinkSettings | None = None,
        proxy: str | None = None,
    ) -> None:
        self._target, self._credentials, self._answer = target, credentials, answer
        self._settings, self._proxy = settings or LinkSettings(), proxy
        self._epoch, self._peer_epoch = secrets.token_bytes(_EPOCH_BYTES), b""
        self._endpoint = Endpoint(self._settings)
        self._replies: OrderedDict[str, Buffers] = OrderedDict()
        self._doing: set[str] = set()
        self._tasks: set[asyncio.Future[None]] = set()
        self._jitter = secrets.SystemRandom()
        self._wake = asyncio.Event()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="fedjoint-task")
        self.connections = 0
        self.latency_s: float | None = None
        self._beaten = (0, 0.0)  # number of the last beat, and when it was sent

    async def run(self, stop: asyncio.Event) -> None:
        """Stay connected and answer, until told to stop; a broken connection is made anew, after a growing pause.

        Raises:
            IdentityError: the exchange does not accept this node's certificate, or it has expired.
            TransportError: the exchange speaks another version of the protocol, or one side breaks its rules.
        """
        stopped = asyncio.ensure_future(stop.wait())
        connected = asyncio.ensure_future(self._stay_connected())
        try:
            await asyncio.wait({connected, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if connected.done():
                connected.result()
        finally:
            await _end({connected, stopped, *self._tasks})
            self._worker.shutdown(wait=False, cancel_futures=True)

    def use(self, credentials: ClientCredentials) -> None:
        """Connect with other credentials from the next connection on."""
        self._credentials = credentials

    def wait_idle(self) -> None:
        """Once :meth:`run` has ended, wait until a task that was begun is done."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    async def _stay_connected(self) -> None:
        while True:
            again = tenacity.AsyncRetrying(
                wait=tenacity.wait_random_exponential(_FIRST_BACKOFF_S, max=self._settings.backoff_s),
                retry=tenacity.retry_if_exception_type(_Unreachable),
                before_sleep=lambda state: _log.warning("%s", state.outcome.exception() if state.outcome else ""),
            )
            await again(self._connect)
            await asyncio.sleep(self._jitter.uniform(0, _FIRST_BACKOFF_S))

    async def _connect(self) -> None:
        """One connection, until it breaks.

        Raises:
            _Unreachable: there was none.
        """
        tls, options = self._credentials.secure(), connection_options(self._settings, self._credentials, self._proxy)
        before = self.connections
        async with grpc.aio.secure_channel(self._target, tls, options=options) as channel:
            connect = channel.stream_stream(
                f"/{SERVICE}/{METHOD}", request_serializer=frame_to_bytes, response_deserializer=frame_from_bytes
            )
            call: _Call = connect()
            try:
                beat_s = await self._welcome(call)
                self.connections += 1
                _log.info("connected to %s", self._target)
                await self._exchange(call, beat_s)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
                call.cancel()  # one that is not over has no code, and would be waited for without end
                code, words = await call.code(), await call.details() or ""
                _raise_if_final(code, words)
                if self.connections == before:
                    self._credentials.require_current()
                    raise _Unreachable(f"{self._target} cannot be reached ({code.name}: {words[:300]})") from None
                _log.info("the connection to %s broke (%s)", self._target, code.name)
            finally:
                call.cancel()

    async def _welcome(self, call: _Call) -> float:
        """Say hello, be welcomed, take up what the last connection left; returns how often to beat, in seconds."""
        hello = wire.Hello(
            oldest_version=OLDEST_VERSION,
            newest_version=NEWEST_VERSION,
            software=SOFTWARE,
            epoch=self._epoch,
            peer_epoch=self._peer_epoch,
            received=self._endpoint.received,
        )
        async with asyncio.timeout(self._settings.hello_s):
            await call.write(wire.Frame(hello=hello))
            frame = await call.read()
        if not isinstance(frame, wire.Frame) or frame.WhichOneof("body") != "welcome":
            raise TimeoutError
        welcome = frame.welcome
        if welcome.HasField("received"):
            self._endpoint.connected(welcome.received)
        else:
            self._peer_epoch = welcome.epoch
            self._endpoint.connected(None)
            self._endpoint.forget_received()
        self._wake.set()
        return max(_FASTEST_BEAT_S, float(welcome.beat_ms) / 1000)

    async def _exchange(self, call: _Call, beat_s: float) -> None:
        """Read, write and beat at once; the first that ends ends the connection."""
        work = [self._read(call, beat_s * self._settings.beats_lost), self._write(call), self._beat(call, beat_s)]
        tasks = {asyncio.ensure_future(part) for part in work}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _end(tasks)

    async def _read(self, call: _Call, silence_s: float) -> None:
        while True:
            async with asyncio.timeout(silence_s):
                frame = await call.read()
            if frame is grpc.aio.EOF:
                return
            if (
                isinstance(frame, wire.Frame)
                and frame.WhichOneof("body") == "beat"
                and frame.beat.number == self._beaten[0]
            ):
                self.latency_s = time.monotonic() - self._beaten[1]
            arrived = self._endpoint.take(frame)
            self._wake.set()
            if arrived is not None:
                self._begin_task(arrived)

    async def _write(self, call: _Call) -> None:
        while True:
            frame = self._endpoint.next_frame()
            if frame is not None:
                await call.write(frame)
                continue
            self._wake.clear()
            await self._wake.wait()

    async def _beat(self, call: _Call, beat_s: float) -> None:
        for number in itertools.count(1):
            await asyncio.sleep(beat_s)
            self._beaten = (number, time.monotonic())
            await call.write(wire.Frame(beat=wire.Beat(number=number)))

    def _begin_task(self, task: Arrived) -> None:
        """Do a task, once: a reply that is known is sent again, and a task that is being done is not begun again."""
        if task.key in self._replies:
            self._endpoint.send(task.key, self._replies[task.key])
        elif task.key not in self._doing:
            self._doing.add(task.key)
            doing = asyncio.ensure_future(self._do(task))
            self._tasks.add(doing)
            doing.add_done_callback(self._tasks.discard)

    async def _do(self, task: Arrived) -> None:
        try:
            reply = await asyncio.get_running_loop().run_in_executor(self._worker, self._answer, task.data)
            self._endpoint.send(task.key, reply)
        except TransportError as problem:  # to the exchange this is silence: there is no message to answer, or to send
            _log.error("a task has no reply: %s", problem)
            return
        finally:
            self._doing.discard(task.key)
        self._replies[task.key] = reply
        while len(self._replies) > _REPLIES_KEPT:
            self._replies.popitem(last=False)
        self._wake.set()


class _Unreachable(TransportError):
    """There was no connection; another try may have one."""


async def _end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _raise_if_final(code: grpc.StatusCode, words: str) -> None:
    """An exchange's refusal stays one, however often it is asked."""
    reason = words.partition("\n")[2] or words
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        raise IdentityError(f"the exchange refused this node: {reason}")
    if code in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED):
        raise TransportError(f"the exchange refused the connection: {reason}")
