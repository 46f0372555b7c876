"""Flower messages as bytes and back."""

import contextlib

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import TransportError
from fedjoint.transport.link import codec
from fedjoint.transport.link import link_pb2 as wire
from fedjoint.transport.link.buffers import message_size
from fedjoint.transport.link.codec import from_bytes, to_buffers
from fedjoint.transport.touch_points import begin_run, give_id

INTEGERS, REALS = st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)
SCALARS = {
    "integer": INTEGERS,
    "real": REALS,
    "truth": st.booleans(),
    "text": st.text(),
    "raw": st.binary(max_size=50),
}
LISTS = {name: st.lists(kind, min_size=1, max_size=5) for name, kind in SCALARS.items()}
VALUES = st.one_of(*SCALARS.values(), *LISTS.values())
METRICS = st.one_of(INTEGERS, REALS, st.lists(INTEGERS, min_size=1), st.lists(REALS, min_size=1))


def array(data):
    return Array(dtype="uint8", shape=(len(data),), stype="bytes", data=data)


def message(content):
    begin_run()
    made = Message(content, 7, "query.greet", ttl=30.0, group_id="round 3")
    give_id(made, "task-1")
    return made


def through(content):
    return from_bytes(b"".join(to_buffers(message(content)))).content


@given(st.dictionaries(st.text(min_size=1, max_size=20), VALUES, max_size=6))
def test_every_configuration_comes_back_with_its_types(values):
    found = dict(through(RecordDict({"c": ConfigRecord(values)}))["c"])
    assert found == values
    assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in values.items()}


@given(st.dictionaries(st.text(min_size=1, max_size=20), METRICS, max_size=6))
def test_every_metric_comes_back(values):
    assert dict(through(RecordDict({"m": MetricRecord(values)}))["m"]) == values


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_arrays_come_back_byte_by_byte_in_order(blobs):
    arrays = ArrayRecord({f"a{number}": array(blob) for number, blob in enumerate(blobs)})
    found = through(RecordDict({"arrays": arrays}))["arrays"]
    assert [one.data for one in found.values()] == blobs
    assert list(found) == list(arrays)


def test_numbers_in_arrays_keep_shape_and_type():
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = through(RecordDict({"a": ArrayRecord({"w": Array(values)})}))["a"]["w"]
    assert np.array_equal(found.numpy(), values)


def test_metadata_come_back():
    sent = message(RecordDict())
    got = from_bytes(b"".join(to_buffers(sent)))
    assert {key: value for key, value in vars(got.metadata).items() if value is not None} == {
        key: value for key, value in vars(sent.metadata).items() if value is not None and "task_id" not in key
    }


def test_an_error_comes_back_as_an_error():
    task = message(RecordDict())
    reply = Message(Error(7_001, "no"), reply_to=task)
    got = from_bytes(b"".join(to_buffers(reply)))
    assert (got.error.code, got.error.reason) == (7_001, "no")
    assert got.metadata.reply_to_message_id == "task-1"


def test_array_data_are_sent_without_a_copy():
    data = bytes(10_000)
    buffers = to_buffers(message(RecordDict({"a": ArrayRecord({"w": array(data)})})))
    assert buffers[-1] is data
    assert message_size(buffers) == len(b"".join(buffers))


def test_a_head_beyond_the_limit_is_not_sent(monkeypatch):
    monkeypatch.setattr(codec, "MAX_HEAD_BYTES", 100)
    with pytest.raises(TransportError, match="has a head of"):
        to_buffers(message(RecordDict({"c": ConfigRecord({"words": "x" * 200})})))


def test_a_record_of_an_unknown_kind_is_not_sent():
    content = RecordDict()
    content.__dict__["_data"] = {"k": object()}
    with pytest.raises(TransportError, match="a record of type object"):
        to_buffers(message(content))


def packed(head, tail=b""):
    data = head.SerializeToString()
    return len(data).to_bytes(4, "big") + data + tail


def head(**fields):
    return wire.Head(message_type="train", **fields)


def record(**kind):
    return wire.Record(key="r", **kind)


def arrays(*sizes, **fields):
    return wire.Arrays(arrays=[wire.Array(key="a", dtype="uint8", shape=[n], size=n, **fields) for n in sizes])


HOSTILE = {
    "nothing": b"",
    "a head longer than all": (99).to_bytes(4, "big") + b"x",
    "a head that is no protobuf": (3).to_bytes(4, "big") + b"\xff\xff\xff",
    "bytes after the end": packed(head(), b"x"),
    "an array longer than what is left": packed(head(records=[record(arrays=arrays(5))]), b"1234"),
    "an array of exabytes": packed(head(records=[record(arrays=arrays(2**62))])),
    "an array twice": packed(head(records=[record(arrays=arrays(1, 1))]), b"12"),
    "too many dimensions": packed(
        head(records=[record(arrays=wire.Arrays(arrays=[wire.Array(key="a", shape=[1] * 40)]))])
    ),
    "a record twice": packed(head(records=[record(config=wire.Values())] * 2)),
    "a record of no kind": packed(head(records=[record()])),
    "a value of no kind": packed(head(records=[record(config=wire.Values(values=[wire.Value(key="v")]))])),
    "a value twice": packed(head(records=[record(config=wire.Values(values=[wire.Value(key="v", integer=1)] * 2))])),
    "text as a metric": packed(head(records=[record(metrics=wire.Values(values=[wire.Value(key="v", text="x")]))])),
    "a message type that Flower refuses": packed(wire.Head(message_type="no such type")),
    "an error with records": packed(head(error=wire.Error(code=1), records=[record(config=wire.Values())])),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bytes_are_refused_by_name(data):
    with pytest.raises(TransportError, match="a message that cannot be read"):
        from_bytes(data)


@given(st.binary(max_size=300))
def test_random_bytes_are_a_message_or_refused(data):
    with contextlib.suppress(TransportError):
        from_bytes(data)


WHOLE = b"".join(
    to_buffers(
        message(RecordDict({"a": ArrayRecord({"w": array(b"12345678")}), "c": ConfigRecord({"n": 3, "t": ["x"]})}))
    )
)


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_changed_message_is_a_message_or_refused(changes):
    whole = bytearray(WHOLE)
    for place, value in changes:
        whole[place] = value
    with contextlib.suppress(TransportError):
        from_bytes(whole)
