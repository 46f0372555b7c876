"""An exchange and its holders as real processes on this machine, that can be killed, stopped and cut off."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.cli.main import cli
from fedjoint.data.schema_file import write_schema
from fedjoint.exchange.home import ExchangeHome
from fedjoint.exchange.runs_store_sql import RunEntry
from fedjoint.exchange.settings import load_settings
from fedjoint.exchange.store_sql import ExchangeStore
from fedjoint.node.home import Home

#: Records of each holder: weights of the model's average.
HOLDERS = {"ahus": 40, "bern": 30, "cork": 20, "delft": 25}
WIDTH = 3
_HOST = "127.0.0.1"


def command(*words: object) -> str:
    """A command of fedjoint, in this process; what it printed."""
    result = CliRunner().invoke(cli, list(map(str, words)), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


class Proxy:
    """Passes TCP connections on to a port, until it is told to cut them.

    Args:
        port: Where to.
    """

    def __init__(self, port: int) -> None:
        self._to, self._closed_until, self._open = port, 0.0, list[socket.socket]()
        self._listening = socket.create_server((_HOST, 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, seconds: float) -> None:
        """Break all connections, and let none be made for a while."""
        self._closed_until = time.monotonic() + seconds
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        """Pass nothing on any more."""
        self._listening.close()
        self.cut(1e9)

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listening.accept()
            except OSError:
                return
            if time.monotonic() < self._closed_until:
                here.close()
                continue
            try:
                there = socket.create_connection((_HOST, self._to))
            except OSError:
                here.close()
                continue
            self._open += [here, there]
            for source, sink in ((here, there), (there, here)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


class Process:
    """One party's process, started again as often as it is killed.

    Args:
        words: Of its ``fedjoint`` command.
        log: Where its log goes.
        settings: Of its environment.
    """

    def __init__(self, words: Sequence[object], log: Path, settings: Mapping[str, object]) -> None:
        self._words, self._log = [sys.executable, "-m", "fedjoint", *map(str, words)], log
        self._environment = os.environ | {name: str(value) for name, value in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._process is None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(self._words, stdout=log, stderr=log, env=self._environment)

    def kill(self) -> None:
        """Without any warning; only the process that was started here."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Let it do nothing at all, until it is told to go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def fallen(self) -> bool:
        """Whether it ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
            return True
        return False


def records(count: int, *, seed: int, named: bool = True) -> str:
    """A table of made-up records of one logistic truth."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, WIDTH))
    ill = features @ np.array([1.5, -1.0, 0.5]) + rng.logistic(size=count) * 0.5 > 0
    rows = [
        ",".join(f"{value:.6f}" for value in row) + f",{['no', 'yes'][int(y)]}"
        for row, y in zip(features, ill, strict=True)
    ]
    return "\n".join([*([",".join([*(f"x{place}" for place in range(WIDTH)), "ill"])] if named else []), *rows]) + "\n"


