"""Server and node over mutual TLS on loopback: what arrives, what is refused, and what happens when it breaks."""

import asyncio
import dataclasses
import queue
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import grpc
import pytest

from fedjoint.errors import IdentityError, TransportError
from fedjoint.identity.certificates import make_authority
from fedjoint.transport.link import client as client_module
from fedjoint.transport.link import link_pb2 as wire
from fedjoint.transport.link import link_pb2_grpc
from fedjoint.transport.link.client import ClientCredentials
from fedjoint.transport.link.server import LinkServer
from fedjoint.transport.link.settings import LinkSettings, channel_options
from tests.network import IMPATIENT, PATIENCE_S, QUICK, Network, node, now
from tests.relay import ConnectProxy, gate


@pytest.fixture(scope="module")
def network():
    return Network()


@pytest.fixture
def replies():
    return queue.Queue()


@pytest.fixture
def server(network, replies):
    with network.server(lambda *reply: replies.put(reply)) as serving:
        yield serving


def echo(data):
    return (b"echo ", bytes(data))


def eventually(condition, *, within=PATIENCE_S):
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.02)


def connected(server, holder):
    return holder in server.states() and server.states()[holder].connected


def test_a_task_goes_down_and_its_reply_comes_up(network, server, replies):
    with node(server.port, network.credentials("bern"), echo):
        server.submit("bern", "k1", (b"hello ", b"bern"))
        assert replies.get(timeout=PATIENCE_S) == ("bern", "k1", b"echo hello bern")


def test_a_task_waits_for_a_holder_that_is_not_there_yet(network, server, replies):
    server.submit("bern", "k1", (b"early",))
    with node(server.port, network.credentials("bern"), echo):
        assert replies.get(timeout=PATIENCE_S)[1:] == ("k1", b"echo early")


def test_each_holder_gets_its_own_tasks_only(network, server, replies):
    with node(server.port, network.credentials("bern"), echo), node(server.port, network.credentials("cork"), echo):
        for holder in ("bern", "cork"):
            server.submit(holder, f"for {holder}", (holder.encode(),))
        got = sorted(replies.get(timeout=PATIENCE_S) for _ in range(2))
    assert got == [("bern", "for bern", b"echo bern"), ("cork", "for cork", b"echo cork")]


def test_a_large_message_travels_in_chunks_both_ways(network, server, replies):
    data = bytes(range(256)) * (40 << 10)  # 10 MiB
    with node(server.port, network.credentials("bern"), echo):
        server.submit("bern", "k1", (data,))
        assert replies.get(timeout=PATIENCE_S)[2] == b"echo " + data


def test_a_reply_whose_connection_is_cut_again_and_again_arrives_whole(network, server, replies):
    data = bytes(i % 251 for i in range(3 << 20))
    settings = dataclasses.replace(QUICK, chunk_bytes=64 << 10)
    with gate(server.port) as relay:
        relay.limit = 800_000  # no connection carries even a third of it
        with node(
            relay.port, network.credentials("bern"), lambda task: (incompressible(data),), settings=settings
        ) as n:
            server.submit("bern", "k1", (b"go",))
            assert replies.get(timeout=PATIENCE_S)[2] == incompressible(data)
            assert n.link.connections >= 4


def incompressible(data):
    import random

    return random.Random(7).randbytes(len(data))


def test_a_task_is_done_once_however_often_the_connection_breaks(network, server, replies):
    done, release = [], threading.Event()

    def slowly(data):
        done.append(bytes(data))
        release.wait(PATIENCE_S)
        return (b"done",)

    with gate(server.port) as relay, node(relay.port, network.credentials("bern"), slowly) as n:
        server.submit("bern", "k1", (b"once",))
        eventually(lambda: done)
        relay.cut()
        release.set()
        assert replies.get(timeout=PATIENCE_S)[2] == b"done"
        assert n.link.connections >= 2
    assert done == [b"once"]


def test_a_node_that_starts_anew_gets_its_unanswered_task_again(network, server, replies):
    credentials, started, release = network.credentials("bern"), threading.Event(), threading.Event()

    def never(data):
        started.set()
        release.wait(PATIENCE_S)
        return (b"too late",)

    with node(server.port, credentials, never):
        server.submit("bern", "k1", (b"task",))
        assert started.wait(PATIENCE_S)
    with node(server.port, credentials, echo):
        assert replies.get(timeout=PATIENCE_S) == ("bern", "k1", b"echo task")
    release.set()
    assert replies.empty()


def test_a_task_that_cannot_be_read_is_silence_and_the_next_one_is_answered(network, server, replies):
    def picky(data):
        if data == b"rubbish":
            raise TransportError("a message that cannot be read")
        return echo(data)

    with node(server.port, network.credentials("bern"), picky):
        server.submit("bern", "k1", (b"rubbish",))
        server.submit("bern", "k2", (b"fine",))
        assert replies.get(timeout=PATIENCE_S)[1:] == ("k2", b"echo fine")


