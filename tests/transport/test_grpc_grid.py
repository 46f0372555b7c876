"""A whole run over links: holders in threads of their own, behind mutual TLS."""

import threading
import time
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from flwr.app import Context, Error, Message, RecordDict

from fedjoint.errors import TransportError
from fedjoint.flower.client_app import make_client_app
from fedjoint.flower.server_app import make_server_app
from fedjoint.transport import grpc_grid
from fedjoint.transport.app_node import HOLDER_KEY
from fedjoint.transport.grpc_grid import GrpcGrid, make_answer
from tests.fakes import complete_over_grid, make_consortium, open_contributions, train
from tests.network import PATIENCE_S, Network, node


@pytest.fixture(scope="module")
def network():
    return Network()


@contextmanager
def connected(network, serve, *, holders):
    """A grid whose holders are connected; ``serve`` gives each the app's function."""
    grid = GrpcGrid(holders)
    with network.server(grid.on_reply) as server, ExitStack() as nodes:
        grid.serve_through(server)
        for holder in holders:
            nodes.enter_context(node(server.port, network.credentials(holder), make_answer(serve(holder))))
        yield grid, server


def serving(consortium):
    app = make_client_app(lambda context: consortium.holders[str(context.node_config[HOLDER_KEY])])

    def serve(holder):
        context = Context(1, 1, {HOLDER_KEY: holder}, RecordDict(), {})
        return lambda message: app(message, context)

    return serve


def complete_over_links(network, consortium):
    runs = []

    def coordinate(channel):
        run = train(consortium, channel)
        open_contributions(consortium, run, channel)
        runs.append(run)

    with connected(network, serving(consortium), holders=list(consortium.holders)) as (grid, _):
        app = make_server_app(coordinate, lambda found: found.nodes, timeout_s=60)
        app(grid, Context(grid.run.run_id, 1, {}, RecordDict(), {}))
    return runs[0]


def test_a_run_over_links_gives_the_model_and_contributions_of_one_in_process(network):
    over_links = complete_over_links(network, make_consortium())
    inline, _ = complete_over_grid(make_consortium())
    assert np.array_equal(over_links.models[-1], inline.models[-1])
    assert over_links.contributions.by_holder == pytest.approx(inline.contributions.by_holder, rel=1e-3)


def answering(holder):
    return lambda message: Message(RecordDict(), reply_to=message)


def tasks(grid, count=None):
    return [Message(RecordDict(), dst_node_id=n, message_type="query") for n in list(grid.get_node_ids())[:count]]


def test_replies_come_one_by_one_and_a_silent_holder_only_costs_the_time_agreed(network):
    silent, release = threading.Event(), threading.Event()

    def serve(holder):
        def answer(message):
            if holder == "cork" and silent.is_set():
                release.wait(PATIENCE_S)
            return answering(holder)(message)

        return answer

    with connected(network, serve, holders=["ahus", "bern", "cork"]) as (grid, _):
        assert len(list(grid.send_and_receive(tasks(grid), timeout=PATIENCE_S))) == 3  # all are there
        silent.set()
        start = time.monotonic()
        replies = list(grid.send_and_receive(tasks(grid), timeout=2.0))
        assert 2.0 <= time.monotonic() - start < PATIENCE_S / 2
        release.set()
    assert {reply.metadata.src_node_id for reply in replies} == {grid.nodes["ahus"], grid.nodes["bern"]}


def test_a_coordinator_that_was_stopped_for_longer_than_the_deadline_asks_nobody_for_that_time(monkeypatch):
    """SIGSTOP, or a machine that was suspended: the clock has gone on, and the holders' replies wait to be read."""
    clock, waits, grid = [0.0], [], GrpcGrid(["ahus"])
    monkeypatch.setattr(grpc_grid, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def stopped(moment):
        waits.append(moment)
        clock[0] += 3_600.0 if len(waits) == 1 else moment
        return False

    grid._news.wait = stopped
    grid.serve_through(SimpleNamespace(submit=lambda *task: None, withdraw=lambda *task: None))
    assert list(grid.send_and_receive(tasks(grid, 1), timeout=3.5)) == []
    assert waits == [1.0, 1.0, 1.0, 0.5]


def test_a_late_reply_is_not_taken_for_the_next_tasks(network):
    slow, release = iter([True]), threading.Event()

    def serve(holder):
        def answer(message):
            if next(slow, False):
                release.wait(PATIENCE_S)
            return Message(Error(1, message.metadata.group_id), reply_to=message)

        return answer

    with connected(network, serve, holders=["ahus"]) as (grid, _):
        first, second = (
            [grid.create_message(RecordDict(), "query", grid.nodes["ahus"], group)] for group in ("first", "second")
        )
        assert list(grid.send_and_receive(first, timeout=0.5)) == []
        release.set()
        (reply,) = grid.send_and_receive(second, timeout=PATIENCE_S)
        assert reply.error.reason == "second"


def test_a_reply_counts_for_the_holder_whose_certificate_it_came_under():
    grid = GrpcGrid(["ahus", "bern"])

    class Server:
        def submit(self, holder, key, buffers):
            grid.on_reply("bern", key, b"a reply of another holder")

        def withdraw(self, holder, key):
            pass

    grid.serve_through(Server())
    assert list(grid.send_and_receive(tasks(grid, 1), timeout=0.1)) == []


def test_rubbish_is_an_error_of_the_holder_that_sent_it():
    grid = GrpcGrid(["ahus"])

    class Server:
        def submit(self, holder, key, buffers):
            grid.on_reply(holder, key, b"rubbish")

    grid.serve_through(Server())
    (reply,) = grid.send_and_receive(tasks(grid))
    assert reply.has_error() and "cannot be read" in reply.error.reason


def test_whoever_waits_for_replies_is_interrupted_at_once_and_so_is_whoever_would(network):
    release = threading.Event()

    def serve(holder):
        return lambda message: answering(holder)(message) if release.wait(PATIENCE_S) else None

    with connected(network, serve, holders=["ahus"]) as (grid, _):
        threading.Timer(0.3, grid.interrupt, [TransportError("told to stop")]).start()
        start = time.monotonic()
        for _ in range(2):
            with pytest.raises(TransportError, match="told to stop"):
                list(grid.send_and_receive(tasks(grid), timeout=PATIENCE_S))
        assert time.monotonic() - start < PATIENCE_S / 2
        release.set()


def test_messages_can_be_pushed_now_and_pulled_later(network):
    with connected(network, answering, holders=["ahus"]) as (grid, _):
        ids, end = list(grid.push_messages(tasks(grid))), time.monotonic() + PATIENCE_S
        while not (replies := list(grid.pull_messages(ids))) and time.monotonic() < end:
            time.sleep(0.02)
        assert [reply.metadata.reply_to_message_id for reply in replies] == ids
        assert list(grid.pull_messages(ids)) == []


def test_a_grid_without_a_server_says_so():
    grid = GrpcGrid(["ahus"])
    with pytest.raises(TransportError, match="no server yet"):
        list(grid.push_messages(tasks(grid)))


def test_the_grid_names_its_run():
    grid = GrpcGrid(["ahus"])
    other = GrpcGrid(["ahus"]).run
    grid.set_run(other)
    assert grid.run is other
