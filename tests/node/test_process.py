"""The node as a process of its own: it connects, does tasks, logs without values, and stops when told."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from fedjoint.errors import IdentityError
from fedjoint.node.process import run_node
from fedjoint.node.settings import NodeSettings
from tests.node.conftest import add_data, allow, join, make_home


@pytest.fixture
def home(tmp_path, exchange):
    home = make_home(tmp_path, "bern")
    join(home, exchange)
    add_data(home)
    allow(home, "modes: [local, joint]", "modes: [none]")
    return home


def start(home, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "fedjoint", "holder", "start"],
        env={**os.environ, "FEDJOINT_HOLDER_HOME": str(home.folder), **environment},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_connected(exchange, holder):
    end = time.monotonic() + 60
    server = exchange.grid._server
    while not (holder in server.states() and server.states()[holder].connected):
        assert time.monotonic() < end, "the node did not connect"
        time.sleep(0.05)


def test_a_node_connects_logs_json_and_ends_with_0_when_it_is_told_to_stop(home, exchange):
    running = start(home, FEDJOINT_HOLDER_LOG_LEVEL="info")
    try:
        wait_connected(exchange, "bern")
        running.send_signal(signal.SIGTERM)
        said, logged = running.communicate(timeout=30)
    finally:
        running.kill()
    assert running.returncode == 0 and said == ""
    events = [json.loads(line) for line in logged.splitlines()]
    assert [event["event"] for event in events] == ["started", "told to stop", "stopped"]
    assert events[0]["holder"] == "bern" and events[0]["level"] == "info"


def test_a_node_whose_certificate_is_revoked_ends_and_says_why(home, exchange):
    exchange.network.revoked.add("bern")
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(IdentityError, match="'bern' was revoked"):
            run_node(home, NodeSettings())
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
