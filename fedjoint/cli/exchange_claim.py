"""``fedjoint exchange claim``: the exchange's part in claims against the pool that it keeps."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedjoint.cli.claim_verbs import Place, Standing, add_verbs, waiting_step
from fedjoint.cli.exchange_session import ExchangeSession, exchange_command, now
from fedjoint.cli.lazy import PlainGroup
from fedjoint.cli.pool_session import Session, moves_money

if TYPE_CHECKING:
    from fedjoint.exchange.claims import ClaimDesk as Counter
    from fedjoint.pool.claim_step import Step

__all__ = ["command"]


@click.group("claim", cls=PlainGroup)
def command() -> None:
    """Admit claims, name panels, serve decisions and pay, signed by the exchange; holders do their part on their nodes.

    The pool is the one that exchange.yaml names; the exchange may be serving meanwhile.

    \b
    Example:
      fedjoint exchange claim show --home exchange
      fedjoint exchange claim admit title-1 --home exchange
      fedjoint exchange claim convene title-1 ann ben cai --home exchange
    """


class ExchangeDesk:
    """Takes steps in the exchange's own pool, signed by its own keys.

    Args:
        session: Of the exchange.
        how: Whether to ask, and how to speak.
    """

    def __init__(self, session: ExchangeSession, how: Session) -> None:
        self._session, self.how = session, how

    @contextmanager
    def counter(self) -> Iterator[Counter]:
        """Where holders' signatures come in as well."""
        from fedjoint.exchange.claims import ClaimDesk
        from fedjoint.exchange.pool import require_pool

        with require_pool(self._session.home, self._session.settings) as pool, self._session.store() as store:
            yield ClaimDesk(pool, store.claim_signatures, now=now)

    def standing(self, claim_id: str) -> Standing:
        """How a claim stands."""
        with self.counter() as counter:
            (found,) = counter.claims(None, claim_id)
        return Standing.of(found.claim)

    def take(self, step: Step, currency: str) -> None:
        """Sign a step, show the money that moves by it, ask, and take it; one that needs two waits for the other."""
        from fedjoint.exchange.pool import require_pool
        from fedjoint.pool.claim_step import SignedStep, sign_step
        from fedjoint.pool.desk import move_claim

        del currency  # the entries that are shown name it
        exchange = self._session.home.load_identity()
        signature = sign_step(step, exchange)
        if step.verb == "settle":  # the other party signs it too
            with self.counter() as counter:
                taken = counter.sign(exchange.id, step, signature)
            words = "taken" if not taken.missing else f"signed; {taken.missing} more must sign it"
            self.how.show({"taken": not taken.missing, "missing": taken.missing}, [f"{step.verb}: {words}"])
            return
        signed = SignedStep(step=step, signatures={exchange.id: signature})
        with require_pool(self._session.home, self._session.settings) as pool:
            self.how.act_in(pool, lambda state, books: move_claim(state, signed, books=books)[0])


def _by_exchange(function: Callable[..., Any]) -> Callable[..., Any]:
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @moves_money
    @exchange_command
    @functools.wraps(function)
    def call(session: ExchangeSession, *, as_json: bool, dry_run: bool, yes: bool, **arguments: Any) -> None:
        how = Session(folder=Path(), url=None, as_json=as_json, dry_run=dry_run, yes=yes)
        function(ExchangeDesk(session, how), **arguments)

    return call


_PLACE = Place(group=command, options=_by_exchange, prefix="fedjoint exchange claim", suffix="--home exchange")
#: Evidence, appeal and settlement are for claims against the exchange itself.
_VERBS = ["admit", "reject", "evidence", "convene", "serve", "appeal", "hear", "conclude", "pay", "recover", "close"]
add_verbs(_PLACE, [*_VERBS, "settle"])


@_PLACE.add("sign", "Sign a step that waits for the exchange's signature, such as a settlement.", "c-1")
@click.argument("claim_id")
def sign(desk: ExchangeDesk, *, claim_id: str) -> None:
    """Sign what waits."""
    with desk.counter() as counter:
        (found,) = counter.claims(None, claim_id)
    desk.take(waiting_step(found), found.claim.filing.currency)


@command.command("show")
@click.argument("claim_id", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@exchange_command
def show(session: ExchangeSession, *, claim_id: str | None, as_json: bool) -> None:
    """Show one claim or all: how each stands, every signed step, and what waits for signatures.

    \b
    Example:
      fedjoint exchange claim show title-1 --home exchange
    """
    from fedjoint.pool.claim_file import claim_lines
    from fedjoint.strict import plain

    how = Session(folder=Path(), url=None, as_json=as_json)
    with ExchangeDesk(session, how).counter() as counter:
        found = counter.claims(None, claim_id or "")
    lines = [line for one in found for line in claim_lines(one)]
    how.show([plain(one) for one in found], lines or ["there is no claim"])
