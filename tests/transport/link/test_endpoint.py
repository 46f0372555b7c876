"""Two endpoints and a connection that breaks wherever it likes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.errors import TransportError
from fedjoint.transport.link import link_pb2 as wire
from fedjoint.transport.link.endpoint import Endpoint
from fedjoint.transport.link.framing import frame_from_bytes, frame_to_bytes
from fedjoint.transport.link.settings import LinkSettings

SMALL = LinkSettings(chunk_bytes=4096, max_message_bytes=100_000)
NOISE = bytes(range(256)) * 60  # 15,360 bytes that zstd would shrink: sent in parts to see both


def reconnect(one, other):
    ones, others = one.received, other.received
    one.connected(others)
    other.connected(ones)


def pump(sender, receiver, *, frames=None):
    """Carry frames both ways until nothing is left, or until so many were carried; what arrived."""
    arrived, carried = [], 0
    while frames is None or carried < frames:
        frame = sender.next_frame()
        back = receiver.next_frame()
        if frame is None and back is None:
            break
        if frame is not None:
            carried += 1
            arrived += [whole] if (whole := receiver.take(frame_from_bytes(frame_to_bytes(frame)))) else []
        if back is not None:
            sender.take(back)
    return arrived


@pytest.fixture
def pair():
    one, other = Endpoint(SMALL), Endpoint(SMALL)
    reconnect(one, other)
    return one, other


def incompressible(size, seed):
    import hashlib

    return b"".join(hashlib.sha256(f"{seed}/{n}".encode()).digest() for n in range(size // 32 + 1))[:size]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30_000), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 12), max_size=8),
)
def test_every_message_arrives_once_and_in_order_wherever_the_connection_breaks(sizes, cuts):
    one, other = Endpoint(SMALL), Endpoint(SMALL)
    sent = [(f"k{n}", incompressible(size, n)) for n, size in enumerate(sizes)]
    for key, data in sent:
        one.send(key, (data[:100], data[100:]))
    arrived = []
    for cut in cuts:
        reconnect(one, other)
        arrived += pump(one, other, frames=cut)
    reconnect(one, other)
    arrived += pump(one, other)
    assert [(message.key, bytes(message.data)) for message in arrived] == sent
    assert one.next_frame() is None


def test_a_broken_message_goes_on_from_the_byte_where_it_broke(pair):
    one, other = pair
    data = incompressible(40_000, 0)
    one.send("k", (data,))
    pump(one, other, frames=6)  # the beginning and five chunks
    reconnect(one, other)
    begin = one.next_frame().begin
    assert (begin.sequence, begin.offset) == (1, 5 * 4096)


def test_what_shrinks_is_sent_shrunk_and_arrives_whole(pair):
    one, other = pair
    one.send("k", (NOISE,))
    frames = [one.next_frame() for _ in range(2)]
    assert frames[0].begin.raw_size == len(NOISE) > 10 * frames[0].begin.size
    arrived = [other.take(frame) for frame in frames]
    assert bytes(arrived[-1].data) == NOISE


def test_a_message_is_kept_until_it_is_acknowledged(pair):
    one, other = pair
    one.send("k", (b"hello",))
    for _ in range(2):
        other.take(one.next_frame())
    one.connected(wire.Position(sequence=1))  # the acknowledgement was lost with the connection
    assert one.next_frame().begin.sequence == 1


def test_a_process_that_has_forgotten_all_gets_all_that_is_unacknowledged_from_one_on(pair):
    one, other = pair
    one.send("first", (b"1",))
    pump(one, other)
    one.send("second", (b"2",))
    one.send("third", (b"3",))
    pump(one, other, frames=1)
    fresh = Endpoint(SMALL)
    one.connected(None)
    fresh.connected(None)
    one.forget_received()
    assert [message.key for message in pump(one, fresh)] == ["second", "third"]


def test_a_withdrawn_message_is_not_sent(pair):
    one, other = pair
    one.send("keep", (b"1",))
    one.send("withdraw", (b"2",))
    one.withdraw("withdraw")
    assert [message.key for message in pump(one, other)] == ["keep"]


def test_a_cleared_endpoint_sends_nothing(pair):
    one, other = pair
    one.send("k", (b"1",))
    pump(one, other, frames=1)
    one.clear()
    one.connected(None)
    assert one.next_frame() is None


@pytest.mark.parametrize("size", [0, 100_001])
def test_an_empty_message_and_one_beyond_the_limit_are_not_queued(pair, size):
    with pytest.raises(TransportError, match=f"a message of {size} bytes"):
        pair[0].send("k", (bytes(size),))


def frame(**body):
    return wire.Frame(**body)


def begin(**fields):
    return frame(begin=wire.Begin(**({"sequence": 1, "key": "k", "size": 10} | fields)))


OUT_OF_TURN = {
    "a chunk without a beginning": [frame(chunk=b"x")],
    "an empty chunk": [begin(), frame(chunk=b"")],
    "more bytes than announced": [begin(), frame(chunk=bytes(11))],
    "a second beginning": [begin(), begin()],
    "a message out of turn": [begin(sequence=2)],
    "a message that begins in its middle": [begin(offset=3)],
    "an empty message": [begin(size=0)],
    "a message beyond the limit": [begin(size=100_001)],
    "a message that would grow beyond the limit": [begin(raw_size=100_001)],
    "a key as long as a book": [begin(key="k" * 200)],
    "an acknowledgement of what was not sent": [frame(ack=wire.Ack(sequence=2))],
    "hello again": [frame(hello=wire.Hello())],
    "an empty frame": [frame()],
    "no zstd stream": [begin(raw_size=50), frame(chunk=bytes(10))],
}


@pytest.mark.parametrize("frames", OUT_OF_TURN.values(), ids=OUT_OF_TURN)
def test_whoever_breaks_the_rules_is_refused(pair, frames):
    *before, last = frames
    for one in before:
        pair[1].take(one)
    with pytest.raises(TransportError):
        pair[1].take(last)


def test_a_resumed_message_must_be_the_one_that_broke(pair):
    one, other = pair
    one.send("k", (incompressible(9_000, 1),))
    pump(one, other, frames=2)
    reconnect(one, other)
    with pytest.raises(TransportError, match="goes on as another"):
        other.take(begin(offset=4096, size=9_000, key="other"))


@pytest.mark.parametrize("position", [{"sequence": 5}, {"sequence": 0}, {"sequence": 1, "offset": 7}])
def test_a_position_beyond_what_was_sent_is_refused(pair, position):
    with pytest.raises(TransportError):
        pair[0].connected(wire.Position(**position))


def test_a_beat_changes_nothing(pair):
    assert pair[0].take(frame(beat=wire.Beat(number=1))) is None
    assert pair[0].next_frame() is None
