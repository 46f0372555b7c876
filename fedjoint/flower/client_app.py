"""The holder's Flower ClientApp: it translates; the holder decides.

No exception's text leaves a holder unless it was written for that: foreign errors can carry data.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from fedjoint.errors import FedjointError
from fedjoint.flower.messages import REFUSED, SILENT, from_record, to_record
from fedjoint.training.plan import TASKS, Kind, Parcel

__all__ = ["Answers", "make_client_app"]

_log = logging.getLogger(__name__)


class Answers(Protocol):
    """A holder, or what stands for one: it does tasks or refuses them."""

    def answer(self, kind: Kind, task: Parcel) -> Parcel:
        """Do a task.

        Raises:
            FedjointError: why it is refused.
        """
        ...


def make_client_app(open_holder: Callable[[Context], Answers]) -> ClientApp:
    """A ClientApp that serves one holder, or in simulation several.

    Args:
        open_holder: Finds the holder that a node belongs to. It is the node that says so, never the message.
    """
    app = ClientApp()
    for kind in TASKS:
        serve = _serve(kind, open_holder)
        (app.train() if kind == "train" else app.query(kind))(serve)
    return app


def _serve(kind: Kind, open_holder: Callable[[Context], Answers]) -> Callable[[Message, Context], Message]:
    def serve(message: Message, context: Context) -> Message:
        try:
            reply = open_holder(context).answer(kind, from_record(message.content, TASKS[kind]))
            return Message(to_record(reply), reply_to=message)
        except FedjointError as refusal:
            return Message(Error(REFUSED, f"{refusal.code}\n{refusal}"), reply_to=message)
        except Exception as failure:  # nothing of it may leave the holder
            _log.error("task '%s' failed: %s", kind, type(failure).__name__)
            _log.debug("task '%s' failed", kind, exc_info=True)  # for the holder's own log file, if it wants it
            return Message(
                Error(SILENT, f"holder.failed\n{type(failure).__name__}; see the holder's own log"), reply_to=message
            )

    return serve
