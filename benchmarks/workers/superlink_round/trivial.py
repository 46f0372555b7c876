"""A round that does nothing, as stock Flower apps: what is left of its time is the transport's."""

import json
import time
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

client = ClientApp()
server = ServerApp()


@client.query()
def answer(message: Message, context: Context) -> Message:
    return Message(RecordDict(), reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    while len(nodes := list(grid.get_node_ids())) < context.run_config["nodes"]:
        time.sleep(0.2)
    seconds = []
    for _ in range(int(context.run_config["rounds"])):
        start = time.monotonic()
        messages = [Message(RecordDict(), dst_node_id=node, message_type="query") for node in nodes]
        replies = list(grid.send_and_receive(messages, timeout=120))
        assert len(replies) == len(nodes) and not any(reply.has_error() for reply in replies)
        seconds.append(time.monotonic() - start)
    result = Path(str(context.run_config["result"]))
    partial = result.with_suffix(".partial")
    partial.write_text(json.dumps(seconds))
    partial.replace(result)
