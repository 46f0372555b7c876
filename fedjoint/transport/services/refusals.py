"""An error on the exchange's side becomes the same error on the node's: its code, its words and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from fedjoint.errors import AgreementError, FedjointError, IdentityError, TransportError
from fedjoint.transport.link.versions import VersionRefused
from fedjoint.transport.services import exchange_pb2 as api

__all__ = ["CallerRefused", "Unreachable", "refusal_of", "status_of", "trailing_of"]

_METADATA_KEY = "fedjoint-refusal-bin"
_MOST_LETTERS = 2_000
#: What gRPC says, before any of our code, of a message beyond the limit and of a method that is not there.
_WORDS = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: ("the message is larger than the exchange takes", "Send less at once."),
    grpc.StatusCode.UNIMPLEMENTED: (
        "the exchange does not know what was asked of it",
        "Install the same release of fedjoint on both sides.",
    ),
    grpc.StatusCode.DEADLINE_EXCEEDED: ("the exchange did not answer in time", "Try again later."),
}


class CallerRefused(IdentityError):
    """A certificate whose role is not good for what was asked."""

    code = "identity.not_allowed"


class Unreachable(TransportError):
    """There was no answer; another try may bring one."""

    code = "transport.unreachable"


def status_of(error: FedjointError) -> grpc.StatusCode:
    """The status under which an error travels; none of them is one that gRPC itself would retry."""
    if isinstance(error, CallerRefused):
        return grpc.StatusCode.PERMISSION_DENIED
    if isinstance(error, IdentityError):
        return grpc.StatusCode.UNAUTHENTICATED
    if isinstance(error, (VersionRefused, AgreementError)):
        return grpc.StatusCode.FAILED_PRECONDITION
    return grpc.StatusCode.INVALID_ARGUMENT


def trailing_of(error: FedjointError) -> tuple[tuple[str, bytes], ...]:
    """The metadata that carries an error's parts."""
    parts = (error.problem, error.expected, error.remedy)
    problem, expected, remedy = (part[:_MOST_LETTERS] for part in parts)
    refusal = api.Refusal(code=error.code, problem=problem, expected=expected, remedy=remedy)
    return ((_METADATA_KEY, refusal.SerializeToString()),)


def refusal_of(call: Any, target: str) -> FedjointError:
    """The error that a failed call (``grpc.RpcError``) stands for.

    Args:
        call: What gRPC raised.
        target: The exchange, for messages.

    Returns:
        :class:`Unreachable` if there was no answer; otherwise what the exchange raised, by its code.
    """
    status, details = call.code(), str(call.details() or "")
    for key, value in call.trailing_metadata() or ():
        if key == _METADATA_KEY:
            return _parse(value)
    if status == grpc.StatusCode.UNAVAILABLE:
        return Unreachable(f"{target} cannot be reached ({details[:300]})", remedy="Check the address and the network.")
    problem, remedy = _WORDS.get(status, (f"the exchange refused ({status.name}: {details[:300]})", ""))
    return TransportError(problem, remedy=remedy)


def _parse(data: bytes) -> FedjointError:
    try:
        refusal = api.Refusal.FromString(data)
    except DecodeError:
        return TransportError("the exchange refused, and its reason cannot be read")
    kind = next((kind for kind in _kinds([FedjointError]) if kind.code == refusal.code), TransportError)
    return kind(refusal.problem, expected=refusal.expected, remedy=refusal.remedy)


def _kinds(parents: Iterable[type[FedjointError]]) -> Iterator[type[FedjointError]]:
    for kind in parents:
        yield kind
        yield from _kinds(kind.__subclasses__())
