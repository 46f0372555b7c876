"""The same apps in a stock Flower federation: what a thin bundle (a pyproject and nothing else) points to.

Both apps hold nothing and decide nothing. A SuperNode runs :data:`client_app` anew for every message, and it hands the
message to the holder's own process through its door (:mod:`fedjoint.transport.link.door`), and the reply back; a
SuperLink runs :data:`server_app`, which sends what the exchange's process gives it through another. So neither a bundle
that somebody sends nor Flower's processes can reach what protects the holder.

A SuperNode is started with the holder's id and the path of its door, a run with that of the exchange's::

    flower-supernode … --node-config 'holder="charite" door="/var/lib/fedjoint/door.sock"'
    flwr run bundle … --run-config 'door="/var/lib/fedjoint-exchange/door.sock"'
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fedjoint.errors import TrainingError, TransportError
from fedjoint.training.plan import TASKS
from fedjoint.transport.link.codec import from_bytes, to_buffers
from fedjoint.transport.link.door import MAX_DOOR_BYTES, carry, knock

__all__ = ["DOOR_KEY", "HOLDER_KEY", "client_app", "find_holders", "server_app"]

#: Keys of a SuperNode's configuration.
HOLDER_KEY, DOOR_KEY = "holder", "door"
_WHO, _WHO_RECORD = "who", "fedjoint.who"
#: A task that takes a holder longer is given up by the coordinator anyway.
_TASK_S = 3_600.0
_POLL_S, _ASK_S = 1.0, 60.0
#: So long a task waits for its holder's node to connect.
_WAIT_S = 120.0
#: Flower error code of ours: the holder's process does not answer.
_CLOSED = 7_005


def _forwarder() -> ClientApp:
    """A ClientApp that hands every message to the holder's own process."""
    app = ClientApp()
    for kind in TASKS:
        (app.train() if kind == "train" else app.query(kind))(_forward)
    app.query(_WHO)(_who)
    return app


def _forward(message: Message, context: Context) -> Message:
    door = context.node_config.get(DOOR_KEY)
    try:
        task = b"".join(to_buffers(message))
        if len(task) > MAX_DOOR_BYTES:
            raise TransportError(f"a message of {len(task)} bytes", expected=f"at most {MAX_DOOR_BYTES}")
        if not isinstance(door, str):
            raise TransportError(f"the node's configuration has no '{DOOR_KEY}'", remedy="See --node-config.")
        reply = from_bytes(knock(Path(door), task, timeout_s=_TASK_S))
    except TransportError as problem:
        return Message(Error(_CLOSED, str(problem)), reply_to=message)
    if reply.has_error():
        return Message(reply.error, reply_to=message)
    return Message(reply.content, reply_to=message)


def _who(message: Message, context: Context) -> Message:
    holder = str(context.node_config.get(HOLDER_KEY, ""))
    return Message(RecordDict({_WHO_RECORD: ConfigRecord({HOLDER_KEY: holder})}), reply_to=message)


#: What a bundle's ``clientapp`` points to.
client_app = _forwarder()


def find_holders(grid: Grid, holders: Iterable[str], *, wait_s: float) -> Mapping[str, int]:
    """Ask the connected nodes whom they serve, until all holders are there or the time is up.

    What a node says of itself only decides where a task is sent: that it is the holder is proven by its signature.

    Args:
        grid: Flower's.
        holders: Ids to wait for.
        wait_s: Seconds.

    Returns:
        The node of each holder that one has named, waited for or not.

    Raises:
        TrainingError: two nodes say that they serve the same holder.
    """
    wanted, found = set(holders), dict[str, int]()
    end = time.monotonic() + wait_s
    while True:
        for holder, node in _ask(grid, set(grid.get_node_ids()) - set(found.values())):
            if holder in found and found[holder] != node:
                raise TrainingError(
                    f"nodes {found[holder]} and {node} both say that they serve '{holder}'",
                    remedy="Unregister the one that is not that holder's.",
                )
            found[holder] = node
        if wanted <= found.keys() or time.monotonic() > end:
            return found
        time.sleep(_POLL_S)


def _ask(grid: Grid, nodes: Iterable[int]) -> Iterable[tuple[str, int]]:
    messages = [Message(RecordDict(), dst_node_id=node, message_type=f"query.{_WHO}") for node in nodes]
    for reply in grid.send_and_receive(messages, timeout=_ASK_S) if messages else ():
        if not reply.has_error() and _WHO_RECORD in reply.content.config_records:
            holder = reply.content.config_records[_WHO_RECORD].get(HOLDER_KEY)
            if isinstance(holder, str):
                yield holder, reply.metadata.src_node_id


class _Carrier:
    """Sends tasks through Flower's Grid, and collects their replies as they come."""

    def __init__(self, grid: Grid) -> None:
        self._grid, self._nodes, self._keys = grid, dict[str, int](), dict[str, str]()
        self._failed: list[tuple[str, Message]] = []
        self._lock, self._over = threading.Lock(), threading.Event()

    def send(self, holder: str, key: str, data: bytes) -> None:
        """Send a task on to the node of its holder."""
        task = from_bytes(data)
        if holder not in self._nodes:
            self._nodes |= find_holders(self._grid, [holder], wait_s=_WAIT_S)
        if holder not in self._nodes:
            refusal = Message(Error(_CLOSED, f"no node says that it serves '{holder}'"), reply_to=task)
            with self._lock:
                self._failed.append((key, refusal))
            return
        message = Message(
            task.content, dst_node_id=self._nodes[holder], message_type=task.metadata.message_type, ttl=_TASK_S
        )
        (identifier,) = self._grid.push_messages([message])
        with self._lock:
            self._keys[identifier] = key

    def replies(self) -> Iterator[tuple[str, bytes]]:
        """Key and bytes of each reply, until the end."""
        while not self._over.wait(_POLL_S):
            with self._lock:
                waiting, failed, self._failed = list(self._keys), self._failed, []
            for key, refusal in failed:
                yield key, b"".join(to_buffers(refusal))
            for reply in self._grid.pull_messages(waiting) if waiting else ():
                with self._lock:
                    key = self._keys.pop(reply.metadata.reply_to_message_id)
                yield key, b"".join(to_buffers(reply))

    def end(self) -> None:
        """No more replies."""
        self._over.set()


#: What a bundle's ``serverapp`` points to.
server_app = ServerApp()


@server_app.main()
def _main(grid: Grid, context: Context) -> None:
    door = context.run_config.get(DOOR_KEY)
    if not isinstance(door, str) or not door:
        raise TransportError(f"the run's configuration has no '{DOOR_KEY}'", remedy="See --run-config.")
    carrier = _Carrier(grid)
    try:
        carry(Path(door), carrier.send, carrier.replies())
    finally:
        carrier.end()
