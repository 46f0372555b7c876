"""A whole run through a real SuperLink and real SuperNodes on loopback."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedjoint.errors import TrainingError
from fedjoint.flower.client_app import make_client_app
from fedjoint.flower.server_app import make_server_app
from fedjoint.transport.grpc_grid import GrpcGrid, make_answer
from fedjoint.transport.inline import HOLDER_KEY, InlineGrid
from fedjoint.transport.link.door import ExchangeDoor, HolderDoor
from fedjoint.transport.superlink import client_app, find_holders
from fedjoint.transport.touch_points import begin_run
from tests.fakes import complete_over_grid, make_consortium, open_contributions, train

SCRIPTS = Path(sys.executable).parent
#: Flower's own SuperNode, but that it looks for messages every tenth of a second instead of every three.
SUPERNODE = """
import time
sleep = time.sleep
time.sleep = lambda seconds: sleep(min(seconds, 0.1))
from flwr.supernode.cli import flower_supernode
flower_supernode()
"""
BUNDLE = Path(__file__).parents[2] / "deploy" / "superlink" / "bundle"
SIZES = {"ahus": 40, "bern": 30}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Federation:
    """A SuperLink and one SuperNode for each holder, ended by id."""

    def __init__(self, folder):
        self.folder, self.processes, self.port = folder, [], free_port()
        home = folder / "flwr"
        home.mkdir()
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "127.0.0.1:{self.port}"\ninsecure = true\n'
        )
        quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "FLWR_HOME": str(home)}
        quiet["FLWR_SUPEREXEC_TASK_POLL_INTERVAL"] = "0.1"
        self.environment = {**os.environ, **quiet, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
        self.log = (folder / "flower.log").open("w")

    def start(self, *command):
        started = subprocess.Popen(
            command, env=self.environment, stdout=self.log, stderr=self.log, start_new_session=True
        )
        self.processes.append(started)

    def run(self, door):
        subprocess.run(
            [SCRIPTS / "flwr", "run", BUNDLE, "here", "--run-config", f'door="{door}"'],
            env=self.environment,
            check=True,
            stdout=self.log,
            stderr=self.log,
            timeout=120,
        )

    def said(self):
        return (self.folder / "flower.log").read_text()[-4000:]

    def close(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait(60)
            with contextlib.suppress(ProcessLookupError):  # Flower leaves processes that a task was waiting in
                os.killpg(process.pid, signal.SIGKILL)
        self.log.close()


@contextmanager
def federation(folder, doors):
    running = Federation(folder)
    try:  # a failure is explained by what Flower's processes said
        running.start(
            *(SCRIPTS / "flower-superlink", "--insecure", "--disable-runtime-dependency-installation"),
            *("--port", str(running.port)),
        )
        wait_for_port(running.port)
        for holder, door in doors.items():
            running.start(
                *(sys.executable, "-c", SUPERNODE),
                *("--insecure", "--superlink", f"127.0.0.1:{running.port}", "--port", str(free_port())),
                *("--node-config", f'holder="{holder}" door="{door}"'),
            )
        yield running
    except Exception:
        print(running.said())
        raise
    finally:
        running.close()


def wait_for_port(port):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("no SuperLink")


@pytest.fixture
def private(tmp_path):
    """A short path: a Unix socket's name has at most 107 bytes."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def serve(consortium, holder):
    app = make_client_app(lambda context: consortium.holders[str(context.node_config[HOLDER_KEY])])
    context = Context(1, 1, {HOLDER_KEY: holder}, RecordDict(), {})
    return make_answer(lambda message: app(message, context))


def test_a_run_through_a_stock_federation_gives_the_model_of_one_in_process(private):
    consortium, runs = make_consortium(SIZES, rounds=1), []

    def coordinate(channel):
        run = train(consortium, channel)
        open_contributions(consortium, run, channel)
        runs.append(run)

    grid = GrpcGrid(list(SIZES))
    doors = {holder: private / f"{holder}.sock" for holder in SIZES}
    with ExitStack() as stack:
        for holder, door in doors.items():
            stack.enter_context(HolderDoor(door, serve(consortium, holder)))
        flower = stack.enter_context(federation(private, doors))
        exchange = stack.enter_context(ExchangeDoor(private / "exchange.sock", grid.on_reply))
        grid.serve_through(exchange)
        app = make_server_app(coordinate, lambda found: found.nodes, timeout_s=150)
        flower.run(private / "exchange.sock")
        app(grid, Context(grid.run.run_id, 1, {}, RecordDict(), {}))
    (run,) = runs
    direct, _ = complete_over_grid(make_consortium(SIZES, rounds=1))
    np.testing.assert_array_equal(run.models[-1], direct.models[-1])
    assert run.contributions.by_holder == pytest.approx(direct.contributions.by_holder, rel=1e-9)


def asked(kind, **configured):
    """What the app of a SuperNode so configured replies to a message of some kind."""
    begin_run()
    message = Message(RecordDict(), dst_node_id=1, message_type=kind)
    return client_app(message, Context(1, 1, configured, RecordDict(), {}))


def test_a_node_without_a_door_or_with_nobody_behind_it_replies_with_an_error(private):
    assert "no 'door'" in asked("query.join", holder="ahus").error.reason
    assert "did not answer" in asked("train", holder="ahus", door=str(private / "shut")).error.reason


def test_nodes_say_whom_they_serve_and_are_found(private):
    grid = InlineGrid(client_app, ["ahus", "bern", "cork"])
    assert find_holders(grid, ["bern", "ahus"], wait_s=0) == grid.nodes
    assert "oslo" not in find_holders(grid, ["oslo"], wait_s=0)


def test_two_nodes_that_say_they_serve_one_holder_are_refused():
    liar = ClientApp()

    @liar.query("who")
    def who(message, context):
        return client_app(message, Context(1, 1, {"holder": "ahus"}, RecordDict(), {}))

    with pytest.raises(TrainingError, match="both say that they serve 'ahus'"):
        find_holders(InlineGrid(liar, ["ahus", "bern"]), ["ahus"], wait_s=0)
