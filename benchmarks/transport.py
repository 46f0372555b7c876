"""What does the network cost? Our links beside a stock Flower SuperLink and beside a plain TLS socket, on loopback.

    python benchmarks/transport.py [--quick] [--large] [--json FILE]

Measures: the time of a trivial round with four holders, each a process of its own; the memory of an exchange's process
with all its services and 200 connected holders that make their nodes' calls, and the 99th percentile of a beat's way
there and back; the rate at which four holders' updates of 100 MB come up, beside four plain TLS sockets in turns (their
bytes are thrown away, ours are kept). `--quick`: 20 holders, 20 MB, no SuperLink. `--large`: one update of 2.2 GiB too,
which is more than gRPC takes as one message; it needs 6 GB of memory.
"""

import argparse
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from flwr.app import Message, RecordDict
from rich.console import Console
from rich.table import Table
from workers.full_exchange import full_exchange

from fedjoint.identity.certificates import NodeKey, check_certificate, issue_certificate, make_authority
from fedjoint.transport.grpc_grid import GrpcGrid
from fedjoint.transport.link.server import LinkServer, OnReply, ServerCredentials
from fedjoint.transport.link.settings import LinkSettings

WORKERS = Path(__file__).parent / "workers"
HOLDERS, MANY, UPDATE_BYTES, ROUNDS, REPEATS = 4, 200, 100 << 20, 30, 9
LARGE_BYTES = 2_200 << 20
BEAT_S, BEATS = 1.0, 10
Row = dict[str, object]


class Exchange:
    """Certificates in a folder, and a server that trusts them."""

    def __init__(self, folder: Path, holders: list[str]) -> None:
        self.folder, self.holders = folder, holders
        self.authority = make_authority("Benchmark", now=_now())
        (folder / "authority.pem").write_bytes(self.authority.pem)
        for party in [*holders, "exchange"]:
            key = NodeKey.generate()
            role, hosts = ("exchange", ["localhost", "127.0.0.1"]) if party == "exchange" else ("holder", [])
            pem = issue_certificate(self.authority, key.request(party), party=party, role=role, now=_now(), hosts=hosts)
            (folder / f"{party}.key").write_bytes(key.pem)
            (folder / f"{party}.pem").write_bytes(pem)

    def server(self, on_reply: OnReply, settings: LinkSettings) -> LinkServer:
        """A server that lets these holders in."""
        credentials = ServerCredentials(
            key_pem=(self.folder / "exchange.key").read_bytes(),
            certificate_pem=(self.folder / "exchange.pem").read_bytes(),
            authority_pem=self.authority.pem,
        )
        return LinkServer("127.0.0.1:0", credentials, admit=self.admit, on_reply=on_reply, settings=settings)

    def admit(self, pem: bytes) -> str:
        """Whose certificate it is."""
        return check_certificate(pem, self.authority.pem, now=_now()).party

    def nodes(
        self, port: int, holders: list[str], *, reply_bytes: int = 0
    ) -> AbstractContextManager[subprocess.Popen[str]]:
        """One process with the nodes of some holders."""
        return worker("link_nodes.py", self.folder, port, reply_bytes, *holders)


@contextmanager
def worker(script: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    """A process that ends when it is told to."""
    command = [sys.executable, str(WORKERS / script), *map(str, words)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment())
    try:
        yield process
    finally:
        if process.poll() is None:
            process.communicate("stop\n", timeout=60)


def _now() -> datetime:
    return datetime.now(UTC)


def _environment() -> dict[str, str]:
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **quiet, "PYTHONPATH": str(Path(__file__).parents[1])}


def wait_for(server: LinkServer, count: int) -> None:
    """Until so many holders are connected."""
    end = time.monotonic() + 120
    while sum(state.connected for state in server.states().values()) < count:
        assert time.monotonic() < end, "not all nodes connected"
        time.sleep(0.05)


