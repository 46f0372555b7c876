"""The one process of a node: its link to the exchange, its tasks, its certificate, and its watch over records."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TypeVar

from fedjoint.errors import FedjointError, TransportError
from fedjoint.flower.client_app import make_client_app
from fedjoint.node.credentials import connect, credentials_of, is_due, own_certificate, renew
from fedjoint.node.home import Home
from fedjoint.node.serving import NodeHolders
from fedjoint.node.settings import NodeSettings
from fedjoint.node.witnessing import Watch
from fedjoint.transport.grpc_grid import serve_app
from fedjoint.transport.link.client import Answer, HolderLink
from fedjoint.transport.link.door import HolderDoor
from fedjoint.transport.link.settings import LinkSettings

__all__ = ["run_node"]

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")
#: How often a node looks whether its certificate is to be renewed.
_RENEWAL_PAUSE_S = 3_600.0
_PAUSE_AFTER_FAILURE_S = 10.0


def run_node(home: Home, settings: NodeSettings) -> None:
    """Take part in runs until told to stop by SIGTERM or SIGINT. All connections go outward.

    With ``settings.door`` tasks come through that door alone; certificate and records are looked after as always.

    Raises:
        IdentityError: the holder has joined no exchange, or its certificate is not accepted any more.
        TransportError: the exchange speaks another version of the protocol, or the door cannot be opened.

    Guarantees:
        A task that is being done when the signal comes is done to its end, or is done again after the next start.
    """
    holders = NodeHolders(home, now=_timestamp)
    try:
        asyncio.run(_run(home, settings, holders))
    finally:
        holders.close()


async def _run(home: Home, settings: NodeSettings, holders: NodeHolders) -> None:
    stop = asyncio.Event()
    _on_signals(stop)
    identity, membership = home.load_identity(), home.load_membership()
    answer = serve_app(make_client_app(lambda _: holders), identity.id)
    link = HolderLink(
        membership.target,
        credentials_of(home, membership, settings),
        answer=answer,
        settings=LinkSettings(backoff_s=settings.backoff_s),
        proxy=settings.proxy,
    )
    watch = Watch(home, identity, membership.exchange)
    facts = {"holder": identity.id, "exchange": membership.target}
    _log.info("started", extra={"facts": facts})
    beside = [
        asyncio.create_task(_keep_renewed(home, settings, link)),
        asyncio.create_task(_keep_watching(home, settings, watch)),
    ]
    try:
        if settings.door is None:
            await link.run(stop)
        else:
            await _behind_a_door(home.folder / settings.door, answer, stop)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await asyncio.to_thread(link.wait_idle)
    _log.info("stopped", extra={"facts": facts})


async def _behind_a_door(path: Path, answer: Answer, stop: asyncio.Event) -> None:
    """Answer what a SuperNode on this machine hands on, until told to stop."""
    with HolderDoor(path, answer):
        _log.info("behind a door", extra={"facts": {"door": str(path)}})
        await stop.wait()


def _on_signals(stop: asyncio.Event) -> None:
    """Stop gracefully at the first signal; a second one of the terminal ends the process as usual."""
    loop = asyncio.get_running_loop()

    def told(number: int, frame: FrameType | None = None) -> None:
        _log.info("told to stop", extra={"facts": {"signal": signal.Signals(number).name}})
        loop.call_soon_threadsafe(stop.set)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)


async def _keep_renewed(home: Home, settings: NodeSettings, link: HolderLink) -> None:
    """Renew the certificate in time; connections from then on are made with the new one."""

    def look() -> bool:
        now = datetime.now(UTC)
        if not is_due(own_certificate(home), settings, now=now):
            return False
        certificate = renew(home, settings, now=now)
        _log.info("certificate renewed", extra={"facts": {"until": certificate.not_after.isoformat()}})
        return True

    while True:
        if await _tried(look, "the certificate could not be renewed"):
            link.use(credentials_of(home, home.load_membership(), settings))
        await asyncio.sleep(_RENEWAL_PAUSE_S)


async def _keep_watching(home: Home, settings: NodeSettings, watch: Watch) -> None:
    """Countersign checkpoints as they come, over one connection as long as it lasts."""
    while True:
        client = connect(home, settings)
        try:
            pause: float | None = 0.0
            while pause is not None:
                await asyncio.sleep(pause)
                pause = await _tried(partial(watch.once, client), "checkpoints could not be fetched")
        finally:
            client.close()
        await asyncio.sleep(_PAUSE_AFTER_FAILURE_S)


async def _tried(call: Callable[[], _Result], failure: str) -> _Result | None:
    """Do something beside the tasks, in a thread; a failure is logged and nothing ends by it."""
    try:
        return await asyncio.to_thread(call)
    except TransportError as problem:
        _log.info(failure, extra={"facts": {"why": str(problem)}})
    except FedjointError as problem:
        _log.warning(failure, extra={"facts": {"code": problem.code, "why": str(problem)}})
    return None


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
