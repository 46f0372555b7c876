"""The coordinator's Flower ServerApp and the channel it speaks through: Flower's Grid."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from flwr.app import Context, Message
from flwr.serverapp import Grid, ServerApp

from fedjoint.errors import FedjointError, TrainingError
from fedjoint.flower.messages import REFUSED, SILENT, from_record, message_type, to_record
from fedjoint.training.plan import REPLIES, Channel, Kind, Parcel, Refusal

__all__ = ["GridChannel", "make_server_app"]

#: A reply's refusal is shown to people; a longer one is cut.
_MAX_REFUSAL_CHARACTERS = 2_000
_CODE = re.compile(r"[a-z_.]{1,40}")


class GridChannel:
    """A :class:`~fedjoint.training.plan.Channel` over a Flower Grid.

    Args:
        grid: Flower's.
        nodes: Which node serves which holder. A holder's signature, not this table, proves who answered.
        timeout_s: How long to wait for replies; a holder that is silent for longer counts as refused.
    """

    def __init__(self, grid: Grid, nodes: Mapping[str, int], *, timeout_s: float) -> None:
        self._grid, self._nodes, self._timeout_s = grid, dict(nodes), timeout_s

    def exchange(self, kind: Kind, tasks: Mapping[str, Parcel]) -> Iterator[tuple[str, Parcel | Refusal]]:
        """Send, then give out replies as they come; every holder asked is answered for exactly once."""
        holders = {self._nodes[holder]: holder for holder in tasks if holder in self._nodes}
        messages = [
            Message(to_record(tasks[holder]), dst_node_id=node, message_type=message_type(kind))
            for node, holder in holders.items()
        ]
        for absent in sorted(tasks.keys() - self._nodes.keys()):
            yield absent, Refusal(code="holder.unreachable", message="no node of this holder is connected")
        for reply in self._grid.send_and_receive(messages, timeout=self._timeout_s):
            holder = holders.pop(reply.metadata.src_node_id, None)
            if holder is not None:
                yield holder, _read(reply, kind)
        for holder in holders.values():
            yield holder, Refusal(code="holder.silent", message=f"no reply within {self._timeout_s:g} s")


def _read(reply: Message, kind: Kind) -> Parcel | Refusal:
    if reply.has_error():
        reason = reply.error.reason or ""
        code, _, words = reason.partition("\n")
        if reply.error.code in (REFUSED, SILENT) and _CODE.fullmatch(code):
            return Refusal(code=code, message=words[:_MAX_REFUSAL_CHARACTERS])
        return Refusal(code="holder.unreachable", message=reason[:_MAX_REFUSAL_CHARACTERS])
    try:
        return from_record(reply.content, REPLIES[kind])
    except FedjointError as problem:
        return Refusal(code="reply.malformed", message=str(problem))


def make_server_app(
    run: Callable[[Channel], None], nodes: Callable[[Grid], Mapping[str, int]], *, timeout_s: float
) -> ServerApp:
    """A ServerApp that coordinates one run.

    Args:
        run: The run, given its channel.
        nodes: Finds which node serves which holder.
        timeout_s: See :class:`GridChannel`.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        del context
        found = nodes(grid)
        if not found:
            raise TrainingError("no holder's node is connected", remedy="Start the holders, then the run.")
        run(GridChannel(grid, found, timeout_s=timeout_s))

    return app
