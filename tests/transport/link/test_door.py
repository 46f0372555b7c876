"""Doors between our processes and Flower's, on one machine."""

import queue
import tempfile
import threading
from pathlib import Path

import pytest

from fedjoint.errors import FedjointError, TransportError
from fedjoint.transport.link.door import ExchangeDoor, HolderDoor, carry, knock


@pytest.fixture
def private():
    """A short path: a Unix socket's name has at most 107 bytes."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


class App:
    """What a SuperLink's app does at an exchange's door."""

    def __init__(self, path):
        self.tasks, self.replies, self.failure = queue.Queue(), queue.Queue(), None
        self._thread = threading.Thread(target=self._run, args=(path,), daemon=True)
        self._thread.start()

    def _run(self, path):
        try:
            carry(path, lambda *task: self.tasks.put(task), iter(self.replies.get, None))
        except TransportError as failure:
            self.failure = failure

    def ended(self):
        self._thread.join(10)
        return not self._thread.is_alive()


def test_a_task_goes_through_a_holders_door_and_the_reply_comes_back(private):
    with HolderDoor(private / "door", lambda task: (b"did ", bytes(task))):
        assert knock(private / "door", b"it", timeout_s=5) == b"did it"


def test_only_the_owner_can_open_a_door_and_nothing_is_left_of_it(private):
    with HolderDoor(private / "door", lambda task: (task,)):
        assert (private / "door").stat().st_mode & 0o777 == 0o600
    assert not (private / "door").exists()


def test_a_door_in_a_folder_that_others_may_read_is_refused(private):
    private.chmod(0o755)
    with pytest.raises(TransportError, match="open to others"):
        HolderDoor(private / "door", lambda task: (task,))


def test_a_path_too_long_for_a_socket_is_refused(private):
    with pytest.raises(TransportError, match="at most 107"):
        HolderDoor(private / ("d" * 120), lambda task: (task,))


def test_a_door_behind_which_nobody_is_says_what_to_start(private):
    with pytest.raises(TransportError, match="fedjoint holder start"):
        knock(private / "door", b"", timeout_s=1)
    with pytest.raises(TransportError, match="fedjoint exchange start"):
        carry(private / "door", lambda *task: None, iter(()))


def test_a_refusal_behind_a_holders_door_is_told(private):
    def refuse(task):
        raise FedjointError("not this one")

    with (
        HolderDoor(private / "door", refuse),
        pytest.raises(TransportError, match="fedjoint: not this one"),
    ):
        knock(private / "door", b"", timeout_s=5)


def test_tasks_that_waited_go_to_the_app_and_its_replies_come_back(private):
    heard = queue.Queue()
    with ExchangeDoor(private / "door", lambda *reply: heard.put(reply)) as door:
        door.submit("ahus", "k1", (b"first\n", b"task"))
        app = App(private / "door")
        assert app.tasks.get(timeout=10) == ("ahus", "k1", b"first\ntask")
        app.replies.put(("k1", b"a\nreply"))
        assert heard.get(timeout=10) == ("ahus", "k1", b"a\nreply")
    assert app.ended() and app.failure is None


def test_an_app_that_comes_after_another_gets_what_has_no_reply_yet(private):
    heard = queue.Queue()
    with ExchangeDoor(private / "door", lambda *reply: heard.put(reply)) as door:
        lost = App(private / "door")
        door.submit("ahus", "k1", (b"one",))
        door.submit("bern", "k2", (b"two",))
        assert [lost.tasks.get(timeout=10)[1] for _ in range(2)] == ["k1", "k2"]
        lost.replies.put(("k1", b"done"))
        assert heard.get(timeout=10)[1] == "k1"
        second = App(private / "door")
        assert second.tasks.get(timeout=10) == ("bern", "k2", b"two")
        assert lost.ended()


def test_a_reply_nobody_waits_for_is_dropped(private):
    heard = queue.Queue()
    with ExchangeDoor(private / "door", lambda *reply: heard.put(reply)) as door:
        app = App(private / "door")
        door.submit("ahus", "k1", (b"one",))
        assert app.tasks.get(timeout=10)[1] == "k1"
        door.withdraw("ahus", "k1")
        for reply in (("k1", b"late"), ("made up", b"?")):
            app.replies.put(reply)
        door.submit("ahus", "k2", (b"two",))
        assert app.tasks.get(timeout=10)[1] == "k2"
        app.replies.put(("k2", b"right"))
        assert heard.get(timeout=10) == ("ahus", "k2", b"right")
        assert heard.empty()
