"""The exchange's door to a stock Flower federation: tasks and replies of members pass, and nobody else's."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType

from fedjoint.errors import IdentityError
from fedjoint.exchange.members_store_sql import Members
from fedjoint.transport.link.buffers import Buffers
from fedjoint.transport.link.door import ExchangeDoor
from fedjoint.transport.link.gathering import Gathered
from fedjoint.transport.link.server import OnReply

__all__ = ["MembersDoor"]

_log = logging.getLogger(__name__)


class MembersDoor:
    """A :class:`~fedjoint.transport.grpc_grid.Carrier` through a door; a context manager.

    Flower knows no certificate of ours, so whoever was revoked is left out here, task by task.

    Args:
        path: Of the socket; its folder must be readable by its owner alone.
        members: Of the exchange.
        on_reply: Hears each reply of a member once.

    Raises:
        TransportError: as for :class:`~fedjoint.transport.link.door.ExchangeDoor`.
    """

    def __init__(self, path: Path, members: Members, on_reply: OnReply) -> None:
        self._members, self._on_reply = members, on_reply
        self._door = ExchangeDoor(path, self._take)

    def __enter__(self) -> MembersDoor:
        self._door.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._door.__exit__(kind, value, trace)

    def submit(self, holder: str, key: str, buffers: Buffers) -> None:
        """Send a task to a member; one that was revoked gets none, and is silent for the run."""
        if self._is_member(holder):
            self._door.submit(holder, key, buffers)

    def withdraw(self, holder: str, key: str) -> None:
        """Expect no reply to a task any more."""
        self._door.withdraw(holder, key)

    def _take(self, holder: str, key: str, data: Gathered) -> None:
        if self._is_member(holder):
            self._on_reply(holder, key, data)

    def _is_member(self, holder: str) -> bool:
        try:
            self._members.get(holder)
        except IdentityError as problem:
            _log.warning("kept out of the door", extra={"facts": {"holder": holder, "why": str(problem)}})
            return False
        return True