def trivial_rounds(exchange: Exchange, rounds: int) -> list[float]:
    """Seconds of rounds whose tasks and replies are empty."""
    grid = GrpcGrid(exchange.holders[:HOLDERS])
    seconds = []
    with exchange.server(grid.on_reply, LinkSettings()) as server, ExitStack() as stack:
        grid.serve_through(server)
        for holder in exchange.holders[:HOLDERS]:
            stack.enter_context(exchange.nodes(server.port, [holder]))
        wait_for(server, HOLDERS)
        for _ in range(rounds):
            start = time.monotonic()
            messages = [Message(RecordDict(), dst_node_id=node, message_type="query") for node in grid.get_node_ids()]
            assert len(list(grid.send_and_receive(messages, timeout=60))) == HOLDERS
            seconds.append(time.monotonic() - start)
    return seconds


def many_holders(folder: Path, count: int) -> tuple[float, float]:
    """Megabytes of an exchange's process with all its services and so many holders, and the p99 of a beat in seconds.

    The holders' nodes are in one process; another makes the calls that each node makes beside its link.
    """
    holders = [f"h{number}" for number in range(count)]
    with full_exchange(folder, holders, {"BEAT_S": BEAT_S}) as exchange, ExitStack() as stack:
        nodes = stack.enter_context(worker("link_nodes.py", folder, exchange.port, 0, *holders))
        calls = stack.enter_context(worker("service_calls.py", folder, exchange.port, *holders))
        end = time.monotonic() + 180
        while exchange.connected() < count:
            assert time.monotonic() < end, "not all nodes connected"
            time.sleep(0.5)
        time.sleep(BEAT_S * BEATS)
        memory_mb = exchange.resident_mb()
        assert exchange.connected() == count
        assert int(calls.communicate("stop\n", timeout=120)[0].splitlines()[-1]) > 0
        latencies = json.loads(nodes.communicate("stop\n", timeout=120)[0].splitlines()[-1])
    return memory_mb, statistics.quantiles(latencies, n=100)[98]


@contextmanager
def link_mover(exchange: Exchange, size: int, *, holders: int = HOLDERS) -> Iterator[Callable[[int], None]]:
    """Moves an update of each holder up over links; gives a function that does it once."""
    chosen, arrived = exchange.holders[:holders], list[int]()
    with (
        exchange.server(lambda holder, key, data: arrived.append(len(data)), LinkSettings()) as server,
        ExitStack() as stack,
    ):
        for holder in chosen:
            stack.enter_context(exchange.nodes(server.port, [holder], reply_bytes=size))
        wait_for(server, holders)

        def move(number: int) -> None:
            arrived.clear()
            for holder in chosen:
                server.submit(holder, f"{holder}-{number}", (b"go",))
            while len(arrived) < holders:
                time.sleep(0.005)
            assert arrived == [size] * holders

        yield move


@contextmanager
def socket_mover(exchange: Exchange, size: int):
    """The same over plain TLS sockets, read one after the other by one thread each."""
    from concurrent.futures import ThreadPoolExecutor

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(exchange.folder / "exchange.pem", exchange.folder / "exchange.key")
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        connections = []
        for _ in range(HOLDERS):
            arguments = [str(exchange.folder / "authority.pem"), str(port), str(size)]
            process = subprocess.Popen([sys.executable, str(WORKERS / "tls_sender.py"), *arguments])
            stack.callback(process.wait, 60)
            accepted, _ = listener.accept()
            connections.append(stack.enter_context(context.wrap_socket(accepted, server_side=True)))
        pool = stack.enter_context(ThreadPoolExecutor(HOLDERS))

        def read(connection: ssl.SSLSocket) -> None:
            connection.sendall(b"g")
            buffer, left = bytearray(1 << 20), size
            while left:
                left -= connection.recv_into(buffer, min(left, len(buffer)))

        yield lambda number: list(pool.map(read, connections))


