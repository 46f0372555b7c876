"""Holders' nodes for the transport benchmark: connects, answers every task with so many bytes, says its latencies.

    python link_nodes.py FOLDER PORT REPLY_BYTES HOLDER...

FOLDER holds, for each HOLDER, HOLDER.key and HOLDER.pem, and authority.pem. A line on standard input ends it; it then
prints the latencies of beats it has seen, as JSON.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from flwr.app import Message, RecordDict

from fedjoint.transport.grpc_grid import make_answer
from fedjoint.transport.link.client import Answer, ClientCredentials, HolderLink
from fedjoint.transport.link.settings import LinkSettings

SAMPLE_S = 0.25


def make_link(folder: Path, port: str, size: int, holder: str) -> HolderLink:
    """One holder's link."""
    credentials = ClientCredentials(
        key_pem=(folder / f"{holder}.key").read_bytes(),
        certificate_pem=(folder / f"{holder}.pem").read_bytes(),
        authority_pem=(folder / "authority.pem").read_bytes(),
    )
    return HolderLink(f"localhost:{port}", credentials, answer=make_reply(size), settings=LinkSettings())


def make_reply(size: int) -> Answer:
    """So many random bytes, or for none an empty Flower message."""
    if size == 0:
        return make_answer(lambda message: Message(RecordDict(), reply_to=message))
    reply = os.urandom(size)
    return lambda task: (reply,)


async def main() -> None:
    """Connect, answer, and at the end print."""
    folder, port, size, *holders = sys.argv[1:]
    links = [make_link(Path(folder), port, int(size), holder) for holder in holders]
    stop, latencies = asyncio.Event(), []
    running = [asyncio.create_task(link.run(stop)) for link in links]
    asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    print("started", flush=True)
    while not stop.is_set():
        await asyncio.sleep(SAMPLE_S)
        for link in links:
            if link.latency_s is not None:
                latencies.append(link.latency_s)
                link.latency_s = None
    await asyncio.gather(*running, return_exceptions=True)
    print(json.dumps(latencies), flush=True)


asyncio.run(main())
