"""What every Grid of ours has in common: one node for each holder, and the run under which messages are made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from fedjoint.transport.touch_points import Run, begin_run

__all__ = ["Direction", "HolderGrid", "run_server_app"]

#: From the holders, or to them.
Direction = Literal["up", "down"]

_FIRST_NODE = 2


class HolderGrid(Grid):
    """A Grid whose nodes are holders; how messages travel is a subclass's.

    Args:
        holders: Ids, one node each.
    """

    def __init__(self, holders: Iterable[str]) -> None:
        self._run = begin_run()
        self._holders = dict(enumerate(holders, start=_FIRST_NODE))
        self._bytes: Counter[tuple[Direction, str]] = Counter()

    @property
    def nodes(self) -> Mapping[str, int]:
        """Node of each holder."""
        return {holder: node for node, holder in self._holders.items()}

    def bytes_of(self, direction: Direction, message_type: str) -> int:
        """How many bytes of messages of one type have crossed so far, before compression."""
        return self._bytes[direction, message_type]

    def _count(self, direction: Direction, message_type: str, num_bytes: int) -> None:
        self._bytes[direction, message_type] += num_bytes

    def set_run(self, run: Run) -> None:
        """Part of Flower's interface."""
        self._run = run

    @property
    def run(self) -> Run:
        """Part of Flower's interface."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Part of Flower's interface."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Ids of all nodes, connected or not."""
        return list(self._holders)


def run_server_app(server_app: ServerApp, grid: HolderGrid) -> None:
    """Run a ServerApp to its end on a grid, in this thread."""
    server_app(grid, Context(grid.run.run_id, 1, {}, RecordDict(), {}))
