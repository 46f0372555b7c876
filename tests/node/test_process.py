"""The node as a process of its own: it connects, does tasks, logs without values, and stops when told."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from flwr.app import Message, RecordDict

from fedjoint.errors import IdentityError
from fedjoint.node.process import run_node
from fedjoint.node.settings import NodeSettings
from fedjoint.transport.link.codec import from_bytes, to_buffers
from fedjoint.transport.link.door import knock
from tests.node.conftest import add_data, allow, join, make_home


@pytest.fixture
def home(tmp_path, exchange):
    home = make_home(tmp_path, "bern")
    join(home, exchange)
    add_data(home)
    allow(home, "modes: [local, joint]", "modes: [none]")
    return home


def start(home, *options, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "fedjoint", "holder", "start", *map(str, options)],
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
    assert [event["event"] for event in events] == [
        "started",
        f"connected to localhost:{exchange.port}",
        "told to stop",
        "stopped",
    ]
    assert events[0]["holder"] == "bern" and events[0]["level"] == "info"


def test_a_node_behind_a_door_answers_what_a_supernode_hands_on_and_has_no_link(home, exchange):
    door = home.folder / "door.sock"
    running = start(home, "--door", door)
    try:
        end = time.monotonic() + 60
        while not door.is_socket():
            assert time.monotonic() < end and running.poll() is None, "no door"
            time.sleep(0.05)
        task = Message(RecordDict(), dst_node_id=1, message_type="query.join")
        reply = from_bytes(knock(door, b"".join(to_buffers(task)), timeout_s=30))
        assert "a message without the parts of a parcel" in reply.error.reason
        assert "bern" not in exchange.grid._server.states()
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=30)
        assert running.returncode == 0
    finally:
        running.kill()
    assert not door.exists()


def test_a_node_whose_certificate_is_revoked_ends_and_says_why(home, exchange):
    exchange.network.revoked.add("bern")
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(IdentityError, match="'bern' was revoked"):
            run_node(home, NodeSettings())
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