class Federation:
    """An exchange, and holders that have joined it through a proxy each, all of them running.

    Args:
        folder: For all their files.
        deadline_s: How long holders have for a task.
        holders: How many of :data:`HOLDERS` there are.
    """

    def __init__(self, folder: Path, *, deadline_s: float, holders: int = len(HOLDERS)) -> None:
        parties = list(HOLDERS)[:holders]
        self.folder, self.port = folder, _free_port()
        self.home = ExchangeHome(folder / "exchange")
        command("exchange", "init", self.home.folder, "--name", "Chaos", "--host", f"localhost:{self.port}")
        exchange = {"LISTEN": f"{_HOST}:{self.port}", "TASK_TIMEOUT_S": deadline_s, "WITNESS_TIMEOUT_S": 0.0}
        exchange |= {"BEAT_S": 0.5, "BEATS_LOST": 6}
        settings = {f"FEDJOINT_EXCHANGE_{name}": value for name, value in exchange.items()}
        words = ["exchange", "start", self.home.folder]
        self.processes = {"exchange": Process(words, folder / "exchange.log", settings)}
        self.proxies = {holder: Proxy(self.port) for holder in parties}
        self.homes = {holder: Home(folder / holder) for holder in parties}
        try:
            self._come_together()
        except BaseException:
            self.close()
            raise

    def _come_together(self) -> None:
        folder = self.folder
        self.processes["exchange"].start()
        _until(lambda: _reachable(self.port), "the exchange does not listen")
        self._schema = folder / "schema.yaml"
        columns = tuple(Column(name=f"x{place}", kind="number") for place in range(WIDTH))
        write_schema(
            Schema(columns=columns, target=Target(name="ill", task="binary", classes=("no", "yes"))), self._schema
        )
        (folder / "reference.csv").write_text(records(60, seed=99))
        for number, holder in enumerate(self.homes):
            self._join(holder, number)
            self.processes[holder].start()
        self._database = load_settings(self.home.settings_file, {})
        self.wait_for_all()

    def _join(self, holder: str, number: int) -> None:
        home, invitation = self.homes[holder], self.folder / f"{holder}.invitation"
        command("exchange", "invite", holder, "--name", holder.title(), "--out", invitation, "--home", self.home.folder)
        command("holder", "init", home.folder, "--id", holder, "--name", holder.title())
        home.policy.write_text(
            home.policy.read_text()
            .replace("modes: [local, joint]", "modes: [local, joint, none]")
            .replace("maximum_epsilon: ", "maximum_epsilon: 1000000.0 #")
            .replace("maximum_delta: ", "maximum_delta: 0.5 #")
        )
        command(
            "holder", "join", f"localhost:{self.proxies[holder].port}", "--invite", invitation, "--home", home.folder
        )
        table = self.folder / f"{holder}.csv"
        table.write_text(records(HOLDERS[holder], seed=number))
        for name, budget in (("plain", []), ("counted", ["--epsilon", "300", "--delta", "1e-4"])):
            words = ["--schema", self._schema, "--name", name, *budget, "--home", home.folder]
            command("holder", "data", "add", table, *words)
        words = ["holder", "start", "--home", home.folder]
        self.processes[holder] = Process(words, self.folder / f"{holder}.log", {"FEDJOINT_HOLDER_BACKOFF_S": 1.0})

    def store(self) -> ExchangeStore:
        """The exchange's database, to be read beside it."""
        return ExchangeStore.open(self.home.database_url(self._database))

    def agree(self, dataset: str, settings: Sequence[str]) -> str:
        """Propose terms and have everybody sign; the agreement's hash."""
        reference = self.folder / "reference.csv"
        words = ["--dataset", dataset, "--reference", reference, "--home", self.home.folder, "--json"]
        sha256 = str(json.loads(command("exchange", "propose", *settings, *words))["sha256"])
        for holder in self.homes:
            command("holder", "sign", sha256[:16], "--data", dataset, "--yes", "--home", self.homes[holder].folder)
        return sha256

    def begin(self, sha256: str, name: str) -> str:
        """Put a run into the exchange's queue; its id."""
        words = ["--revenue", "1000.00", "--name", name, "--home", self.home.folder, "--json"]
        return str(json.loads(command("exchange", "run", sha256[:16], *words))["run_id"])

    def entry(self, run_id: str) -> RunEntry:
        """How far a run is."""
        with self.store() as store:
            return next(run for run in store.runs.all() if run.run_id == run_id)

    def connected(self) -> bool:
        """Whether the exchange has every holder on its line, as it said a moment ago."""
        try:
            fresh = time.time() - self.home.status.stat().st_mtime < 5
            said = json.loads(self.home.status.read_text())["holders"]
        except (OSError, ValueError):
            return False
        return fresh and all(said.get(holder, {}).get("connected") for holder in self.homes)

    def wait_for_all(self, *, within_s: float = 300.0) -> int:
        """Start whoever is down and let whoever stands still go on, until all are connected; how many had fallen."""
        fallen = 0
        end = time.monotonic() + within_s
        while not self.connected() and time.monotonic() < end:
            for process in self.processes.values():
                fallen += process.fallen()
                process.go_on()
                process.start()
            time.sleep(0.3)
        if not self.connected():
            raise SystemExit(f"the parties do not come together any more; see the logs in {self.folder}")
        return fallen

    def close(self) -> None:
        """End the processes that were started here, and the proxies."""
        for process in self.processes.values():
            process.go_on()
            process.kill()
        for proxy in self.proxies.values():
            proxy.close()


def _free_port() -> int:
    with socket.create_server((_HOST, 0)) as one:
        return int(one.getsockname()[1])


def _reachable(port: int) -> bool:
    with suppress(OSError), socket.create_connection((_HOST, port), timeout=1):
        return True
    return False


def _until(condition, words: str, *, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(words)
        time.sleep(0.1)