def test_an_exchange_that_starts_anew_is_found_again(network, replies):
    with network.server(lambda *reply: replies.put(reply)) as first:
        port = first.port
        running = node(port, network.credentials("bern"), echo)
        n = running.__enter__()
        eventually(lambda: n.link.connections == 1)
    try:
        with network.server(lambda *reply: replies.put(reply), address=f"127.0.0.1:{port}") as second:
            second.submit("bern", "k2", (b"again",))
            assert replies.get(timeout=PATIENCE_S)[1:] == ("k2", b"echo again")
    finally:
        running.__exit__(None, None, None)


def test_a_node_that_is_not_welcomed_but_left_hanging_connects_anew(network, server, replies, monkeypatch):
    serve, left_hanging = LinkServer._serve_connection, []

    async def first_hangs(self, holder, link, hello, frames, context):
        if left_hanging:
            return await serve(self, holder, link, hello, frames, context)
        left_hanging.append(holder)
        await context.write(wire.Frame(beat=wire.Beat(number=1)))  # is no welcome
        await asyncio.sleep(3600)

    monkeypatch.setattr(LinkServer, "_serve_connection", first_hangs)
    with node(server.port, network.credentials("bern"), echo):
        server.submit("bern", "k1", (b"once more",))
        assert replies.get(timeout=PATIENCE_S) == ("bern", "k1", b"echo once more")
    assert left_hanging == ["bern"]


def test_a_withdrawn_tasks_reply_is_dropped(network, server, replies):
    started, release = threading.Event(), threading.Event()

    def slowly(data):
        started.set()
        release.wait(PATIENCE_S)
        return (b"late",)

    with node(server.port, network.credentials("bern"), slowly):
        server.submit("bern", "k1", (b"task",))
        assert started.wait(PATIENCE_S)
        server.withdraw("bern", "k1")
        release.set()
        server.submit("bern", "k2", (b"task",))
        assert replies.get(timeout=PATIENCE_S)[1] == "k2"
    assert replies.empty()


def test_the_exchange_sees_who_is_connected_and_since_when_who_is_silent(network, server):
    with node(server.port, network.credentials("bern"), echo):
        eventually(lambda: connected(server, "bern"))
        state = server.states()["bern"]
        assert state.silent_s < 5 and state.connections == 1 and state.software.startswith("fedjoint ")
    eventually(lambda: not connected(server, "bern"))


def test_a_node_knows_how_long_a_beat_takes_there_and_back(network, server):
    with node(server.port, network.credentials("bern"), echo) as n:
        eventually(lambda: n.link.latency_s is not None)
        assert 0 < n.link.latency_s < 5


def test_a_holder_that_falls_silent_is_not_connected_any_more(network):
    """A connection without beats, as of a machine that hangs."""
    with network.server(print, settings=IMPATIENT) as server, raw_stream(network, server) as stream:
        stream.send(hello())
        eventually(lambda: connected(server, "bern"))
        eventually(lambda: not connected(server, "bern"))
        assert stream.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_second_connection_of_a_holder_takes_the_place_of_the_first(network, server, replies):
    with raw_stream(network, server) as older:
        older.send(hello())
        eventually(lambda: connected(server, "bern"))
        with node(server.port, network.credentials("bern"), echo):
            server.submit("bern", "k1", (b"x",))
            assert replies.get(timeout=PATIENCE_S)[1] == "k1"


# -- refused, each with its reason


def refused(network, server, credentials):
    with node(server.port, credentials, echo) as n:
        return n.wait_failed()


def test_a_revoked_certificate_is_refused(network, server):
    credentials = network.credentials("gone")
    network.revoked.add("gone")
    failure = refused(network, server, credentials)
    assert isinstance(failure, IdentityError)
    assert "'gone' may not connect" in str(failure)


def test_a_connected_holder_whose_certificate_is_revoked_is_cut_off(network, server):
    with node(server.port, network.credentials("fired"), echo) as n:
        eventually(lambda: n.link.connections == 1)
        network.revoked.add("fired")
        server.disconnect("fired")
        assert isinstance(n.wait_failed(), IdentityError)


def test_an_exchanges_certificate_is_none_of_a_holder(network, server):
    key, pem = network.issue("exchange", role="exchange")
    own = ClientCredentials(key_pem=key, certificate_pem=pem, authority_pem=network.authority.pem)
    with raw_stream(network, server, own) as stream:
        stream.send(hello())
        assert stream.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE)


@pytest.mark.parametrize(
    "how",
    [
        {"authority": make_authority("Somebody else", now=now())},
        {"now": now() - timedelta(days=60), "days": 30},
    ],
    ids=["of another authority", "expired"],
)
def test_a_certificate_that_is_not_valid_does_not_get_through_tls(network, server, how):
    with raw_stream(network, server, network.credentials("bern", **how)) as stream:
        stream.send(hello())
        assert stream.code() == grpc.StatusCode.UNAVAILABLE
    assert "bern" not in server.states()


