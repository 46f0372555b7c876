"""What Prometheus reads of an exchange, on a port of this machine alone: counts, and no value of anybody's."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from fedjoint.errors import TransportError
from fedjoint.exchange.runs_store_sql import RunEntry
from fedjoint.training.coordinator import RoundSummary
from fedjoint.transport.link.server import HolderState

__all__ = ["ExchangeMetrics"]

_STATES = ("queued", "running", "finished", "failed")
_LOOPBACK = "127.0.0.1"


class ExchangeMetrics:
    """The exchange's figures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._connected = Gauge("fedjoint_holders_connected", "Holders with a connection now", registry=self.registry)
        self._tasks = Gauge("fedjoint_tasks_unanswered", "Tasks that wait for a holder's reply", registry=self.registry)
        self._runs = Gauge("fedjoint_runs", "Runs by state", ["state"], registry=self.registry)
        self._rounds = Counter("fedjoint_rounds", "Rounds whose sum was opened", registry=self.registry)
        self._refusals = Counter(
            "fedjoint_refusals", "Rounds a holder took no part in, by reason", ["code"], registry=self.registry
        )

    def serve(self, port: int) -> int:
        """Serve them on 127.0.0.1; gives the port, of which 0 takes a free one.

        Raises:
            TransportError: the port is taken.
        """
        try:
            server, _ = start_http_server(port, addr=_LOOPBACK, registry=self.registry)
        except OSError as problem:
            raise TransportError(
                f"metrics cannot be served on {_LOOPBACK}:{port} ({problem.strerror})", remedy="Choose another port."
            ) from None
        return int(server.server_port)

    def round_done(self, summary: RoundSummary) -> None:
        """Count a round and who missed it."""
        self._rounds.inc()
        for refusal in summary.refusals.values():
            self._refusals.labels(code=refusal.code).inc()

    def observe(self, states: Iterable[HolderState], runs: Iterable[RunEntry]) -> None:
        """Take over how things stand."""
        known = list(states)
        self._connected.set(sum(state.connected for state in known))
        self._tasks.set(sum(state.tasks for state in known))
        tally = Tally(run.state for run in runs)
        for state in _STATES:
            self._runs.labels(state=state).set(tally[state])
