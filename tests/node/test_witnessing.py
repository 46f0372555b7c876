"""A node countersigns what goes on from what it saw, and nothing else."""

import pytest

from fedjoint.agreement.canonical import canonical_bytes
from fedjoint.identity.keys import Identity
from fedjoint.node.credentials import connect
from fedjoint.node.settings import NodeSettings
from fedjoint.node.witnessing import Watch
from fedjoint.record.log import RunRecord, origin_of
from fedjoint.transport.services import exchange_pb2 as api
from tests.node.conftest import join, make_home

AGREEMENT, RUN = "ab" * 32, "cd" * 16
ORIGIN = origin_of(AGREEMENT, RUN)


@pytest.fixture
def home(tmp_path, exchange):
    home = make_home(tmp_path, "bern")
    join(home, exchange)
    (home.agreements / f"{AGREEMENT}.json").write_text("{}")
    return home


def checkpoints(path, signer, count, *, origin=ORIGIN):
    """The signed checkpoints of a log of so many events, each with the proof from the one before."""
    found = []

    def ask(signed, prove):
        size = signed.checkpoint.size
        found.append(
            api.PendingCheckpoint(
                checkpoint=canonical_bytes(signed), seen_size=size - 1, proof=prove(size - 1) if size > 1 else ()
            )
        )
        return {}

    with RunRecord(path, origin, signer, now=lambda: "2026-01-01T00:00:00Z", witnesses=ask) as record:
        for number in range(count):
            record.append("round.closed", {"round": number, "log": path.name})
    return found


def watching(home, exchange):
    return Watch(home, home.load_identity(), exchange.identity.public)


def test_checkpoints_that_go_on_are_countersigned_also_after_a_restart(tmp_path, home, exchange):
    first, second, third = checkpoints(tmp_path / "log", exchange.identity, 3)
    with connect(home, NodeSettings()) as client:
        watch = watching(home, exchange)
        exchange.pending = [first]
        assert watch.once(client) == pytest.approx(0.05)
        exchange.pending = [second]
        watch.once(client)
        exchange.pending = [third]
        watching(home, exchange).once(client)
    assert [(party, one.size) for party, one in exchange.witnessed] == [("bern", 1), ("bern", 2), ("bern", 3)]


def test_another_history_is_not_countersigned_and_is_an_alarm(tmp_path, home, exchange, caplog):
    (first, *_) = checkpoints(tmp_path / "log", exchange.identity, 2)
    (_, other) = checkpoints(tmp_path / "other", exchange.identity, 2)
    with connect(home, NodeSettings()) as client:
        watch = watching(home, exchange)
        exchange.pending = [first]
        watch.once(client)
        exchange.pending = [other]
        watch.once(client)
        watch.once(client)
    assert len(exchange.witnessed) == 1
    assert [one.getMessage() for one in caplog.records].count("a record does not go on from what was seen") == 1


@pytest.mark.parametrize("wrong", ["signer", "agreement"])
def test_a_strangers_log_is_not_countersigned(tmp_path, home, exchange, wrong):
    signer = Identity.create("exchange", "Mallory") if wrong == "signer" else exchange.identity
    origin = origin_of("ef" * 32, RUN) if wrong == "agreement" else ORIGIN
    exchange.pending = checkpoints(tmp_path / "log", signer, 1, origin=origin)
    with connect(home, NodeSettings()) as client:
        watching(home, exchange).once(client)
    assert exchange.witnessed == []


def test_a_proof_from_elsewhere_is_asked_for_again(tmp_path, home, exchange):
    first, _, third = checkpoints(tmp_path / "log", exchange.identity, 3)
    asked = []
    answer = exchange.checkpoints

    def checkpoints_seen(caller, request):
        asked.append([(seen.origin, seen.size) for seen in request.seen])
        return answer(caller, request)

    exchange.checkpoints = checkpoints_seen
    with connect(home, NodeSettings()) as client:
        exchange.pending = [first]
        watching(home, exchange).once(client)
        watch = watching(home, exchange)
        exchange.pending = [third]  # its proof goes on from size 2, and size 1 was seen
        watch.once(client)
        watch.once(client)
    assert asked[-1] == [(ORIGIN, 1)]
    assert len(exchange.witnessed) == 1
