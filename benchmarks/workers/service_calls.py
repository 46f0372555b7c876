"""Holders' calls for the transport benchmark: each asks for checkpoints to countersign as often as a node does.

    python service_calls.py FOLDER PORT HOLDER...

FOLDER as for link_nodes.py. A line on standard input ends it; it then prints how many calls were answered.
"""

import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from fedjoint.transport.link.client import ClientCredentials
from fedjoint.transport.services import exchange_pb2 as api
from fedjoint.transport.services.client import ExchangeClient

EVERY_S = 5.0


def credentials(folder: Path, holder: str) -> ClientCredentials:
    """One holder's."""
    return ClientCredentials(
        key_pem=(folder / f"{holder}.key").read_bytes(),
        certificate_pem=(folder / f"{holder}.pem").read_bytes(),
        authority_pem=(folder / "authority.pem").read_bytes(),
    )


def main() -> None:
    """Call, evenly over time, until told to stop."""
    folder, port, *holders = sys.argv[1:]
    stop, answered = threading.Event(), 0
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    with ExitStack() as stack:
        clients = [
            stack.enter_context(ExchangeClient(f"localhost:{port}", credentials(Path(folder), holder)))
            for holder in holders
        ]
        due = time.monotonic()
        while not stop.is_set():
            for client in clients:
                client.checkpoints(api.CheckpointsRequest())
                answered += 1
                due += EVERY_S / len(clients)
                stop.wait(max(0.0, due - time.monotonic()))
                if stop.is_set():
                    break
    print(answered, flush=True)


main()
