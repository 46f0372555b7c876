"""``fedjoint claim vote``: a panel decides on machines of its own; votes travel as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedjoint.cli.claim_verbs import Standing, decision_body, step_after, verdict_options
from fedjoint.cli.pool_session import parse_json_file, require_yes

if TYPE_CHECKING:
    from fedjoint.pool.claim_step import SignedStep, Step

__all__ = ["joined_votes", "vote"]


@click.command("vote")
@click.argument("claim_file", type=click.Path(path_type=Path), metavar="CLAIM.json")
@verdict_options
@click.option("--join", type=click.Path(path_type=Path), help="Sign the decision in another member's vote instead.")
@click.option("--key", type=click.Path(path_type=Path), required=True, help="Your key file.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Your vote, for claim decide --vote.")
@click.option("--yes", is_flag=True, help="Sign without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print the signed vote as JSON.")
def vote(claim_file: Path, *, join: Path | None, reasons: str | None, as_json: bool, **options: Any) -> None:
    """Sign a decision as a member of the panel, without the pool: the first writes it, the others join it.

    CLAIM.json is what fedjoint claim show ID --json printed; a vote counts for the claim as it stands there.

    \b
    Example:
      fedjoint claim vote title-1.json --upheld 24000.00 --reasons "the contract says so" --key ann.key --out ann.json
      fedjoint claim vote title-1.json --join ann.json --key cai.key --out cai.json
      fedjoint claim decide title-1 --vote ann.json --vote cai.json
    """
    from fedjoint.agreement.canonical import canonical_bytes
    from fedjoint.errors import ConfigError, PoolError
    from fedjoint.files import replace_file
    from fedjoint.identity.keys import Identity
    from fedjoint.pool.claim_step import SignedStep, sign_step
    from fedjoint.pool.money import format_minor
    from fedjoint.strict import plain

    claim = _claim(claim_file)
    if (join is None) == (reasons is None):
        raise ConfigError("a vote of one's own, or another member's joined", expected="--reasons, or --join FILE")
    step = (
        _own_step(claim, options["upheld"], options["dismissed"], reasons or "") if join is None else _read(join).step
    )
    if (step.claim, step.after) != (claim["filing"]["id"], claim["head"]):
        raise PoolError("that vote is of another claim, or of an earlier state of it", remedy="Ask for a new one.")
    said = f"upheld, {format_minor(step.body['amount_minor'], claim['filing']['currency'])}"
    said = said if step.body["upheld"] else "dismissed"
    click.echo(f"claim {step.claim}: {said}: {step.body['reasons']}", err=as_json)
    if not options["yes"]:
        require_yes("Sign exactly this?")
    member = Identity.load(options["key"])
    signed = SignedStep(step=step, signatures={member.id: sign_step(step, member)})
    replace_file(options["out"], canonical_bytes(signed))
    words = f"{options['out']}: the vote of '{member.id}'"
    click.echo(json.dumps(plain(signed), indent=2) if as_json else words)


def _claim(path: Path) -> dict[str, Any]:
    from fedjoint.errors import ConfigError

    shown = parse_json_file(path)
    found = shown[0] if isinstance(shown, list) and len(shown) == 1 else shown
    if isinstance(found, dict) and isinstance(found.get("claim"), dict):
        found = found["claim"]  # as a holder's node prints it, with its history
    if not isinstance(found, dict) or not {"filing", "head", "state"} <= set(found):
        raise ConfigError(f"{path} is no claim", expected="what fedjoint claim show ID --json printed")
    return found


def _own_step(claim: dict[str, Any], upheld: str | None, dismissed: bool, reasons: str) -> Step:
    currency = claim["filing"]["currency"]
    body = decision_body(upheld, dismissed=dismissed, reasons=reasons, currency=currency)
    standing = Standing(state=claim["state"], head=claim["head"], currency=currency)
    return step_after(claim["filing"]["id"], "decide", standing, body)


def _read(path: Path) -> SignedStep:
    from fedjoint.errors import PoolError
    from fedjoint.pool.claim_step import SignedStep
    from fedjoint.strict import build

    found = build(SignedStep, parse_json_file(path), error=PoolError, where=path.name)
    if not isinstance(found.step.body.get("amount_minor"), int) or "upheld" not in found.step.body:
        raise PoolError(f"{path.name} is no vote", expected="what fedjoint claim vote wrote")
    return found


def joined_votes(paths: tuple[Path, ...]) -> SignedStep:
    """The decision that votes from several machines make together.

    Raises:
        PoolError: one is malformed, or they do not decide the same in the same words.
    """
    from fedjoint.errors import PoolError
    from fedjoint.pool.claim_step import SignedStep

    votes = [_read(path) for path in paths]
    other = next((path.name for path, one in zip(paths, votes, strict=True) if one.step != votes[0].step), None)
    if other is not None:
        raise PoolError(
            f"{other} and {paths[0].name} are not the same decision",
            remedy="One member writes it, the others join: fedjoint claim vote --join.",
        )
    together = {name: signature for one in votes for name, signature in one.signatures.items()}
    return SignedStep(step=votes[0].step, signatures=together)
