"""An exchange and holders' nodes on loopback for tests: real certificates, real TLS, one thread for each node."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from fedjoint.errors import IdentityError
from fedjoint.identity.certificates import Authority, NodeKey, check_certificate, issue_certificate, make_authority
from fedjoint.transport.link.client import Answer, ClientCredentials, HolderLink
from fedjoint.transport.link.server import LinkServer, ServerCredentials
from fedjoint.transport.link.settings import LinkSettings

#: Connects anew at once, but gives a machine that is busy all the time it takes.
QUICK = LinkSettings(beat_s=0.2, beats_lost=100, backoff_s=0.3, hello_s=30.0)
#: For a test that waits for silence.
IMPATIENT = LinkSettings(beat_s=0.2, beats_lost=3, backoff_s=0.3)
PATIENCE_S = 60
PARTY = {"holder": "holder", "exchange": "exchange"}


def now() -> datetime:
    return datetime.now(UTC)


class Network:
    """An authority and what it issued."""

    def __init__(self) -> None:
        self.authority: Authority = make_authority("Test exchange", now=now())
        self.revoked: set[str] = set()
        key, pem = self.issue("exchange", role="exchange", hosts=["localhost", "127.0.0.1"])
        self.server_credentials = ServerCredentials(key_pem=key, certificate_pem=pem, authority_pem=self.authority.pem)

    def issue(self, party: str, *, role: str = "holder", hosts: list[str] | None = None, **how) -> tuple[bytes, bytes]:
        key = NodeKey.generate()
        pem = issue_certificate(
            how.get("authority", self.authority),
            key.request(party),
            party=party,
            role=role,
            now=how.get("now", now()),
            days=how.get("days", 30),
            hosts=hosts or (),
        )
        return key.pem, pem

    def credentials(self, party: str, **how) -> ClientCredentials:
        key, pem = self.issue(party, **how)
        return ClientCredentials(key_pem=key, certificate_pem=pem, authority_pem=self.authority.pem)

    def admit(self, pem: bytes) -> str:
        certificate = check_certificate(pem, self.authority.pem, now=now())
        if certificate.role != "holder" or certificate.party in self.revoked:
            raise IdentityError(f"'{certificate.party}' may not connect as a holder")
        return certificate.party

    def server(self, on_reply: Callable, *, settings: LinkSettings = QUICK, address: str = "127.0.0.1:0") -> LinkServer:
        return LinkServer(address, self.server_credentials, admit=self.admit, on_reply=on_reply, settings=settings)


class Node:
    """A holder's link in a thread of its own."""

    def __init__(self, link: HolderLink) -> None:
        self.link, self.failure = link, None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self.link.run(self._stop))
        except Exception as failure:
            self.failure = failure
        finally:
            self._loop.close()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def wait_failed(self) -> Exception:
        self._thread.join(PATIENCE_S)
        assert self.failure is not None
        return self.failure


@contextmanager
def node(
    port: int,
    credentials: ClientCredentials,
    answer: Answer,
    *,
    settings: LinkSettings = QUICK,
    proxy: str | None = None,
) -> Iterator[Node]:
    running = Node(HolderLink(f"localhost:{port}", credentials, answer=answer, settings=settings, proxy=proxy))
    try:
        yield running
    finally:
        running.stop()
