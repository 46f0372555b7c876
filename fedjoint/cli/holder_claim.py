"""``fedjoint holder claim``: a party's or a panel member's part in claims, signed here, taken by the exchange."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedjoint.cli.claim_verbs import Place, Standing, add_verbs, waiting_step
from fedjoint.cli.holder_home import home_option, json_option, opened, say, yes_option
from fedjoint.cli.lazy import PlainGroup

if TYPE_CHECKING:
    from fedjoint.pool.claim_file import ClaimFile
    from fedjoint.pool.claim_step import Step

__all__ = ["command"]


@click.group("claim", cls=PlainGroup)
def command() -> None:
    """File a claim, add evidence, decide as a panel member, appeal: each step is signed here by your own keys.

    What is signed names the step before it, so that it fits one place of one claim. The exchange takes it into the
    pool's record once everybody who must has signed it. Documents stay with you: only their hashes leave.

    \b
    Example:
      fedjoint holder claim file title.json --home owner
      fedjoint holder claim show --home owner
      fedjoint holder claim decide title-1 --upheld 24000.00 --reasons "the contract says so" --home ann
      fedjoint holder claim sign title-1 --home cai
    """


class NodeDesk:
    """Has steps taken by the exchange that a holder joined, signed by the holder's keys.

    Args:
        folder: The holder's.
        as_json: Print what a program reads.
        yes: Ask no question.
    """

    def __init__(self, folder: Path, *, as_json: bool, yes: bool) -> None:
        self._folder, self._as_json, self._yes = folder, as_json, yes

    def claims(self, claim_id: str = "") -> list[ClaimFile]:
        """The claims that name this holder, or one of them; each with steps that follow one another."""
        from fedjoint.node.credentials import connect

        home, settings = opened(self._folder)
        with connect(home, settings) as client:
            return [_parsed(document) for document in client.claims(claim_id)]

    def standing(self, claim_id: str) -> Standing:
        """How a claim stands."""
        (found,) = self.claims(claim_id)
        return Standing.of(found.claim)

    def take(self, step: Step, currency: str) -> None:
        """Show a step, ask, sign it and hand it to the exchange."""
        from fedjoint.agreement.canonical import canonical_bytes
        from fedjoint.node.credentials import connect
        from fedjoint.pool.claim_file import claim_lines, require_signed_by, step_words
        from fedjoint.pool.claim_step import sign_step
        from fedjoint.strict import plain

        home, settings = opened(self._folder)
        identity = home.load_identity()
        if not self._as_json:
            say(f"claim {step.claim}: {step_words(step, currency)}", "bold")
        if not self._yes:
            click.confirm(f"Sign exactly this as '{identity.id}'?", abort=True, err=True)
        with connect(home, settings) as client:
            reply = client.sign_claim_step(canonical_bytes(step), sign_step(step, identity))
        found = _parsed(bytes(reply.claim))
        require_signed_by(found, step, identity.id, taken=reply.taken)
        if self._as_json:
            facts = {"taken": reply.taken, "missing": reply.missing, "claim": plain(found)}
            click.echo(json.dumps(facts, indent=2))
            return
        missing = f"Signed. {reply.missing} more must sign it: fedjoint holder claim sign {step.claim}"
        say("Taken." if reply.taken else missing, "bold green")
        for line in claim_lines(found):
            say(line)


def _parsed(document: bytes) -> ClaimFile:
    from fedjoint.agreement.canonical import parse_canonical
    from fedjoint.errors import PoolError
    from fedjoint.pool.claim_file import ClaimFile
    from fedjoint.strict import build

    value = parse_canonical(document, error=PoolError, where="claim")
    return build(ClaimFile, value, error=PoolError, where="claim")


def _by_holder(function: Callable[..., Any]) -> Callable[..., Any]:
    @home_option
    @json_option
    @yes_option
    @functools.wraps(function)
    def call(*, folder: Path, as_json: bool, yes: bool, **arguments: Any) -> None:
        function(NodeDesk(folder, as_json=as_json, yes=yes), **arguments)

    return call


_PLACE = Place(group=command, options=_by_holder, prefix="fedjoint holder claim", suffix="--home bern")
add_verbs(_PLACE, ["file", "evidence", "decide", "appeal", "withdraw", "settle"])
#: A claim against the exchange is kept by a holder that has no part in it.
add_verbs(_PLACE, ["admit", "reject", "convene", "serve", "hear", "conclude", "pay", "recover", "close"])


@_PLACE.add("sign", "Sign a step that others have signed and that waits for you: a decision, a settlement.", "title-1")
@click.argument("claim_id")
@click.option("--by", "signer", metavar="ID", help="The one that this party signed, where several wait.")
def sign(desk: NodeDesk, *, claim_id: str, signer: str | None) -> None:
    """Sign what waits."""
    (found,) = desk.claims(claim_id)
    desk.take(waiting_step(found, signer), found.claim.filing.currency)


@command.command("show")
@click.argument("claim_id", required=False)
@home_option
@json_option
def show(claim_id: str | None, folder: Path, as_json: bool) -> None:
    """Show the claims that name you: how each stands, every signed step, and what waits for signatures.

    \b
    Example:
      fedjoint holder claim show title-1 --home bern
    """
    from fedjoint.pool.claim_file import claim_lines
    from fedjoint.strict import plain

    found = NodeDesk(folder, as_json=as_json, yes=True).claims(claim_id or "")
    if as_json:
        click.echo(json.dumps([plain(one) for one in found], indent=2))
        return
    for line in [line for one in found for line in claim_lines(one)] or ["no claim names you"]:
        say(line)
