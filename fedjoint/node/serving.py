"""What a node does with tasks: the holder of the agreement that each is under does it, or nobody.

A node runs the installed package and nothing else. A task is data: its kind is one of a fixed list, its body is built
by a strict codec, and what it may cost or open is decided by the holder before anything is computed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from fedjoint.errors import FedjointError, TrainingError
from fedjoint.node.agreements import SignedNote, holder_for, require_allowed, signed_for
from fedjoint.node.home import Home
from fedjoint.node.metering import Meter
from fedjoint.training.holder import Holder
from fedjoint.training.plan import Kind, Parcel, Task

__all__ = ["NodeHolders"]

_log = logging.getLogger(__name__)


class NodeHolders:
    """The holder's parts in its agreements, each opened with its first task.

    Args:
        home: The holder's folder.
        now: Gives the time, ISO 8601 in UTC.
    """

    def __init__(self, home: Home, *, now: Callable[[], str]) -> None:
        self._home, self._now = home, now
        self._holders: dict[str, Holder] = {}
        self._signed: dict[str, SignedNote] = {}
        self._meter = Meter(home)

    def answer(self, kind: Kind, task: Parcel) -> Parcel:
        """Do a task, or refuse it.

        Raises:
            FedjointError: why it is refused; nothing has left the holder.
        """
        body = task.body
        if not isinstance(body, Task):
            raise TrainingError(f"a task of type {type(body).__name__}", expected="one under an agreement")
        facts = {
            "task": kind,
            "agreement": body.agreement_sha256,
            "run": body.run_id,
            "round": getattr(body, "round", None),
        }
        try:
            holder = self._holder(body.agreement_sha256)
            with self._meter.task(body.agreement_sha256, body.run_id):
                reply = holder.answer(kind, task)
        except FedjointError as refusal:
            _log.warning("refused", extra={"facts": {**facts, "code": refusal.code, "why": str(refusal)}})
            raise
        _log.info("done", extra={"facts": facts})
        return reply

    def close(self) -> None:
        """Wipe the keys from memory and write down what was metered; another process can take the runs up again."""
        self._meter.close()
        for holder in self._holders.values():
            holder.close()

    def _holder(self, agreement_sha256: str) -> Holder:
        """The holder of an agreement, if its data set's registration allows a task under it today."""
        if agreement_sha256 not in self._signed:
            self._signed[agreement_sha256] = signed_for(self._home, agreement_sha256)
        signed = self._signed[agreement_sha256]
        require_allowed(self._home, signed, at=self._now())
        if agreement_sha256 not in self._holders:
            self._holders[agreement_sha256] = holder_for(self._home, signed, now=self._now)
        return self._holders[agreement_sha256]
