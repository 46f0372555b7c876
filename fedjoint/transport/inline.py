"""A Flower Grid that runs the ClientApp in this process: no Ray, no SuperLink, the same apps.

Every message is written and read by the codec of the network's links, so that what works here works between machines,
and what would leave a holder can be counted and listened to.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator

from flwr.app import Error, Message
from flwr.clientapp import ClientApp

from fedjoint.transport.app_node import HOLDER_KEY, answer_of, context_of
from fedjoint.transport.holder_grid import Direction, HolderGrid
from fedjoint.transport.link.codec import from_bytes, to_buffers
from fedjoint.transport.touch_points import give_id

__all__ = ["InlineGrid", "Tap"]

_UNREACHABLE = 7_003

#: Hears every message that crosses between coordinator and holder: direction, holder, message type, bytes.
Tap = Callable[[Direction, str, str, bytes], None]


class InlineGrid(HolderGrid):
    """Connects a ServerApp to one node for each holder, all in this process.

    Args:
        client_app: The holders' app.
        holders: Ids, one node each.
        tap: Hears all bytes.
        reachable: (holder id, message type) to whether it arrives; a test or a simulation lets holders vanish by it.
    """

    def __init__(
        self,
        client_app: ClientApp,
        holders: Iterable[str],
        *,
        tap: Tap | None = None,
        reachable: Callable[[str, str], bool] | None = None,
    ) -> None:
        super().__init__(holders)
        self._app, self._tap, self._reachable = client_app, tap, reachable
        self._contexts = {
            node: context_of(holder, run_id=self._run.run_id, node=node) for node, holder in self._holders.items()
        }
        self._waiting: dict[str, Message] = {}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Take messages in; a holder works when its reply is pulled."""
        ids = []
        for message in messages:
            identifier = uuid.uuid4().hex
            give_id(message, identifier)
            self._waiting[identifier] = message
            ids.append(identifier)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterator[Message]:
        """Let each holder work, and give out its reply at once."""
        for identifier in message_ids:
            message = self._waiting.pop(identifier, None)
            if message is not None:
                yield self._deliver(message)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Send messages and give out the replies one by one; in one process nothing times out."""
        del timeout
        return self.pull_messages(self.push_messages(messages))

    def _deliver(self, message: Message) -> Message:
        context = self._contexts[message.metadata.dst_node_id]
        holder = str(context.node_config[HOLDER_KEY])
        if self._reachable is not None and not self._reachable(holder, message.metadata.message_type):
            reply = Message(Error(_UNREACHABLE, f"'{holder}' does not answer"), reply_to=message)
        else:
            reply = self._wire("up", holder, answer_of(self._app, self._wire("down", holder, message), context))
        give_id(reply, uuid.uuid4().hex)
        return reply

    def _wire(self, direction: Direction, holder: str, message: Message) -> Message:
        """Write and read a message as a link would."""
        data = b"".join(to_buffers(message))
        self._count(direction, message.metadata.message_type, len(data))
        if self._tap is not None:
            self._tap(direction, holder, message.metadata.message_type, data)
        return from_bytes(data)
