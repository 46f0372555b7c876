"""A run through doors, as a stock Flower federation would carry it: only bytes pass between the processes."""

import queue
import threading
from contextlib import ExitStack, contextmanager

import pytest

from fedjoint.errors import TransportError
from fedjoint.exchange.door import MembersDoor
from fedjoint.flower.client_app import make_client_app
from fedjoint.node.serving import NodeHolders
from fedjoint.runs.verify import verify_run
from fedjoint.transport.grpc_grid import serve_app
from fedjoint.transport.link.door import HolderDoor, carry, knock
from tests.exchange.conftest import Exchange, settings
from tests.exchange.test_exchange import command, signed, start_run


@contextmanager
def federation(exchange, homes):
    """What Flower does in between: each task goes to its holder's door, each reply to the exchange's."""
    replies = queue.Queue()

    def send(holder, key, data):
        replies.put((key, knock(doors[holder], data, timeout_s=60)))

    doors = {home.folder.name: home.folder / "d.sock" for home in homes}
    with ExitStack() as stack:
        for home in homes:
            holders = NodeHolders(home, now=lambda: "2026-01-01T00:00:00Z")
            stack.callback(holders.close)
            answer = serve_app(make_client_app(lambda _, holders=holders: holders), home.folder.name)
            stack.enter_context(HolderDoor(doors[home.folder.name], answer))
        app = threading.Thread(
            target=carry, args=(exchange.home.folder / exchange.settings.door, send, iter(replies.get, None))
        )
        app.start()
        stack.callback(lambda: (exchange.stop.set(), app.join(60)))
        yield


@settings(door="d.sock")
def test_a_run_goes_through_the_door(exchange, homes):
    sha256 = signed(exchange, homes, "training.rounds=2")
    with federation(exchange, homes):
        start_run(exchange, sha256)
        run = exchange.ended()
    assert (run.state, run.round) == ("finished", 2)
    assert {check.outcome for check in verify_run(exchange.home.runs / run.name)} == {"passed"}


def test_whoever_was_revoked_gets_no_task_through_the_door_and_is_not_heard(exchange, homes):
    command(exchange, "revoke", "cork", "--reason", "lost")
    heard, sent, replies = [], queue.Queue(), queue.Queue()
    path = exchange.home.folder / "d.sock"

    def send(*task):
        sent.put(task)
        replies.put(("k-2", b"reply"))  # not before: a task with a reply is not sent any more

    with MembersDoor(path, exchange.store.members, lambda *reply: heard.append(reply)) as door:
        door.submit("cork", "k-1", [b"secret"])
        door.submit("bern", "k-2", [b"task"])
        app = threading.Thread(target=carry, args=(path, send, iter(replies.get, None)))
        app.start()
        assert sent.get(timeout=60) == ("bern", "k-2", b"task")
        exchange.until(lambda: heard, seconds=60)
        door._take("cork", "k-1", b"reply")
        assert heard == [("bern", "k-2", b"reply")] and sent.empty()
        replies.put(None)
    app.join(60)


def test_a_door_in_a_folder_that_others_can_open_is_refused(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    for folder, remedy in ((shared, "chmod 700"), (tmp_path / "nowhere", "mkdir -m 700")):
        exchange = Exchange(tmp_path / f"exchange-{folder.name}", door=str(folder / "d.sock"))
        with pytest.raises(TransportError, match=remedy), exchange.serving():
            pass
        exchange.store.close()
