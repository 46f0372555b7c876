"""A node as witness of its exchange's records: it countersigns what goes on from what it saw, and raises the alarm."""

from __future__ import annotations

import logging
from pathlib import Path

from fedjoint.agreement.canonical import parse_canonical, sha256_hex
from fedjoint.errors import RecordError
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.node.home import Home
from fedjoint.record.checkpoint import SignedCheckpoint
from fedjoint.record.witness import Witness
from fedjoint.strict import build
from fedjoint.transport.services import exchange_pb2 as api
from fedjoint.transport.services.client import ExchangeClient

__all__ = ["Watch"]

_log = logging.getLogger(__name__)
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 60.0


class Watch:
    """Countersigns checkpoints of the runs of agreements that this holder signed.

    Args:
        home: The holder's folder; what was seen last of each log is kept there.
        identity: Who countersigns.
        exchange: Whose logs they are.
    """

    def __init__(self, home: Home, identity: Identity, exchange: PublicIdentity) -> None:
        self._home, self._identity, self._exchange = home, identity, exchange
        self._witnesses: dict[str, Witness] = {}
        self._refused: set[tuple[str, int]] = set()

    def once(self, client: ExchangeClient) -> float:
        """Countersign what waits; gives seconds until it is worth while to ask again.

        Raises:
            TransportError: the exchange cannot be reached.
        """
        seen = [
            api.Seen(origin=origin, size=witness.seen.size)
            for origin, witness in self._witnesses.items()
            if witness.seen is not None
        ]
        reply = client.checkpoints(api.CheckpointsRequest(seen=seen))
        for pending in reply.pending:
            self._countersign(client, pending)
        return min(max(reply.again_ms / 1000, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)

    def _countersign(self, client: ExchangeClient, pending: api.PendingCheckpoint) -> None:
        value = parse_canonical(pending.checkpoint, error=RecordError, where="checkpoint")
        signed = build(SignedCheckpoint, value, error=RecordError, where="checkpoint")
        origin, size = signed.checkpoint.origin, signed.checkpoint.size
        if (origin, size) in self._refused:
            return
        try:
            witness = self._witness(origin)
            if witness.seen is not None and pending.seen_size != witness.seen.size < size:
                return  # the proof goes on from elsewhere: asked again, with what was seen, another comes
            signature = witness.countersign(signed, lambda _: tuple(pending.proof))
        except RecordError as problem:
            self._refused.add((origin, size))
            _log.error(
                "a record does not go on from what was seen", extra={"facts": {"log": origin, "why": str(problem)}}
            )
            return
        client.witness(api.WitnessRequest(origin=origin, size=size, signature=signature))

    def _witness(self, origin: str) -> Witness:
        agreement = origin.partition("/")[0]
        if not (self._home.agreements / f"{agreement}.json").exists():
            raise RecordError(f"a log of an agreement that was not signed here ({agreement[:16]}…)")
        if origin not in self._witnesses:
            self._witnesses[origin] = Witness(
                self._identity, coordinator=self._exchange, origin=origin, file=self._file(origin)
            )
        return self._witnesses[origin]

    def _file(self, origin: str) -> Path:
        return self._home.witnessed / f"{sha256_hex(origin.encode())}.json"
