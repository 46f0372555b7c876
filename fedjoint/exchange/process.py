"""The one process of an exchange: one port for links and calls, and a look at the database twice a second."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from fedjoint.errors import TransportError
from fedjoint.exchange.certification import Gate, Now, timestamp
from fedjoint.exchange.claims import ClaimDesk
from fedjoint.exchange.conducting import Conductor, Switchboard
from fedjoint.exchange.door import MembersDoor
from fedjoint.exchange.home import ExchangeHome
from fedjoint.exchange.metrics import ExchangeMetrics
from fedjoint.exchange.operating import Office
from fedjoint.exchange.pool import open_pool
from fedjoint.exchange.service import ExchangeService
from fedjoint.exchange.settings import ExchangeSettings
from fedjoint.exchange.store_sql import ExchangeStore
from fedjoint.exchange.witnessing import WitnessDesk
from fedjoint.files import replace_file
from fedjoint.strict import plain
from fedjoint.transport.grpc_grid import Carrier
from fedjoint.transport.link.server import LinkServer
from fedjoint.transport.link.settings import LinkSettings
from fedjoint.transport.services.server import ExchangeServices

__all__ = ["STOP", "Serving", "serve"]

_log = logging.getLogger(__name__)

#: What an operator's ``fedjoint exchange stop`` leaves in the database.
STOP = "stop"
_PAUSE_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Serving:
    """An exchange that is up.

    Args:
        port: Where links and calls are served.
        metrics_port: Where Prometheus reads, on 127.0.0.1; None: nowhere.
    """

    port: int
    metrics_port: int | None


def serve(
    home: ExchangeHome,
    settings: ExchangeSettings,
    *,
    stop: threading.Event,
    now: Now,
    on_ready: Callable[[Serving], None] = lambda serving: None,
) -> None:
    """Serve until told to stop; a run that is on is left as it is, and goes on at the next start.

    Args:
        home: The exchange's folder.
        settings: How to.
        stop: Set by a signal; or an operator asks for it through the database.
        now: The present.
        on_ready: Hears that the port is open.

    Raises:
        TransportError: another process serves this folder, or the port is taken.
        FedjointError: a key, the database or the pool cannot be read, or the pool is another exchange's.
    """
    with ExitStack() as stack:
        stack.enter_context(_alone(home))
        store = stack.enter_context(ExchangeStore.open(home.database_url(settings)))
        store.wishes.take(STOP)  # one that was made while nothing served is old
        metrics, board = ExchangeMetrics(), Switchboard()
        desk = WitnessDesk(timeout_s=settings.witness_timeout_s)
        gate = Gate(home.load_authority(), store.members, settings=settings, now=now)
        pool = open_pool(home, settings)
        claims = None
        if pool is not None:
            claims = ClaimDesk(stack.enter_context(pool), store.claim_signatures, now=now)
        office = Office(home, settings, store, claims=claims, now=now)
        service = ExchangeService(
            home.load_identity().public, store, gate=gate, desk=desk, office=office, claims=claims, now=now
        )
        services = ExchangeServices(service, gate.admit)
        door = None
        if settings.door is not None:
            door = MembersDoor(home.folder / settings.door, store.members, board.on_reply)
        conductor = Conductor(
            home=home, store=store, settings=settings, desk=desk, board=board, metrics=metrics, now=now
        )
        link = LinkSettings(beat_s=settings.beat_s, beats_lost=settings.beats_lost)
        try:
            with LinkServer(
                settings.listen,
                home.load_credentials(),
                admit=gate.admit_link,
                on_reply=board.on_reply,
                settings=link,
                services=services.add_to,
            ) as server:
                metrics_port = None if settings.metrics_port is None else metrics.serve(settings.metrics_port)
                serving = Serving(port=server.port, metrics_port=metrics_port)
                _log.info("serving", extra={"facts": plain(serving)})
                carrier = server if door is None else stack.enter_context(door)
                on_ready(serving)
                _Watch(conductor, server, carrier).until(stop)
        finally:
            services.close()
            home.status.unlink(missing_ok=True)
        _log.info("stopped")


class _Watch:
    """Looks at the database again and again: who was revoked, what is to be run, whether to stop."""

    def __init__(self, conductor: Conductor, server: LinkServer, carrier: Carrier) -> None:
        self._conductor, self._server, self._carrier = conductor, server, carrier
        self._home, self._store = conductor.home, conductor.store
        self._metrics, self._now = conductor.metrics, conductor.now
        self._known: dict[str, str] = {}
        self._running: threading.Thread | None = None

    def until(self, stop: threading.Event) -> None:
        """Go on until told to stop, and until the run that is on has come to rest."""
        while not stop.is_set():
            self._look(stop)
            stop.wait(_PAUSE_S)
        _log.info("stopping")
        self._conductor.board.suspend()
        while self._running is not None and self._running.is_alive():
            self._disconnect_revoked()
            self._running.join(_PAUSE_S)

    def _look(self, stop: threading.Event) -> None:
        self._disconnect_revoked()
        if self._store.wishes.take(STOP):
            stop.set()
        elif self._running is None or not self._running.is_alive():
            self._run_next()
        states = self._server.states()
        self._metrics.observe(states.values(), self._store.runs.all())
        said = {"at": timestamp(self._now()), "pid": os.getpid(), "port": self._server.port, "holders": plain(states)}
        replace_file(self._home.status, json.dumps(said).encode(), mode=0o600)

    def _disconnect_revoked(self) -> None:
        revocations = self._store.members.revocations()
        for holder in sorted(holder for holder, at in revocations.items() if self._known.get(holder) != at):
            self._server.disconnect(holder)  # who has a good certificate comes back by itself
        self._known = revocations

    def _run_next(self) -> None:
        run = self._store.runs.next()
        if run is not None:
            self._running = threading.Thread(
                target=self._conductor.conduct, args=(run, self._carrier), name=f"fedjoint-run-{run.run_id[:8]}"
            )
            self._running.start()


@contextmanager
def _alone(home: ExchangeHome) -> Iterator[None]:
    """Refuse to serve a folder that another process serves; the lock ends with the process, however it ends."""
    handle = os.open(home.process, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise TransportError(
            f"another process serves '{home.folder}'", remedy="See: fedjoint exchange status"
        ) from None
    try:
        yield
    finally:
        os.close(handle)
