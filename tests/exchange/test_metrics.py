"""What Prometheus reads."""

import socket
import urllib.request

import pytest

from fedjoint.errors import TransportError
from fedjoint.exchange.metrics import ExchangeMetrics
from tests.exchange.conftest import settings


@settings(metrics_port=0)
def test_a_serving_exchange_is_read_on_loopback(exchange):
    exchange.until(lambda: 'fedjoint_runs{state="finished"} 0.0' in read(exchange.metrics_port))
    assert "fedjoint_holders_connected 0.0" in read(exchange.metrics_port)


def read(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
        return reply.read().decode()


def test_a_port_that_is_taken_is_told():
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(TransportError, match="metrics cannot be served"),
    ):
        ExchangeMetrics().serve(taken.getsockname()[1])
