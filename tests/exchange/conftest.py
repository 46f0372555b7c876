"""A real exchange on loopback in a thread of its own, and holders' folders that join it."""

import dataclasses
import threading
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import pytest

from fedjoint.exchange.certification import Gate
from fedjoint.exchange.home import create_home
from fedjoint.exchange.process import serve
from fedjoint.exchange.settings import load_settings
from fedjoint.exchange.store_sql import ExchangeStore
from fedjoint.flower.client_app import make_client_app
from fedjoint.node.credentials import credentials_of
from fedjoint.node.serving import NodeHolders
from fedjoint.node.settings import NodeSettings
from fedjoint.transport.grpc_grid import serve_app
from tests.fakes import SIZES
from tests.network import node
from tests.node.conftest import add_data, allow, join, make_home

QUICK = {"beat_s": 0.2, "beats_lost": 100, "task_timeout_s": 20.0, "witness_timeout_s": 0.0, "listen": "127.0.0.1:0"}


def now():
    return datetime.now(UTC)


class Exchange:
    """An exchange's folder and, while it serves, its port."""

    def __init__(self, folder, *, database_url=None, **settings):
        self.home = create_home(
            folder,
            name="Test exchange",
            party="exchange",
            address="localhost:1",
            now=now(),
            database_url=database_url,
        )
        self.settings = dataclasses.replace(load_settings(self.home.settings_file, {}), **{**QUICK, **settings})
        self.store = ExchangeStore.open(self.home.database_url(self.settings))
        self.gate = Gate(self.home.load_authority(), self.store.members, settings=self.settings, now=now)
        self.stop, self.port, self.metrics_port, self.failure = threading.Event(), 0, None, None

    def invite(self, party, **changed):
        return dataclasses.replace(self.gate.invite(party, party.title(), exchange_name="Test exchange"), **changed)

    @contextmanager
    def serving(self):
        ready = threading.Event()

        def on_ready(serving):
            self.port, self.metrics_port = serving.port, serving.metrics_port
            ready.set()

        def run():
            try:
                serve(self.home, self.settings, stop=self.stop, now=now, on_ready=on_ready)
            except Exception as failure:
                self.failure = failure
                ready.set()

        self.stop.clear()
        thread = threading.Thread(target=run)
        thread.start()
        try:
            assert ready.wait(30)
            if self.failure is not None:
                raise self.failure
            yield self
        finally:
            self.stop.set()
            thread.join(120)
            assert not thread.is_alive()

    def until(self, condition, *, seconds=120):
        """Wait until something about the database holds; what it was."""
        deadline = datetime.now(UTC).timestamp() + seconds
        while not (found := condition()):
            assert datetime.now(UTC).timestamp() < deadline, "it did not come to pass"
            self.stop.wait(0.05)
        return found

    def ended(self):
        """The only run, once it has ended."""
        return self.until(lambda: next((run for run in self.store.runs.all() if run.ended_at), None))


def settings(**changed):
    """Put above a test whose exchange has other settings."""
    return pytest.mark.parametrize("exchange", [changed], indirect=True, ids=[""])


@pytest.fixture
def exchange(tmp_path, request):
    found = Exchange(tmp_path / "exchange", **getattr(request, "param", {}))
    with found.serving():
        yield found
    found.store.close()


@pytest.fixture
def homes(tmp_path, exchange):
    """Three holders that have joined and added their data under one name."""
    return joined(tmp_path, exchange)


def joined(tmp_path, exchange):
    found = [make_home(tmp_path, holder) for holder in SIZES]
    for home in found:
        join(home, exchange)
        add_data(home, "--name", "study")
        allow(home, "modes: [local, joint]", "modes: [none]")
    return found


@contextmanager
def nodes(exchange, homes, wrap=lambda holder, holders: holders, *, at="2026-01-01T00:00:00Z"):
    """The holders' nodes, connected."""
    with ExitStack() as stack:
        for home in homes:
            holders = NodeHolders(home, now=lambda: at)
            stack.callback(holders.close)
            served = wrap(home.folder.name, holders)
            answer = serve_app(make_client_app(lambda _, served=served: served), home.folder.name)
            credentials = credentials_of(home, home.load_membership(), NodeSettings())
            stack.enter_context(node(exchange.port, credentials, answer))
        yield
