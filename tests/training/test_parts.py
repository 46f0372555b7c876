"""Large blobs in parts: the same run as with whole ones, in messages of bounded size."""

from dataclasses import replace

import numpy as np
import pytest

from fedjoint.agreement.terms import EncryptionTerms
from fedjoint.encryption.scratch import SMALL_BYTES
from fedjoint.errors import TrainingError
from fedjoint.training.parts import PART, PartedChannel, PartStore
from fedjoint.training.plan import GetTask, Parcel, PutTask, RoundTask
from fedjoint.training.workplace import Workplace
from tests.fakes import DirectChannel, complete, complete_over_grid, gone, in_round, make_consortium

SEAL = EncryptionTerms(scheme="seal", bound=8.0, value_bits=20)
ALL = ("ahus", "bern", "cork")
SMALL = 5_000


def small(folder=None):
    return Workplace(folder=folder, small_bytes=SMALL)


def consortium(**agreed):
    return make_consortium(workplace=small(), encryption=SEAL, **agreed)


def test_a_run_in_parts_is_the_run_in_whole_messages_and_no_message_is_large(tmp_path):
    sizes = {}

    def tap(direction, holder, message_type, data):
        if message_type not in ("query.join", "query.make_key", "query.take_key", "query.open_contributions"):
            sizes.setdefault(message_type, []).append(len(data))

    parties = consortium()
    run, _ = complete_over_grid(parties, workplace=small(tmp_path), tap=tap)
    whole = complete(make_consortium(encryption=SEAL))
    assert [model.tobytes() for model in run.models] == [model.tobytes() for model in whole.models]
    assert max(map(max, sizes.values())) < SMALL + 3_000
    # 33 kB up and down: 7 parts for each of three holders in three rounds, a message and a reply for each
    assert len(sizes["query.put"]) == len(sizes["query.get"]) == 2 * 7 * 3 * 3
    assert list(tmp_path.iterdir()) == []  # files without names


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_whoever_missed_a_round_gets_the_model_in_parts_too(optimizer):
    agreed = {"rounds": 4, "server_optimizer": optimizer, "hidden": (300,)}
    away = {"reachable": gone("bern", when=in_round(2))}
    run = complete(make_consortium(workplace=small(), **agreed), workplace=small(), **away)
    whole = complete(make_consortium(**agreed), **away)
    assert run.contributors == whole.contributors == [ALL, ("ahus", "cork"), ALL, ALL]
    assert run.models[-1].tobytes() == whole.models[-1].tobytes()


@pytest.mark.parametrize("kind", ["put", "get"])
def test_a_holder_that_vanishes_between_two_parts_is_left_out_and_the_others_go_on(kind):
    parties, count = consortium(rounds=2), []

    def reachable(task, holder, body):
        if (task, holder) == (kind, "bern"):
            count.append(body.start)
        return (task, holder) != (kind, "bern") or len(count) != 3

    run = complete(parties, workplace=small(), reachable=reachable)
    assert run.contributors == ([ALL, ("ahus", "cork")] if kind == "put" else [("ahus", "cork"), ALL])
    assert run.rounds[kind == "put"].refusals["bern"].code == "holder.silent"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda reply: replace(reply, left={"frame": 1 << 40}), "a blob of more than any of this run"),
        (lambda reply: replace(reply, left={"frame": 6_000}), "sent a part of 5000 bytes"),
        (lambda reply: replace(reply, left={}), "the receipt of 'bern' is not about the frame it sent"),
    ],
)
def test_a_holder_that_says_a_false_length_is_left_out(change, words):
    def meddle(kind, holder, reply):
        return change(reply) if (kind, holder) == ("train", "bern") and reply.body.receipt.round == 1 else reply

    run = complete(consortium(), workplace=small(), meddle=meddle)
    assert run.contributors == [("ahus", "cork"), ALL, ALL]
    assert words in run.rounds[0].refusals["bern"].message


