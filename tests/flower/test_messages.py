from typing import get_args

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.encryption.binding import Binding
from fedjoint.encryption.ceremony import Acknowledgement, KeyOffer
from fedjoint.encryption.opened import ToOpen
from fedjoint.errors import TrainingError, ValuationError
from fedjoint.flower import messages
from fedjoint.flower.messages import BLOBS, MAX_BLOBS, from_record, message_type, to_record
from fedjoint.privacy.events import PURPOSES, GaussianEvent, Release
from fedjoint.privacy.receipts import RoundReceipt
from fedjoint.training.block_messages import OpenBlockReply, OpenBlockTask
from fedjoint.training.plan import (
    REPLIES,
    TASKS,
    ConfirmReply,
    ConfirmTask,
    ContributionsReply,
    ContributionsTask,
    GetTask,
    JoinReply,
    KeyReply,
    OncePurpose,
    Opening,
    OpenReleaseReply,
    OpenReleaseTask,
    OpenReply,
    OpenTask,
    Parcel,
    PartReply,
    PutTask,
    ReleaseReply,
    ReleaseTask,
    RoundReply,
    RoundTask,
    SampleToOpen,
    TakeKeyTask,
    Task,
)

BODY, LEFT = "fedjoint.body", "fedjoint.left"
words = st.text(max_size=8)
counts = st.integers(-(2**53) + 1, 2**53 - 1)
address = {"agreement_sha256": words, "run_id": words}
bindings = st.builds(
    Binding,
    agreement_sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    run_id=st.text("0123456789abcdef", min_size=32, max_size=32),
)
openings = st.builds(
    Opening,
    round=counts,
    contributors=st.sets(words, max_size=3).map(lambda ids: tuple(sorted(ids))),
    reveal=st.booleans(),
    confirmations=st.dictionaries(words, words, max_size=3),
)
offers = st.builds(KeyOffer, binding=bindings, key_id=words, maker=words, recipient=words, box=words, signature=words)
acknowledgements = st.builds(Acknowledgement, binding=bindings, key_id=words, holder=words, tag=words, signature=words)
opened = st.builds(OpenReply, round=counts, sum_sha256=words, model_sha256=words, signature=words)
noisy = st.builds(
    GaussianEvent, sampling_rate=st.floats(1e-3, 1), noise_multiplier=st.floats(0.1, 100), count=st.just(3)
)
receipts = st.builds(
    RoundReceipt,
    run_id=words,
    holder=words,
    round=counts,
    frame_sha256=words,
    releases=st.lists(
        st.builds(Release, purpose=st.sampled_from(PURPOSES), event=noisy, if_opened=st.none() | noisy), max_size=2
    ).map(tuple),
    epsilon=st.none() | st.floats(0, 1e6),
)
purposes = st.sampled_from(get_args(OncePurpose))
signed = st.dictionaries(words, words, max_size=3)
contributors = st.lists(words, max_size=3, unique=True).map(lambda names: tuple(sorted(names)))
samples = st.lists(st.builds(SampleToOpen, holder=words, part=st.integers(0, 3)), max_size=3, unique=True).map(tuple)
BODIES = {
    Task: st.builds(Task, **address),
    TakeKeyTask: st.builds(TakeKeyTask, **address, offer=offers),
    RoundTask: st.builds(RoundTask, **address, round=counts, opening=st.none() | openings, catch_up=st.booleans()),
    OpenTask: st.builds(OpenTask, **address, opening=openings, catch_up=st.booleans()),
    ContributionsTask: st.builds(ContributionsTask, **address, samples=samples, confirmations=signed),
    ReleaseTask: st.builds(ReleaseTask, **address, purpose=purposes),
    OpenReleaseTask: st.builds(
        OpenReleaseTask, **address, purpose=purposes, contributors=contributors, confirmations=signed
    ),
    ConfirmTask: st.builds(
        ConfirmTask,
        **address,
        subject=st.builds(ToOpen, slot=st.integers(0, 1 << 20), contributors=contributors, sha256=words),
    ),
    ConfirmReply: st.builds(ConfirmReply, signature=words),
    PutTask: st.builds(PutTask, **address, blob=words, size=counts, start=counts),
    GetTask: st.builds(GetTask, **address, blob=words, start=counts, size=counts),
    PartReply: st.builds(PartReply, start=counts),
    ReleaseReply: st.builds(ReleaseReply, signature=words),
    OpenReleaseReply: st.builds(
        OpenReleaseReply, values=st.lists(st.integers().map(str), max_size=3).map(tuple), signature=words
    ),
    OpenBlockTask: st.builds(OpenBlockTask, **address, round=counts, block=counts, confirmations=signed),
    OpenBlockReply: st.builds(OpenBlockReply, sum_sha256=words, signature=words),
    JoinReply: st.builds(JoinReply, holder=words, signature=words),
    KeyReply: st.builds(KeyReply, offers=st.lists(offers, max_size=2).map(tuple), acknowledgement=acknowledgements),
    Acknowledgement: acknowledgements,
    RoundReply: st.builds(RoundReply, receipt=receipts, signature=words, opened=st.none() | opened),
    OpenReply: opened,
    ContributionsReply: st.builds(ContributionsReply, values=st.lists(words, max_size=3).map(tuple), signature=words),
}
blobs = st.dictionaries(st.text(min_size=1, max_size=8), st.binary(max_size=40), max_size=3)
left = st.dictionaries(st.text(min_size=1, max_size=8), st.integers(1, 1 << 40), max_size=3)