def throughput(exchange: Exchange, size: int, repeats: int) -> tuple[float, float]:
    """Megabytes a second of links and of sockets, the median of runs in turns."""
    rates: dict[str, list[float]] = {"links": [], "sockets": []}
    with link_mover(exchange, size) as links, socket_mover(exchange, size) as sockets:
        for number in range(repeats + 1):
            for name, move in (("links", links), ("sockets", sockets)):
                start = time.monotonic()
                move(number)
                rates[name].append(HOLDERS * size / 1e6 / (time.monotonic() - start))
    links_rate, sockets_rate = (statistics.median(values[1:]) for values in rates.values())  # the first warms up
    return links_rate, sockets_rate


def large_update(exchange: Exchange) -> float:
    """Seconds that one update of 2.2 GiB takes."""
    with link_mover(exchange, LARGE_BYTES, holders=1) as move:
        start = time.monotonic()
        move(0)
        return time.monotonic() - start


def superlink_rounds(folder: Path) -> list[float]:
    """Seconds of trivial rounds of a stock SuperLink with four SuperNodes."""
    ports = [_free_port() for _ in range(HOLDERS + 1)]
    home, result = folder / "flwr", folder / "superlink.json"
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "127.0.0.1:{ports[0]}"\ninsecure = true\n'
    )
    scripts = Path(sys.executable).parent
    environment = {**_environment(), "FLWR_HOME": str(home), "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    log = (folder / "superlink.log").open("w")
    start = lambda *command: subprocess.Popen(command, env=environment, stdout=log, stderr=log)  # noqa: E731
    processes = [
        start(
            str(scripts / "flower-superlink"),
            "--insecure",
            "--disable-runtime-dependency-installation",
            "--port",
            str(ports[0]),
        )
    ]
    try:
        time.sleep(8)
        for port in ports[1:]:
            address = f"127.0.0.1:{ports[0]}"
            processes.append(
                start(str(scripts / "flower-supernode"), "--insecure", "--superlink", address, "--port", str(port))
            )
        time.sleep(8)
        setting = f'result="{result}" nodes={HOLDERS}'
        app = str(WORKERS / "superlink_round")
        subprocess.run(
            [str(scripts / "flwr"), "run", app, "here", "--run-config", setting],
            env=environment,
            check=True,
            stdout=log,
            stderr=log,
            timeout=120,
        )
        end = time.monotonic() + 300
        while not result.exists():
            assert time.monotonic() < end, (folder / "superlink.log").read_text()[-2000:]
            time.sleep(0.5)
        return json.loads(result.read_text())
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(30)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def measure(folder: Path, *, quick: bool, large: bool) -> list[Row]:
    """All rows."""
    many, places = 20 if quick else MANY, (folder / "links", folder / "exchange", folder / "superlink")
    for place in places:
        place.mkdir()
    exchange = Exchange(places[0], [f"h{number}" for number in range(HOLDERS)])

    def row(transport: str, name: str, value: float) -> Row:
        return {"transport": transport, "measure": name, "value": value}

    rounds = trivial_rounds(exchange, ROUNDS)
    memory_mb, p99 = many_holders(places[1], many)
    links, sockets = throughput(exchange, (20 << 20) if quick else UPDATE_BYTES, REPEATS)
    rows = [
        row("grpc", "round_s", statistics.median(rounds)),
        row("grpc", f"exchange_mb_{many}_holders", memory_mb),
        row("grpc", f"beat_p99_s_{many}_holders", p99),
        row("grpc", "rate_mb_s", links),
        row("grpc", "tls_socket_mb_s", sockets),
        row("grpc", "rate_over_tls_socket", links / sockets),
    ]
    if large:
        rows.append(row("grpc", "update_of_2_2_gib_s", large_update(exchange)))
    if not quick:
        rows.append(row("superlink", "round_s", statistics.median(superlink_rounds(places[2]))))
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer holders, smaller updates, no SuperLink")
    parser.add_argument("--large", action="store_true", help="also one update of 2.2 GiB")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), quick=arguments.quick, large=arguments.large)
    table = Table("transport", "measure", "value", title="Links on loopback")
    for one in rows:
        table.add_row(str(one["transport"]), str(one["measure"]), f"{one['value']:.4g}")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
