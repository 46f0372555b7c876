"""The steps of a claim as commands: the same verbs for a pool's keeper, an exchange and a holder's node.

Who gives a command, and where the step goes, is a :class:`ClaimDesk` that the caller's decorator makes of its options.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from fedjoint.cli.pool_session import now, parse_json_file

if TYPE_CHECKING:
    from fedjoint.pool.claim import Claim, State
    from fedjoint.pool.claim_file import ClaimFile
    from fedjoint.pool.claim_step import Step

__all__ = [
    "ClaimDesk",
    "Place",
    "Standing",
    "add_verbs",
    "decision_body",
    "step_after",
    "verdict_options",
    "waiting_step",
]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a claim's next step depends on.

    Args:
        state: How far the matter has come.
        head: SHA-256 of the last step.
        currency: Of the claim's amounts.
    """

    state: State
    head: str
    currency: str

    @classmethod
    def of(cls, claim: Claim) -> Standing:
        """How a claim stands."""
        return cls(state=claim.state, head=claim.head, currency=claim.filing.currency)


class ClaimDesk(Protocol):
    """Where a claim's steps are signed and taken."""

    def standing(self, claim_id: str) -> Standing:
        """How a claim stands."""
        ...

    def take(self, step: Step, currency: str) -> None:
        """Sign a step, have it taken, and say what became of it; amounts in it are of this currency."""
        ...


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where commands are added.

    Args:
        group: To which.
        options: Decorator that gives a command its party's options and hands it a :class:`ClaimDesk` first.
        prefix: Of an example.
        suffix: Of an example, after an id.
    """

    group: click.Group
    options: Callable[[Callable[..., Any]], Callable[..., Any]]
    prefix: str
    suffix: str

    def add(self, verb: str, words: str, example: str) -> Callable[[Callable[..., Any]], click.Command]:
        """Make a command of a function that gets the desk first."""
        text = f"{words}\n\n\b\nExample:\n  {self.prefix} {verb} {example} {self.suffix}"

        def decorate(function: Callable[..., Any]) -> click.Command:
            return self.group.command(verb, help=text)(self.options(function))

        return decorate


_PLAIN = {
    "admit": "Admit a claim whose form is right.",
    "serve": "Serve a decision on the parties: the days for an appeal begin.",
    "conclude": "Make an upheld claim payable: the layers pay, the respondent is charged.",
    "pay": "Pay the claimant.",
}
_REASONED = {
    "reject": "Reject a claim whose form is wrong; what was held is released.",
    "appeal": "Appeal against a decision.",
    "withdraw": "Withdraw a claim before it is decided.",
    "close": "Close a claim; what is still owed is written off.",
}
_PANELS = {
    "convene": "Name the panel of three; parties and whoever has an interest are recused.",
    "hear": "Name the panel of three that hears an appeal; nobody of the first sits again.",
}
_AMOUNTS = {
    "settle": "Settle before a decision, out of the respondent's frozen holdback; both sides sign.",
    "recover": "Hand on what the respondent has brought or earned: the reserve first.",
}


def add_verbs(place: Place, verbs: Container[str]) -> None:
    """Add the commands of some verbs.

    Args:
        place: Where.
        verbs: Which, as :data:`fedjoint.pool.claim_step.VERBS` names them.
    """
    if "file" in verbs:
        _add_file(place)
    if "evidence" in verbs:
        _add_evidence(place)
    if "decide" in verbs:
        _add_decide(place)
    for kinds, add in (
        (_PLAIN, _add_plain),
        (_REASONED, _add_reasoned),
        (_PANELS, _add_panel),
        (_AMOUNTS, _add_amount),
    ):
        for verb, words in kinds.items():
            if verb in verbs:
                add(place, verb, words)


def step_after(claim_id: str, verb: str, standing: Standing, body: dict[str, Any]) -> Step:
    """The step that follows a claim's last one.

    Raises:
        PoolError: its content is malformed.
    """
    from fedjoint.errors import PoolError
    from fedjoint.pool.claim_step import Step
    from fedjoint.strict import build

    known = "decide_final" if verb == "decide" and standing.state == "appealed" else verb
    facts = {"claim": claim_id, "verb": known, "at": now(), "after": standing.head, "body": body}
    return build(Step, facts, error=PoolError, where="step")


def waiting_step(found: ClaimFile, signer: str | None = None) -> Step:
    """The one step of a claim that waits for signatures.

    Args:
        found: The claim.
        signer: Who has signed it already, where several wait.

    Raises:
        PoolError: none waits, or several do.
    """
    from fedjoint.errors import PoolError

    waiting = [one.signed for one in found.waiting if signer is None or signer in one.signed.signatures]
    if len(waiting) != 1:
        by = "; ".join(", ".join(sorted(one.signatures)) for one in waiting)
        raise PoolError(
            f"{len(waiting)} steps of claim '{found.claim.filing.id}' wait for signatures" + (f" ({by})" if by else ""),
            expected="one",
            remedy="Show the claim; name one by who signed it (--by ID), or sign a step of your own.",
        )
    return waiting[0].step


def _take(desk: ClaimDesk, claim_id: str, verb: str, body: dict[str, Any]) -> None:
    standing = desk.standing(claim_id)
    desk.take(step_after(claim_id, verb, standing, body), standing.currency)


def _add_file(place: Place) -> None:
    words = (
        "File a claim from a JSON file: id, kind, claimant, respondent, currency, amount_minor, statement, ...\n\n"
        "What is contested of the respondent's money, and the claim's part of the reserve, are held from then on."
    )

    @place.add("file", words, "title.json")
    @click.argument("file", type=click.Path(path_type=Path))
    def file_claim(desk: ClaimDesk, *, file: Path) -> None:
        from fedjoint.errors import PoolError
        from fedjoint.pool.claim import Filing
        from fedjoint.pool.claim_step import file_step
        from fedjoint.strict import build

        filing = build(Filing, parse_json_file(file), error=PoolError, where="claim")
        desk.take(file_step(filing, now()), filing.currency)


def _add_evidence(place: Place) -> None:
    @place.add(
        "evidence", "Add documents by their SHA-256; the documents themselves stay with you.", "title-1 deed.pdf"
    )
    @click.argument("claim_id")
    @click.argument("documents", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
    def evidence(desk: ClaimDesk, *, claim_id: str, documents: tuple[Path, ...]) -> None:
        hashes = []
        for path in documents:
            with path.open("rb") as document:
                hashes.append(hashlib.file_digest(document, "sha256").hexdigest())
        _take(desk, claim_id, "evidence", {"sha256": hashes})


def verdict_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a panel says."""
    function = click.option("--reasons", help="In words.")(function)
    function = click.option("--dismissed", is_flag=True, help="The claim is wrong.")(function)
    return click.option("--upheld", metavar="AMOUNT", help="What the claimant is due, such as 24000.00.")(function)


