"""Where an operator works: on the exchange's machine (``--home``), or from elsewhere (``--operator``)."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from fedjoint.cli.exchange_session import ExchangeSession, home_option, now

if TYPE_CHECKING:
    from fedjoint.data.records import Table
    from fedjoint.exchange.operating import Office
    from fedjoint.exchange.proposing import Wanted
    from fedjoint.identity.operator_file import OperatorFile

__all__ = ["Desk", "desk_command"]


class Desk(Protocol):
    """Where proposals are handed in and status is asked for."""

    def propose(self, overrides: Sequence[str], wanted: Wanted) -> tuple[str, tuple[str, ...]]:
        """Have an agreement written; its SHA-256, and who has yet to sign."""
        ...

    def status(self) -> dict[str, Any]:
        """How the exchange stands, as plain JSON values."""
        ...


class _Here:
    """On the exchange's machine, by its folder."""

    def __init__(self, session: ExchangeSession) -> None:
        self._session = session

    def propose(self, overrides: Sequence[str], wanted: Wanted) -> tuple[str, tuple[str, ...]]:
        from fedjoint.config import load_config

        config = load_config(overrides)
        with self._office() as office:
            agreement = office.propose(config, wanted)
        return agreement.sha256, agreement.unsigned

    def status(self) -> dict[str, Any]:
        with self._office() as office:
            return office.status()

    @contextmanager
    def _office(self) -> Iterator[Office]:
        from fedjoint.exchange.claims import ClaimDesk
        from fedjoint.exchange.operating import Office

        with self._session.store() as store, self._session.pool() as pool:
            claims = None if pool is None else ClaimDesk(pool, store.claim_signatures, now=now)
            yield Office(self._session.home, self._session.settings, store, claims=claims, now=now)


class _Elsewhere:
    """By the exchange's port, with an operator's certificate."""

    def __init__(self, found: OperatorFile, target: str) -> None:
        from fedjoint.transport.link.client import ClientCredentials
        from fedjoint.transport.services.client import ExchangeClient

        credentials = ClientCredentials(
            key_pem=found.key.encode(),
            certificate_pem=found.certificate.encode(),
            authority_pem=found.authority.encode(),
        )
        self._ask = functools.partial(ExchangeClient, target, credentials)

    def propose(self, overrides: Sequence[str], wanted: Wanted) -> tuple[str, tuple[str, ...]]:
        from fedjoint.transport.services import exchange_pb2 as api

        request = api.ProposeRequest(
            overrides=overrides,
            dataset=wanted.dataset,
            holders=wanted.holders,
            reference=_as_csv(wanted.reference),
            licence=wanted.licence,
            citation=wanted.citation,
            registered=wanted.registered,
        )
        with self._ask() as client:
            reply = client.propose(request)
        return reply.sha256, tuple(reply.unsigned_by)

    def status(self) -> dict[str, Any]:
        with self._ask() as client:
            found: dict[str, Any] = json.loads(client.status())
        return found


def _as_csv(table: Table) -> bytes:
    """A table as it travels, whatever file it came from; one that no message carries is refused before it is sent."""
    from fedjoint.exchange.operating import require_carried

    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(table.columns)
    writer.writerows(zip(*table.columns.values(), strict=True))
    content = text.getvalue().encode()
    require_carried(len(content))
    return content


def desk_command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--home``, ``--operator`` and ``--at``, and as the first argument the desk that they mean."""

    @home_option
    @click.option(
        "--operator",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="From another machine: what `fedjoint exchange operator` wrote; no folder is used then.",
    )
    @click.option("--at", "target", metavar="HOST:PORT", help="Where to reach the exchange; otherwise as FILE says.")
    @functools.wraps(function)
    def call(home: Path, operator: Path | None, target: str | None, **arguments: Any) -> Any:
        from fedjoint.errors import ConfigError
        from fedjoint.identity.operator_file import read_operator_file

        if operator is not None:
            found = read_operator_file(operator)
            return function(_Elsewhere(found, target or found.exchange), **arguments)
        if target is not None:
            raise ConfigError(
                f"--at {target} without --operator",
                expected="the file of an operator, for the exchange lets nobody else in",
                remedy="Run on the exchange's machine: fedjoint exchange operator ID --name NAME --out FILE",
            )
        return function(_Here(ExchangeSession.of(home)), **arguments)

    return call
