"""``fedjoint claim``: a claim's steps, each signed by those who take it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import click

from fedjoint.cli.claim_vote import vote
from fedjoint.cli.pool_session import Session, moves_money, now, parse_json_file, pool_command

__all__ = ["command"]

_key = click.option(
    "--key",
    "keys",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Who signs: a party's key file.",
)
_reasons = click.option("--reasons", required=True, help="In words.")


@click.group("claim")
def command() -> None:
    """File a claim against the pool, and take it through evidence, panel, appeal, payment and recovery.

    \b
    Example:
      fedjoint claim file title.json --key registry.key
      fedjoint claim show
    """


def _take(session: Session, claim_id: str, verb: str, keys: tuple[Path, ...], body: dict[str, Any]) -> None:
    """Sign a claim's next step and take it; the step is the same one when it is asked for and when it is taken."""
    from fedjoint.errors import PoolError
    from fedjoint.identity.keys import Identity
    from fedjoint.pool.claim import Filing
    from fedjoint.pool.claim_step import SignedStep, Step, file_step, sign_step
    from fedjoint.pool.desk import move_claim
    from fedjoint.strict import build

    at = now()
    if verb == "file":
        step = file_step(build(Filing, body, error=PoolError, where="claim"), at)
    else:
        claim = session.state().claim(claim_id)
        known = "decide_final" if verb == "decide" and claim.state == "appealed" else verb
        facts = {"claim": claim_id, "verb": known, "at": at, "after": claim.head, "body": body}
        step = build(Step, facts, error=PoolError, where="step")
    people = [Identity.load(path) for path in keys]
    signed = SignedStep(step=step, signatures={one.id: sign_step(step, one) for one in people})
    session.act(lambda state, books: move_claim(state, signed, books=books)[0])


@command.command("file")
@click.argument("file", type=click.Path(path_type=Path))
@_key
@moves_money
@pool_command
def file_claim(session: Session, *, file: Path, keys: tuple[Path, ...]) -> None:
    """File a claim from a JSON file: id, kind, claimant, respondent, currency, amount_minor, statement, ...

    What is contested of the respondent's money, and the claim's part of the reserve, are held from then on.

    \b
    Example:
      fedjoint claim file title.json --key registry.key --dry-run
    """
    _take(session, "", "file", keys, parse_json_file(file))


