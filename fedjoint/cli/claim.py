"""``fedjoint claim``: a claim's steps, each signed by those who take it, on the machine that keeps the pool."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedjoint.cli.claim_verbs import Place, Standing, add_verbs, decision_body, step_after, verdict_options
from fedjoint.cli.claim_vote import vote
from fedjoint.cli.lazy import PlainGroup
from fedjoint.cli.pool_session import Session, moves_money, pool_command

if TYPE_CHECKING:
    from fedjoint.pool.claim_step import Step

__all__ = ["PoolDesk", "command"]


@click.group("claim", cls=PlainGroup)
def command() -> None:
    """File a claim against the pool, and take it through evidence, panel, appeal, payment and recovery.

    \b
    Example:
      fedjoint claim file title.json --key registry.key
      fedjoint claim show
    """


class PoolDesk:
    """Takes steps in a pool on this machine, signed by key files.

    Args:
        session: How the command was called.
        keys: Of those who sign.
    """

    def __init__(self, session: Session, keys: tuple[Path, ...]) -> None:
        self._session, self._keys = session, keys

    def standing(self, claim_id: str) -> Standing:
        """How a claim stands."""
        return Standing.of(self._session.state().claim(claim_id))

    def take(self, step: Step, currency: str) -> None:
        """Sign a step and take it; it is the same one when it is asked for and when it is taken."""
        from fedjoint.identity.keys import Identity
        from fedjoint.pool.claim_step import SignedStep, sign_step
        from fedjoint.pool.desk import move_claim

        del currency  # the entries that are shown name it
        people = [Identity.load(path) for path in self._keys]
        signed = SignedStep(step=step, signatures={one.id: sign_step(step, one) for one in people})
        self._session.act(lambda state, books: move_claim(state, signed, books=books)[0])


def _by_keys(function: Callable[..., Any]) -> Callable[..., Any]:
    @click.option(
        "--key",
        "keys",
        type=click.Path(path_type=Path),
        multiple=True,
        required=True,
        help="Who signs: a party's key file.",
    )
    @moves_money
    @pool_command
    @functools.wraps(function)
    def call(session: Session, *, keys: tuple[Path, ...], **arguments: Any) -> None:
        function(PoolDesk(session, keys), **arguments)

    return call


#: ``decide`` is below, as here it also takes votes that came as files.
_VERBS = ["file", "evidence", "admit", "reject", "convene", "serve", "appeal", "hear", "withdraw", "settle"]
_AFTERWARDS = ["conclude", "pay", "recover", "close"]
add_verbs(
    Place(group=command, options=_by_keys, prefix="fedjoint claim", suffix="--key party.key"), [*_VERBS, *_AFTERWARDS]
)
command.add_command(vote)


@command.command("decide")
@click.argument("claim_id")
@verdict_options
@click.option("--key", "keys", type=click.Path(path_type=Path), multiple=True, help="A member's key file.")
@click.option("--vote", "votes", type=click.Path(path_type=Path), multiple=True, help="A member's vote instead.")
@moves_money
@pool_command
def decide(session: Session, *, claim_id: str, votes: tuple[Path, ...], keys: tuple[Path, ...], **own: Any) -> None:
    """Record what two or three of the panel decided; after an appeal, for good.

    \b
    Example:
      fedjoint claim decide title-1 --vote ann.json --vote cai.json
      fedjoint claim decide title-1 --upheld 24000.00 --reasons "the contract says so" --key ann.key --key cai.key
    """
    from fedjoint.cli.claim_vote import joined_votes
    from fedjoint.errors import ConfigError, PoolError
    from fedjoint.pool.desk import move_claim

    if votes:
        if keys or any(own.values()):
            raise ConfigError("votes, and a decision beside them", expected="--vote FILE alone: votes say it all")
        signed = joined_votes(votes)
        if signed.step.claim != claim_id:
            raise PoolError(f"these are votes on claim '{signed.step.claim[:80]}'", expected=f"on '{claim_id}'")
        session.act(lambda state, books: move_claim(state, signed, books=books)[0])
        return
    desk = PoolDesk(session, keys)
    standing = desk.standing(claim_id)
    body = decision_body(own["upheld"], dismissed=own["dismissed"], reasons=own["reasons"], currency=standing.currency)
    desk.take(step_after(claim_id, "decide", standing, body), standing.currency)


@command.command("show")
@click.argument("claim_id", required=False)
@pool_command
def show(session: Session, *, claim_id: str | None) -> None:
    """Show one claim or all, and what may be done next.

    \b
    Example:
      fedjoint claim show title-1
    """
    from fedjoint.pool.claim_file import standing_lines
    from fedjoint.strict import plain

    state = session.state()
    chosen = [state.claim(claim_id)] if claim_id else list(state.claims.values())
    lines = [line for claim in chosen for line in standing_lines(claim)]
    session.show([plain(claim) for claim in chosen], lines or ["there is no claim"])
