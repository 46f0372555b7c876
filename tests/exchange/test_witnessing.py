"""Checkpoints that wait for holders, and countersignatures that come late, twice or from elsewhere."""

import threading
import time

import pytest

from fedjoint.errors import RecordError
from fedjoint.exchange.witnessing import WitnessDesk
from fedjoint.identity.keys import Identity
from fedjoint.record.checkpoint import Checkpoint, sign_checkpoint
from fedjoint.record.witness import Witness

AT, ORIGIN = "2026-01-01T00:00:00.000Z", "a" * 64 + "/" + "b" * 32


@pytest.fixture(scope="module")
def parties():
    return [Identity.create(name, name) for name in ("exchange", "ahus", "bern")]


def asking(desk, parties, answers, *, size=3):
    coordinator, *holders = parties
    signed = sign_checkpoint(Checkpoint(origin=ORIGIN, size=size, root="c" * 64, at=AT), coordinator)

    def ask():
        witnesses = [holder.public for holder in holders]
        answers.append(desk.ask(signed, lambda old: ("d" * 64,), coordinator=coordinator.public, witnesses=witnesses))

    thread = threading.Thread(target=ask)
    thread.start()
    while not desk.pending("ahus", {}):
        assert thread.is_alive(), "it was not asked in time"
        time.sleep(0.01)
    return signed, thread


def countersigned(signed, holder, coordinator):
    return Witness(holder, coordinator=coordinator.public, origin=ORIGIN).countersign(signed, lambda old: ())


def test_a_checkpoint_waits_for_every_holder_and_no_longer(parties):
    desk, answers = WitnessDesk(timeout_s=60), []
    signed, thread = asking(desk, parties, answers)
    for holder in parties[1:]:
        signature = countersigned(signed, holder, parties[0])
        desk.take(holder.id, origin=ORIGIN, size=3, signature=signature)
        assert desk.pending(holder.id, {}) == ()
        desk.take(holder.id, origin=ORIGIN, size=3, signature="again")
    thread.join(60)
    assert answers[0].keys() == {"ahus", "bern"}
    desk.take("ahus", origin=ORIGIN, size=3, signature="too late")


def test_who_does_not_come_in_time_is_left_out(parties):
    desk, answers = WitnessDesk(timeout_s=2.0), []
    signed, thread = asking(desk, parties, answers)
    desk.take("bern", origin=ORIGIN, size=3, signature=countersigned(signed, parties[2], parties[0]))
    thread.join(60)
    assert answers[0].keys() == {"bern"}


def test_a_false_countersignature_and_a_stranger_count_for_nothing(parties):
    desk, answers = WitnessDesk(timeout_s=2.0), []
    signed, thread = asking(desk, parties, answers)
    with pytest.raises(RecordError, match="not that of 'ahus'"):
        desk.take("ahus", origin=ORIGIN, size=3, signature=countersigned(signed, parties[2], parties[0]))
    desk.take("zug", origin=ORIGIN, size=3, signature="0" * 128)
    desk.take("ahus", origin="other", size=3, signature="0" * 128)
    assert desk.pending("zug", {}) == ()
    thread.join(60)
    assert answers == [{}]


def test_a_holder_gets_the_proof_from_what_it_saw_last(parties):
    desk, answers = WitnessDesk(timeout_s=60), []
    signed, thread = asking(desk, parties, answers)
    (fresh,), (again,), (seen,) = (desk.pending("ahus", {ORIGIN: size}) for size in (0, 2, 3))
    assert (fresh.proof, again.proof, seen.proof) == ((), ("d" * 64,), ())
    assert again.seen_size == 2
    with pytest.raises(RecordError, match="has seen 4 events of a log of 3"):
        desk.pending("ahus", {ORIGIN: 4})
    for holder in parties[1:]:
        desk.take(holder.id, origin=ORIGIN, size=3, signature=countersigned(signed, holder, parties[0]))
    thread.join(60)