@command.command("evidence")
@click.argument("claim_id")
@click.argument("documents", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_key
@pool_command
def evidence(session: Session, *, claim_id: str, documents: tuple[Path, ...], keys: tuple[Path, ...]) -> None:
    """Add documents by their SHA-256; the documents themselves stay with you.

    \b
    Example:
      fedjoint claim evidence title-1 contract.pdf --key registry.key
    """
    hashes = []
    for path in documents:
        with path.open("rb") as document:
            hashes.append(hashlib.file_digest(document, "sha256").hexdigest())
    _take(session, claim_id, "evidence", keys, {"sha256": hashes})


def _panel(verb: str, words: str) -> None:
    @command.command(
        verb, help=f"{words}\n\n\b\nExample:\n  fedjoint claim {verb} title-1 ann ben cai --key exchange.key"
    )
    @click.argument("claim_id")
    @click.argument("panel", nargs=3)
    @_key
    @pool_command
    def name_panel(session: Session, *, claim_id: str, panel: tuple[str, ...], keys: tuple[Path, ...]) -> None:
        _take(session, claim_id, verb, keys, {"panel": list(panel)})


_panel("convene", "Name the panel of three; parties and whoever has an interest are recused.")
_panel("hear", "Name the panel of three that hears an appeal; nobody of the first sits again.")


@command.command("decide")
@click.argument("claim_id")
@click.option("--upheld", metavar="AMOUNT", help="What the claimant is due, such as 24000.00.")
@click.option("--dismissed", is_flag=True)
@click.option("--reasons", help="In words.")
@click.option("--key", "keys", type=click.Path(path_type=Path), multiple=True, help="A member's key file.")
@click.option("--vote", "votes", type=click.Path(path_type=Path), multiple=True, help="A member's vote instead.")
@moves_money
@pool_command
def decide(session: Session, *, claim_id: str, votes: tuple[Path, ...], **own: Any) -> None:
    """Record what two or three of the panel decided; after an appeal, for good.

    \b
    Example:
      fedjoint claim decide title-1 --vote ann.json --vote cai.json
      fedjoint claim decide title-1 --upheld 24000.00 --reasons "the contract says so" --key ann.key --key cai.key
    """
    from fedjoint.cli.claim_vote import decision_body, joined_votes
    from fedjoint.errors import ConfigError, PoolError
    from fedjoint.pool.desk import move_claim
    from fedjoint.strict import plain

    if votes:
        if any(own.values()):
            raise ConfigError("votes, and a decision beside them", expected="--vote FILE alone: votes say it all")
        signed = joined_votes(votes)
        if signed.step.claim != claim_id:
            raise PoolError(f"these are votes on claim '{signed.step.claim[:80]}'", expected=f"on '{claim_id}'")
        session.act(lambda state, books: move_claim(state, signed, books=books)[0])
        return
    currency = session.state().rules.money.currency
    body = decision_body(own["upheld"], dismissed=own["dismissed"], reasons=own["reasons"] or "", currency=currency)
    _take(session, claim_id, "decide", own["keys"], plain(body))


command.add_command(vote)


def _plain(verb: str, words: str) -> None:
    @command.command(verb, help=f"{words}\n\n\b\nExample:\n  fedjoint claim {verb} title-1 --key exchange.key")
    @click.argument("claim_id")
    @_key
    @moves_money
    @pool_command
    def step(session: Session, *, claim_id: str, keys: tuple[Path, ...]) -> None:
        _take(session, claim_id, verb, keys, {})


def _reasoned(verb: str, words: str) -> None:
    @command.command(
        verb, help=f'{words}\n\n\b\nExample:\n  fedjoint claim {verb} title-1 --reasons "so" --key party.key'
    )
    @click.argument("claim_id")
    @_reasons
    @_key
    @moves_money
    @pool_command
    def step(session: Session, *, claim_id: str, reasons: str, keys: tuple[Path, ...]) -> None:
        _take(session, claim_id, verb, keys, {"reasons": reasons})


def _amount(verb: str, words: str) -> None:
    @command.command(verb, help=f"{words}\n\n\b\nExample:\n  fedjoint claim {verb} title-1 5000.00 --key party.key")
    @click.argument("claim_id")
    @click.argument("amount")
    @_key
    @moves_money
    @pool_command
    def step(session: Session, *, claim_id: str, amount: str, keys: tuple[Path, ...]) -> None:
        from fedjoint.pool.money import parse_minor

        currency = session.state().rules.money.currency
        _take(session, claim_id, verb, keys, {"amount_minor": parse_minor(amount, currency)})


_plain("admit", "Admit a claim whose form is right.")
_plain("serve", "Serve a decision on the parties: the days for an appeal begin.")
_plain("conclude", "Make an upheld claim payable: the layers pay, the respondent is charged.")
_plain("pay", "Pay the claimant.")
_reasoned("reject", "Reject a claim whose form is wrong; what was held is released.")
_reasoned("appeal", "Appeal against a decision.")
_reasoned("withdraw", "Withdraw a claim before it is decided.")
_reasoned("close", "Close a claim; what is still owed is written off.")
_amount("settle", "Settle before a decision, out of the respondent's frozen holdback; both sides sign.")
_amount("recover", "Hand on what the respondent has brought or earned: the reserve first.")


@command.command("show")
@click.argument("claim_id", required=False)
@pool_command
def show(session: Session, *, claim_id: str | None) -> None:
    """Show one claim or all, and what may be done next.

    \b
    Example:
      fedjoint claim show title-1
    """
    from fedjoint.pool.claim_step import may_follow
    from fedjoint.pool.money import format_minor
    from fedjoint.strict import plain

    state = session.state()
    chosen = [state.claim(claim_id)] if claim_id else list(state.claims.values())
    lines = []
    for claim in chosen:
        filing, currency = claim.filing, claim.filing.currency
        lines.append(
            f"{filing.id}: {filing.kind}, {filing.claimant} against {filing.respondent}, "
            f"{format_minor(filing.amount_minor, currency)}: {claim.state}"
        )
        lines.append(
            f"  held {format_minor(claim.held.frozen_minor, currency)} of the respondent's and "
            f"{format_minor(claim.held.reserve_minor, currency)} of the reserve; "
            f"paid {format_minor(claim.paid_minor, currency)}; owed {format_minor(claim.owed_minor, currency)}; "
            f"next: {', '.join(may_follow(claim.state)) or 'nothing'}"
        )
    session.show([plain(claim) for claim in chosen], lines or ["there is no claim"])
