"""An exchange's process, its disk and the wire hold no update in the clear and no key that opens one."""

import contextlib
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.exchange.conftest import Exchange, joined, nodes
from tests.exchange.test_exchange import signed, start_run
from tests.fakes import SIZES
from tests.relay import Gate, gate

_CHUNK = 16 << 20
#: Whoever holds all of a secret holds so many first bytes of it; of numbers from -1 to 1 as many numbers.
_ENOUGH = 64


class Recorder(Gate):
    """A wire, and everything that went over it."""

    def __init__(self, port):
        self.heard = bytearray()
        super().__init__(port)

    def _carry(self, source, sink):
        super()._carry(_Heard(source, self.heard), sink)


class _Heard:
    def __init__(self, end, heard):
        self._end, self._heard = end, heard

    def recv(self, size):
        data = self._end.recv(size)
        self._heard += data
        return data

    def __getattr__(self, name):
        return getattr(self._end, name)


class Spying:
    """A holder's node that tells the test what must never leave it."""

    def __init__(self, secrets):
        self.secrets, self.nodes, self.looked = secrets, {}, threading.Event()

    def __call__(self, name, holders):
        def heard(holder, number, update):
            for dtype in (np.float64, np.float32):
                self.secrets[f"update of {holder} in round {number} as {dtype.__name__}"] = update.astype(
                    dtype
                ).tobytes()

        looked = self.looked

        class Node:
            rounds = 0

            def answer(self, kind, parcel):
                self.rounds += kind == "train"
                if kind == "train" and self.rounds > 3:  # the run goes on when its exchange has been looked through
                    assert looked.wait(120)
                holder = holders._holder(parcel.body.agreement_sha256)
                holder._observer = heard
                return holders.answer(kind, parcel)

        node = Node()
        node.key = lambda agreement: holders._holder(agreement)._runs[agreement]._key.require()
        self.nodes[name] = node
        return node


def memory_of(pid):
    """Every readable and writable part of a process's memory, piece by piece."""
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if not found:
                continue
            start, end = (int(part, 16) for part in found.groups())
            for place in range(start, end, _CHUNK):
                with contextlib.suppress(OSError, ValueError, OverflowError):
                    memory.seek(place)
                    yield memory.read(min(_CHUNK + 4096, end - place))


def found_in(pieces, needles):
    seen = set()
    for piece in pieces:
        seen |= {name for name, needle in needles.items() if needle in piece}
    return seen


@contextlib.contextmanager
def process(exchange):
    """The exchange as a process of its own; gives its id once it serves."""
    environment = {**os.environ, "FEDJOINT_EXCHANGE_LISTEN": exchange.settings.listen}
    for name in ("task_timeout_s", "witness_timeout_s", "beat_s"):
        environment[f"FEDJOINT_EXCHANGE_{name.upper()}"] = str(getattr(exchange.settings, name))
    command = [sys.executable, "-m", "fedjoint", "exchange", "start", str(exchange.home.folder)]
    running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        exchange.port = int(re.search(r"port (\d+)", running.stdout.readline())[1])
        yield running.pid
    finally:
        running.terminate()
        _, exchange.log = running.communicate(timeout=60)
        assert running.returncode == 0, exchange.log


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="memory is read through /proc, which Linux has")
def test_memory_disk_and_wire_hold_no_update_and_no_key(tmp_path):
    exchange, secrets = Exchange(tmp_path / "exchange", task_timeout_s=120.0), {}
    with process(exchange) as pid, gate(exchange.port, kind=Recorder) as wire:
        homes = joined(tmp_path, exchange)
        sha256 = signed(exchange, homes, "training.rounds=4")
        exchange.port, spying = wire.port, Spying(secrets)
        with nodes(exchange, homes, wrap=spying):
            start_run(exchange, sha256)
            exchange.until(lambda: exchange.store.runs.all()[0].round >= 2)
            key = spying.nodes["ahus"].key(sha256)
            secrets["secret key"] = key.pack()[:_ENOUGH]
            secrets["secret key as numbers"] = key.coefficients().astype("<i8").tobytes()[: 8 * _ENOUGH]
            for home in homes:
                own = home.load_identity()
                secrets[f"signing key of {own.id}"] = own._signing.private_bytes_raw()
                secrets[f"sealing key of {own.id}"] = own._sealing.private_bytes_raw()
            during = found_in(memory_of(pid), dict(secrets))
            on_disk = {path: path.read_bytes() for path in exchange.home.folder.rglob("*") if path.is_file()}
            spying.looked.set()
            assert exchange.ended().state == "finished"
            after = found_in(memory_of(pid), {**secrets, "agreement": sha256.encode()})
        on_disk |= {path: path.read_bytes() for path in exchange.home.folder.rglob("*") if path.is_file()}
    assert len(secrets) == 2 + (2 + 2 * 4) * len(SIZES)
    assert after == {"agreement"}, "the search finds what is there, and nothing else"
    assert during == set()
    assert found_in(on_disk.values(), {**secrets, "agreement": sha256.encode()}) == {"agreement"}
    assert len(wire.heard) > 10_000 and found_in([bytes(wire.heard), exchange.log.encode()], secrets) == set()
    assert sha256.encode() not in bytes(wire.heard)
    exchange.store.close()