def test_a_part_of_another_length_is_refused():
    def meddle(kind, holder, reply):
        cut = kind == "get" and holder == "bern"
        return replace(reply, blobs={PART: reply.blobs[PART][:-1]}) if cut else reply

    run = complete(consortium(), workplace=small(), meddle=meddle)
    assert "sent a part of 4999 bytes" in run.rounds[0].refusals["bern"].message


# a holder's store


@pytest.fixture
def session():
    return make_consortium(encryption=SEAL).session


def put(session, start, size=10, blob="sum"):
    return PutTask(**session.address, blob=blob, size=size, start=start)


def got(session, start, size=10, blob="frame"):
    return GetTask(**session.address, blob=blob, start=start, size=size)


def task(session, **left):
    return Parcel(body=RoundTask(**session.address, round=1), blobs={"model": b"m"}, left=left)


def test_what_was_put_in_order_is_there_once(session):
    store = PartStore(session, Workplace())
    store.put(put(session, 0), b"lost")
    store.put(put(session, 0), b"01234")  # begun anew
    store.put(put(session, 5), b"56789")
    whole = store.whole(task(session, sum=10))
    assert {name: bytes(blob) for name, blob in whole.blobs.items()} == {"model": b"m", "sum": b"0123456789"}
    with pytest.raises(TrainingError, match="blob 'sum' was not put here in full"):
        store.whole(task(session, sum=10))


def test_a_part_out_of_order_or_of_a_blob_larger_than_any_is_refused(session):
    store = PartStore(session, Workplace())
    store.put(put(session, 0), b"01234")
    for wrong, part in ((put(session, 6), b"6"), (put(session, 4), b"4"), (put(session, 5, 11), b"5")):
        with pytest.raises(TrainingError, match="what comes next of a blob of this length"):
            store.put(wrong, part)
    for part in (b"", b"567890"):
        with pytest.raises(TrainingError, match="what comes next"):
            store.put(put(session, 5), part)
    for size in (0, -1, 1 << 40):
        with pytest.raises(TrainingError, match=f"a blob of {size} bytes"):
            store.put(put(session, 0, size), b"x")
    with pytest.raises(TrainingError, match="not put here in full"):
        store.whole(task(session, sum=10))


def test_only_so_many_blobs_are_kept_at_a_time(session):
    store = PartStore(session, Workplace())
    for blob in ("sum", "model"):
        store.put(put(session, 0, blob=blob), b"0")
    with pytest.raises(TrainingError, match="what comes next"):
        store.put(put(session, 0, blob="more"), b"0")


def test_what_a_reply_left_can_be_got_until_the_next_one(session):
    store = PartStore(session, Workplace(small_bytes=4))
    frame = np.arange(10, dtype=np.uint8)
    kept = store.keep(Parcel(body=None, blobs={"frame": frame, "sum": b"0123456789", "less": frame[:4]}))
    assert kept.left == {"frame": 10, "sum": 10} and kept.blobs == {"less": bytes(range(4))}
    assert store.get(got(session, 7)).blobs[PART] == bytes([7, 8, 9])
    assert store.get(got(session, 2, 3, "sum")).blobs[PART] == b"234"
    for wrong in (got(session, 10), got(session, -1), got(session, 0, 0), got(session, 0, SMALL_BYTES + 1)):
        with pytest.raises(TrainingError, match="are to be got"):
            store.get(wrong)
    store.keep(Parcel(body=None))
    with pytest.raises(TrainingError, match="are to be got"):
        store.get(got(session, 0))


def test_an_agreement_is_not_sent_in_parts(session):
    parties = make_consortium()
    channel = PartedChannel(DirectChannel(holders=parties.holders), parties.session, Workplace(small_bytes=1))
    asked = Parcel(body=parties.task(), blobs={"agreement": parties.agreement.to_bytes()})
    assert dict(channel.exchange("join", {"ahus": asked}))["ahus"].body.holder == "ahus"