def decision_body(upheld: str | None, *, dismissed: bool, reasons: str | None, currency: str) -> dict[str, Any]:
    """What a panel decides, as a step's content.

    Raises:
        ConfigError: neither upheld nor dismissed, or both.
        PoolError: no amount, or no reasons.
    """
    from fedjoint.errors import ConfigError
    from fedjoint.pool.claim import Decision
    from fedjoint.pool.money import parse_minor
    from fedjoint.strict import plain

    if dismissed == (upheld is not None):
        raise ConfigError("a decision that is neither or both", expected="--upheld AMOUNT or --dismissed")
    amount = parse_minor(upheld, currency) if upheld is not None else 0
    body: dict[str, Any] = plain(Decision(upheld=upheld is not None, amount_minor=amount, reasons=reasons or ""))
    return body


def _add_decide(place: Place) -> None:
    words = "Sign a decision as a member of the panel; after an appeal, for good. It counts once two have signed it."

    @place.add("decide", words, 'title-1 --upheld 24000.00 --reasons "the contract says so"')
    @click.argument("claim_id")
    @verdict_options
    def decide(desk: ClaimDesk, *, claim_id: str, upheld: str | None, dismissed: bool, reasons: str | None) -> None:
        currency = desk.standing(claim_id).currency
        body = decision_body(upheld, dismissed=dismissed, reasons=reasons, currency=currency)
        _take(desk, claim_id, "decide", body)


def _add_plain(place: Place, verb: str, words: str) -> None:
    @place.add(verb, words, "title-1")
    @click.argument("claim_id")
    def step(desk: ClaimDesk, *, claim_id: str) -> None:
        _take(desk, claim_id, verb, {})


def _add_reasoned(place: Place, verb: str, words: str) -> None:
    @place.add(verb, words, 'title-1 --reasons "so"')
    @click.argument("claim_id")
    @click.option("--reasons", required=True, help="In words.")
    def step(desk: ClaimDesk, *, claim_id: str, reasons: str) -> None:
        _take(desk, claim_id, verb, {"reasons": reasons})


def _add_panel(place: Place, verb: str, words: str) -> None:
    @place.add(verb, words, "title-1 ann ben cai")
    @click.argument("claim_id")
    @click.argument("panel", nargs=3)
    def name_panel(desk: ClaimDesk, *, claim_id: str, panel: tuple[str, ...]) -> None:
        _take(desk, claim_id, verb, {"panel": list(panel)})


def _add_amount(place: Place, verb: str, words: str) -> None:
    @place.add(verb, words, "title-1 5000.00")
    @click.argument("claim_id")
    @click.argument("amount")
    def step(desk: ClaimDesk, *, claim_id: str, amount: str) -> None:
        from fedjoint.pool.money import parse_minor

        _take(desk, claim_id, verb, {"amount_minor": parse_minor(amount, desk.standing(claim_id).currency)})
