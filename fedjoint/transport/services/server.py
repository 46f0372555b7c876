"""The exchange's services on the port of the links: who calls is decided before a byte of the request is read.

Every call, and gRPC's own health and reflection services, go through the same three steps: the certificate is admitted
(at every call, so that a revocation works at once), its role must be good for the method, and the request must have
come within a deadline and a size. A method that no role is written down for does not exist.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from fedjoint.errors import FedjointError, TransportError
from fedjoint.identity.certificates import Certificate, Role
from fedjoint.transport.link.framing import SERVICE as LINK
from fedjoint.transport.link.server import peer_certificate
from fedjoint.transport.link.versions import SOFTWARE, common_version
from fedjoint.transport.services import exchange_pb2 as api
from fedjoint.transport.services.handler import Handler
from fedjoint.transport.services.protocol import API_VERSIONS, EVERYBODY, ROLES, SERVICE, handler_name
from fedjoint.transport.services.refusals import CallerRefused, status_of, trailing_of

__all__ = ["AdmitCaller", "ExchangeServices"]

_log = logging.getLogger(__name__)

#: Who a client certificate (PEM) is: raises :class:`~fedjoint.errors.IdentityError` for one that is revoked, expired
#: or unknown. It is called in a thread, at every call.
AdmitCaller = Callable[[bytes], Certificate]
_Context = Any  # grpc.aio.ServicerContext; gRPC ships no types


class ExchangeServices:
    """Adds an exchange's services to a server; pass :meth:`add_to` to :class:`~..link.server.LinkServer`.

    Args:
        handler: Does what is asked.
        admit: See :data:`AdmitCaller`.
        request_s: Seconds within which a request must have come whole: a slow sender is cut off.
        answer_s: Seconds that the handler has.
        threads: So many calls are answered at a time; more wait.
    """

    def __init__(
        self,
        handler: Handler,
        admit: AdmitCaller,
        *,
        request_s: float = 10.0,
        answer_s: float = 30.0,
        threads: int = 4,
    ) -> None:
        self._handler, self._admit = handler, admit
        self._request_s, self._answer_s = request_s, answer_s
        self._workers = ThreadPoolExecutor(threads, thread_name_prefix="fedjoint-service")

    def add_to(self, server: Any) -> None:
        """Register everything on a ``grpc.aio.Server`` that has not started."""
        methods = api.DESCRIPTOR.services_by_name["Exchange"].methods
        handlers = {
            method.name: grpc.stream_unary_rpc_method_handler(
                self._serve(method.name, getattr(api, method.input_type.name)),
                response_serializer=lambda reply: reply.SerializeToString(),
            )
            for method in methods
            if method.name in ROLES
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(_Health(self._admitted), server)
        names = (SERVICE, LINK, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(_Reflection(self._admitted, names), server)

    def close(self) -> None:
        """Let go of the threads, once the server has stopped."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _serve(self, method: str, kind: type[Message]) -> Callable[[AsyncIterator[bytes], _Context], Any]:
        """One method. It takes its request as a stream of one, so that nothing is read before the caller is known."""

        async def serve(requests: AsyncIterator[bytes], context: _Context) -> Message:
            caller = await self._admitted(context, method, ROLES[method])
            try:
                async with asyncio.timeout(self._request_s):
                    request = _parse(kind, await anext(requests, None))
                async with asyncio.timeout(self._answer_s):
                    return await self._in_thread(self._answer, method, caller, request)
            except FedjointError as refusal:
                await _refuse(context, refusal, f"{method} of '{caller.party}'")
            except TimeoutError:
                late = "the request did not come whole, or its answer was not ready, in time"
                await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"transport.late\n{late}")
            except grpc.aio.AbortError:
                raise
            except Exception as failure:  # nothing of it may leave the exchange
                _log.error("%s of '%s' failed: %s", method, caller.party, type(failure).__name__, exc_info=True)
                await context.abort(grpc.StatusCode.INTERNAL, "exchange.failed\nan internal error; see the log there")
            raise AssertionError("abort raises")

        return serve

    def _answer(self, method: str, caller: Certificate, request: Any) -> Message:
        if method == "Hello":
            version = common_version(
                request.oldest_version,
                request.newest_version,
                software=request.software,
                spoken=API_VERSIONS,
                what="exchange's calls",
            )
            return api.HelloReply(version=version, software=SOFTWARE)
        answer: Callable[[Certificate, Any], Message] = getattr(self._handler, handler_name(method))
        return answer(caller, request)

    async def _admitted(
        self, context: _Context, method: str = "this", roles: tuple[Role, ...] = EVERYBODY
    ) -> Certificate:
        """Who calls, if its certificate is good for this; otherwise the call ends here."""
        try:
            caller: Certificate = await self._in_thread(self._admit, peer_certificate(context))
            if caller.role not in roles:
                raise CallerRefused(
                    f"a certificate of role '{caller.role}' may not ask for {method}",
                    expected=f"role {' or '.join(roles)}",
                    remedy="Enrol first, or ask the exchange's operator.",
                )
            return caller
        except FedjointError as refusal:
            await _refuse(context, refusal, "a call")
            raise AssertionError("abort raises") from None

    async def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._workers, call, *arguments)


class _Health(health.aio.HealthServicer):  # type: ignore[misc]
    """The standard health service, for admitted callers only."""

    def __init__(self, admitted: Callable[[_Context], Any]) -> None:
        super().__init__()
        self._server_status[SERVICE] = self._server_status[LINK] = self._server_status[""]
        self._admitted = admitted

    async def Check(self, request: Any, context: _Context) -> Any:  # noqa: N802
        await self._admitted(context)
        return await super().Check(request, context)

    async def Watch(self, request: Any, context: _Context) -> None:  # noqa: N802
        await self._admitted(context)
        await super().Watch(request, context)


class _Reflection(reflection.aio.ReflectionServicer):  # type: ignore[misc]
    """The standard reflection service, for admitted callers only."""

    def __init__(self, admitted: Callable[[_Context], Any], names: tuple[str, ...]) -> None:
        super().__init__(names)
        self._admitted = admitted

    async def ServerReflectionInfo(self, requests: Any, context: _Context) -> Any:  # noqa: N802
        await self._admitted(context)
        async for reply in super().ServerReflectionInfo(requests, context):
            yield reply


async def _refuse(context: _Context, refusal: FedjointError, what: str) -> None:
    _log.warning("%s was refused: %s", what, refusal)
    await context.abort(status_of(refusal), f"{refusal.code}\n{refusal}", trailing_of(refusal))


def _parse(kind: type[Message], data: bytes | None) -> Message:
    try:
        if data is None:  # none came, or one beyond the limit, of which gRPC has told the caller
            raise DecodeError
        return kind.FromString(data)
    except DecodeError:
        raise TransportError(f"a request that is no {kind.DESCRIPTOR.name}") from None
