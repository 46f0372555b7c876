"""One holder's node around the Flower ClientApp, the same in simulation and deployment."""

from __future__ import annotations

import logging

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

__all__ = ["HOLDER_KEY", "answer_of", "context_of"]

_log = logging.getLogger(__name__)

#: Key of a node's configuration that names its holder.
HOLDER_KEY = "holder"
_APP_RAISED = 2  # Flower's own


def context_of(holder: str, *, run_id: int, node: int = 1) -> Context:
    """What Flower hands an app beside each message: which holder's node it runs on."""
    return Context(run_id, node, {HOLDER_KEY: holder}, RecordDict(), {})


def answer_of(app: ClientApp, message: Message, context: Context) -> Message:
    """What the app replies, or what Flower's node says of an app that raised: the kind of error, and none of its text.

    An app raises where it has no function for a message's type; a holder's refusal is a reply.
    """
    try:
        return app(message, context)
    except Exception as failure:
        _log.error("a task could not be done: %s", type(failure).__name__)
        _log.debug("a task could not be done", exc_info=True)  # for the holder's own log, if it wants it
        return Message(Error(_APP_RAISED, type(failure).__name__), reply_to=message)