def test_without_a_certificate_no_method_answers(network, server):
    tls = grpc.ssl_channel_credentials(network.authority.pem)
    with grpc.secure_channel(f"localhost:{server.port}", tls) as channel:
        call = link_pb2_grpc.LinkStub(channel).Connect(iter([hello()]))
        with pytest.raises(grpc.RpcError):
            next(call)


def test_without_tls_no_method_answers(server):
    with grpc.insecure_channel(f"localhost:{server.port}") as channel, pytest.raises(grpc.RpcError):
        next(link_pb2_grpc.LinkStub(channel).Connect(iter([hello()]), timeout=PATIENCE_S))


def test_a_node_does_not_talk_to_an_exchange_of_another_authority(network, server):
    own = network.credentials("bern")
    stranger = ClientCredentials(
        key_pem=own.key_pem, certificate_pem=own.certificate_pem, authority_pem=make_authority("X", now=now()).pem
    )
    with node(server.port, stranger, echo) as n:
        time.sleep(1.0)
        assert n.link.connections == 0
    assert "bern" not in server.states()


def test_a_node_of_another_protocol_version_is_told_which_is_spoken(network, server, monkeypatch):
    monkeypatch.setattr(client_module, "OLDEST_VERSION", 7)
    monkeypatch.setattr(client_module, "NEWEST_VERSION", 9)
    failure = refused(network, server, network.credentials("bern"))
    assert isinstance(failure, TransportError)
    assert "speaks versions 7 to 9" in str(failure) and "same release of fedjoint" in str(failure)


HOSTILE = {
    "a first frame that is no hello": [wire.Frame(beat=wire.Beat())],
    "a chunk of nothing": ["hello", wire.Frame(chunk=b"x")],
    "a message larger than allowed": ["hello", wire.Frame(begin=wire.Begin(sequence=1, key="k", size=1 << 50))],
}


@pytest.mark.parametrize("frames", HOSTILE.values(), ids=HOSTILE)
def test_whoever_breaks_the_protocol_is_told_so_and_nobody_else_notices(network, server, replies, frames):
    with node(server.port, network.credentials("cork"), echo), raw_stream(network, server) as stream:
        for frame in frames:
            stream.send(hello() if frame == "hello" else frame)
        assert stream.code() == grpc.StatusCode.INVALID_ARGUMENT
        server.submit("cork", "k1", (b"x",))
        assert replies.get(timeout=PATIENCE_S)[0] == "cork"


def test_a_stream_of_junk_is_cut_off_at_its_first_frame(network, server):
    with raw_stream(network, server) as stream:
        stream.send(hello())
        for _ in range(100):  # 100 MB
            stream.send(wire.Frame(chunk=bytes(1 << 20)))
        assert stream.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_frame_larger_than_a_chunk_is_not_taken(network, server):
    with raw_stream(network, server) as stream:
        stream.send(wire.Frame(chunk=bytes(5 << 20)))
        assert stream.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)


def test_a_slow_loris_that_never_says_hello_is_cut_off(network, replies):
    impatient = LinkSettings(hello_s=0.3)
    with (
        network.server(lambda *reply: replies.put(reply), settings=impatient) as server,
        raw_stream(network, server) as stream,
    ):
        assert stream.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_port_in_use_is_refused_with_a_remedy(network, server):
    with pytest.raises(TransportError, match="Choose another port"):
        network.server(print, address=f"127.0.0.1:{server.port}").__enter__()


def test_a_link_goes_through_an_http_proxy(network, server, replies):
    with (
        gate(server.port, kind=ConnectProxy) as proxy,
        node(server.port, network.credentials("bern"), echo, proxy=f"http://127.0.0.1:{proxy.port}"),
    ):
        server.submit("bern", "k1", (b"x",))
        assert replies.get(timeout=PATIENCE_S)[2] == b"echo x"
        assert proxy.asked == [f"CONNECT localhost:{server.port} HTTP/1.1"]


# -- a stream without the node's code


def hello(**fields):
    base = {"oldest_version": 1, "newest_version": 1, "epoch": bytes(16), "received": wire.Position(sequence=1)}
    return wire.Frame(hello=wire.Hello(**(base | fields)))


class RawStream:
    """A stream that sends whatever a test likes."""

    def __init__(self, port, credentials):
        tls = grpc.ssl_channel_credentials(credentials.authority_pem, credentials.key_pem, credentials.certificate_pem)
        options = [(k, v) for k, v in channel_options(QUICK) if "message_length" not in k]
        self.channel = grpc.secure_channel(f"localhost:{port}", tls, options=options)
        self._frames = queue.Queue()
        self.call = link_pb2_grpc.LinkStub(self.channel).Connect(iter(self._frames.get, None), timeout=PATIENCE_S)

    def send(self, frame):
        self._frames.put(frame)

    def code(self):
        try:
            for _ in self.call:
                pass
        except grpc.RpcError as problem:
            return problem.code()
        return grpc.StatusCode.OK


@contextmanager
def raw_stream(network, server, credentials=None):
    stream = RawStream(server.port, credentials or network.credentials("bern"))
    try:
        yield stream
    finally:
        stream.send(None)
        stream.call.cancel()
        stream.channel.close()