def record(body=b'{"agreement_sha256":"a","run_id":"b"}', arrays=None, **records):
    made = RecordDict({BODY: ConfigRecord({"json": body}), BLOBS: ArrayRecord(arrays or {})})
    for name, part in records.items():
        made[name] = part
    return made


def array(data=b"abc", **changes):
    return Array(**({"dtype": "uint8", "shape": (len(data),), "stype": "fedjoint.bytes", "data": data} | changes))


def test_every_body_that_travels_has_a_round_trip_here():
    assert set(BODIES) == set(TASKS.values()) | set(REPLIES.values())


@given(
    st.sampled_from(sorted(BODIES, key=str)).flatmap(lambda kind: st.tuples(st.just(kind), BODIES[kind])), blobs, left
)
def test_a_parcel_survives_its_record(body, named, elsewhere):
    kind, sent = body
    parcel = Parcel(body=sent, blobs=named, left=elsewhere)
    got = from_record(to_record(parcel), kind)
    assert got == parcel and type(got.body) is kind


@given(blobs)
def test_blobs_survive_flowers_own_serialisation(named):
    sent = to_record(Parcel(body=Task(agreement_sha256="a", run_id="b"), blobs=named))
    objects = {key: nested.deflate() for key, nested in get_all_nested_objects(sent).items()}
    assert from_record(inflate_object_from_contents(sent.object_id, objects), Task).blobs == named


def without(name):
    made = record()
    del made[name]
    return made


MALFORMED = {
    "empty": RecordDict(),
    "no body": without(BODY),
    "no blobs": without(BLOBS),
    "a part more": record(more=MetricRecord({"loss": 0.5})),
    "a body of another type": record(**{BODY: MetricRecord({"json": 1})}),
    "blobs of another type": record(**{BLOBS: ConfigRecord({})}),
    "a body without text": record(**{BODY: ConfigRecord({})}),
    "a body under another name": record(**{BODY: ConfigRecord({"yaml": b"{}"})}),
    "a body with a key more": record(
        **{BODY: ConfigRecord({"json": b'{"agreement_sha256":"a","run_id":"b"}', "x": 1})}
    ),
    "a body that is text": record(body="{}"),
    "no JSON": record(b"agreement"),
    "not UTF-8": record(b'{"agreement_sha256":"\xff","run_id":"b"}'),
    "JSON spelled otherwise": record(b'{"run_id":"b","agreement_sha256":"a"}'),
    "JSON with spaces": record(b'{"agreement_sha256": "a","run_id":"b"}'),
    "a key twice": record(b'{"agreement_sha256":"a","agreement_sha256":"a","run_id":"b"}'),
    "a missing key": record(b'{"run_id":"b"}'),
    "an unknown key": record(b'{"agreement_sha256":"a","colour":1,"run_id":"b"}'),
    "a wrong type": record(b'{"agreement_sha256":1,"run_id":"b"}'),
    "a list": record(b"[]"),
    "not a number": record(b'{"agreement_sha256":NaN,"run_id":"b"}'),
    "deeply nested": record(b"[" * 900 + b"]" * 900),
    "far too deeply nested": record(b"[" * 100_000 + b"]" * 100_000),
    "a float array": record(arrays={"sum": Array(np.zeros(3))}),
    "an array of another stype": record(arrays={"sum": array(stype="numpy.ndarray")}),
    "an array of another dtype": record(arrays={"sum": array(dtype="float32")}),
    "an array that says it is longer": record(arrays={"sum": array(shape=(4,))}),
    "an array of two dimensions": record(arrays={"sum": array(shape=(3, 1))}),
    "blobs left of no length": record(**{LEFT: ConfigRecord({"sum": 0})}),
    "blobs left of a length in words": record(**{LEFT: ConfigRecord({"sum": "many"})}),
    "blobs left, but none": record(**{LEFT: ConfigRecord({})}),
    "blobs left, in another record": record(**{LEFT: MetricRecord({"sum": 8})}),
    "too many blobs left": record(**{LEFT: ConfigRecord({str(n): 1 for n in range(MAX_BLOBS + 1)})}),
    "too many blobs": record(arrays={str(number): array() for number in range(MAX_BLOBS + 1)}),
}


@pytest.mark.parametrize("malformed", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_record_is_refused(malformed):
    with pytest.raises(TrainingError):
        from_record(malformed, Task)


def test_a_well_formed_record_is_not():
    assert from_record(record(arrays={"sum": array()}), Task) == Parcel(
        body=Task(agreement_sha256="a", run_id="b"), blobs={"sum": b"abc"}
    )


def test_a_task_of_another_kind_is_refused():
    for other in (RoundTask, OpenTask, TakeKeyTask, ContributionsTask):
        with pytest.raises(TrainingError, match="missing key"):
            from_record(record(), other)


def test_the_caller_names_the_error():
    with pytest.raises(ValuationError, match="unknown key"):
        from_record(record(b'{"agreement_sha256":"a","colour":1,"run_id":"b"}'), Task, error=ValuationError)


def test_a_body_beyond_the_limit_neither_leaves_nor_arrives(monkeypatch):
    monkeypatch.setattr(messages, "MAX_BODY_BYTES", 20)
    with pytest.raises(TrainingError, match="expected at most 20"):
        to_record(Parcel(body=Task(agreement_sha256="a", run_id="b")))
    with pytest.raises(TrainingError, match="parts of a parcel"):
        from_record(record(), Task)


def test_each_kind_of_task_has_a_message_type_of_its_own():
    assert len({message_type(kind) for kind in TASKS}) == len(TASKS)
