"""A real exchange as a process of its own, with many holders enrolled, for the transport benchmark."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fedjoint.exchange.certification import Gate
from fedjoint.exchange.home import ExchangeHome, create_home
from fedjoint.exchange.settings import load_settings
from fedjoint.exchange.status import status_of
from fedjoint.exchange.store_sql import ExchangeStore
from fedjoint.identity.certificates import NodeKey
from fedjoint.identity.invitation import ENROL
from fedjoint.identity.keys import Identity


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class FullExchange:
    """An exchange that serves: its home, its port and its process."""

    home: ExchangeHome
    store: ExchangeStore
    port: int
    pid: int

    def connected(self) -> int:
        """How many holders are on its line."""
        return sum(party["connected"] for party in status_of(self.home, self.store)["parties"])

    def resident_mb(self) -> float:
        """Memory of its process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def enrol(gate: Gate, folder: Path, holder: str) -> None:
    """Take a holder in as its node would ask for it; its key and certificate are left in the folder."""
    invitation = gate.invite(holder, holder, exchange_name="Benchmark")
    serial = gate.admit(invitation.certificate.encode()).serial
    identity, key = Identity.create(holder, holder), NodeKey.generate()
    request = key.request(holder)
    signature = identity.sign(ENROL, request)
    pem = gate.enrol(serial, identity.public, token=invitation.token, request=request, signature=signature)
    (folder / f"{holder}.key").write_bytes(key.pem)
    (folder / f"{holder}.pem").write_bytes(pem)


@contextmanager
def full_exchange(folder: Path, holders: Sequence[str], settings: Mapping[str, object]) -> Iterator[FullExchange]:
    """Start one, and end it.

    Args:
        folder: Empty; ``authority.pem`` and the holders' keys and certificates are left there.
        holders: Ids.
        settings: Of the exchange, on top of its file.
    """
    home = create_home(folder / "home", name="Benchmark", party="exchange", address="localhost:1", now=_now())
    authority = home.load_authority()
    (folder / "authority.pem").write_bytes(authority.pem)
    store = ExchangeStore.open(home.database_url(load_settings(home.settings_file, {})))
    gate = Gate(authority, store.members, settings=load_settings(home.settings_file, {}), now=_now)
    for holder in holders:
        enrol(gate, folder, holder)
    overrides = {
        f"FEDJOINT_EXCHANGE_{name}": str(value) for name, value in {"LISTEN": "127.0.0.1:0", **settings}.items()
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "fedjoint", "exchange", "start", str(home.folder)],
        env={**os.environ, **overrides},
        stdout=subprocess.PIPE,
        stderr=(folder / "log.jsonl").open("w"),
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"port (\d+)", process.stdout.readline())
        if found is None:
            raise SystemExit((folder / "log.jsonl").read_text())
        yield FullExchange(home=home, store=store, port=int(found[1]), pid=process.pid)
    finally:
        process.terminate()
        process.wait(60)
        store.close()
