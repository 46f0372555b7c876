"""What this package needs of Flower and Flower does not publish, in one place.

Three things: a Message is made for a task of a run, whose identity is a setting of the process (``TaskIdentity``);
``Grid.run`` returns a ``Run``; and whoever delivers a message gives it its id. Each is tested against the installed
version of Flower, so that a new version that moves one of them fails here and nowhere else.
"""

from __future__ import annotations

import uuid

from flwr.app import Error, Message, Metadata, RecordDict
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

__all__ = ["Run", "begin_run", "delivered_message", "give_id"]

_COORDINATOR_NODE = 1


def begin_run() -> Run:
    """A run of this process, under which its messages are made."""
    run_id = uuid.uuid4().int >> 65
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, run_id, _COORDINATOR_NODE
    return Run.create_empty(run_id=run_id)


def give_id(message: Message, identifier: str) -> None:
    """Give a message the id under which it is delivered and answered."""
    message.metadata.__dict__["_message_id"] = identifier


def delivered_message(metadata: Metadata, *, content: RecordDict | None = None, error: Error | None = None) -> Message:
    """A message as it is after delivery, with the metadata that its sender gave it."""
    return Message(content=content, error=error, metadata=metadata)  # type: ignore[call-overload,no-any-return]
