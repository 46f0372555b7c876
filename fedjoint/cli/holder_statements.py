"""``fedjoint holder statements``: what was paid, and why."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedjoint.cli.holder_home import home_option, json_option

if TYPE_CHECKING:
    from fedjoint.pool.dataset_statement import DatasetStatement
    from fedjoint.pool.statement import StatedError, Statement
    from fedjoint.pool.year_statement import HolderStatement

__all__ = ["command", "error_in_words"]


@click.command("statements")
@home_option
@json_option
def command(folder: Path, as_json: bool) -> None:
    """Fetch your statements of runs and of the pool, check each by the exchange's key, and keep them in your folder.

    \b
    Example:
      fedjoint holder statements --home bern
    """
    from fedjoint.cli.holder_home import opened, say
    from fedjoint.errors import PoolError
    from fedjoint.files import replace_file
    from fedjoint.node.credentials import connect
    from fedjoint.runs.sentences import counted
    from fedjoint.strict import plain

    home, settings = opened(folder)
    exchange, own = home.load_membership().exchange, home.load_identity().id
    found = []
    with connect(home, settings) as client:
        for summary in client.statements().statements:
            document = client.get_statement(summary.id)
            statement = _checked(document, exchange)
            if statement.holder != own:
                raise PoolError(f"the exchange gave the statement of '{statement.holder}'", expected=f"that of '{own}'")
            replace_file(home.statements / f"{_name(statement)}.json", document)
            found.append(statement)
    if as_json:
        click.echo(json.dumps([plain(statement) for statement in found], indent=2))
        return
    for one in found:
        first, *more = _in_words(one)
        say(first, "bold")
        for line in more:
            say(f"  {line}")
    if not found:
        say("No statement yet: there is one for each run that has finished.")
        return
    say(f"{counted(len(found), 'statement')}, each signed by {exchange.name}; kept in {home.statements}")


def _checked(document: bytes, exchange: Any) -> Statement | HolderStatement | DatasetStatement:
    """A statement whose signature, sums and proof are right."""
    from fedjoint.agreement.canonical import parse_canonical
    from fedjoint.errors import PoolError
    from fedjoint.pool.statement import read_statement
    from fedjoint.pool.statement_document import verify_document

    value = parse_canonical(document, error=PoolError, where="statement")
    if isinstance(value, dict) and "event" in value:
        return verify_document(value, exchange)
    return read_statement(document, exchange)


def _name(statement: Any) -> str:
    """Of its file: nothing in it is taken as a path."""
    from fedjoint.agreement.canonical import canonical_bytes, sha256_hex

    run_id = getattr(statement, "run_id", None)
    return str(run_id) if run_id is not None else f"pool-{sha256_hex(canonical_bytes(statement))[:16]}"


def _in_words(one: Statement | HolderStatement | DatasetStatement) -> Iterator[str]:
    """A line that says what it comes to, and what that rests on."""
    from fedjoint.pool.money import format_minor
    from fedjoint.pool.statement import Statement
    from fedjoint.pool.year_statement import HolderStatement
    from fedjoint.runs.notation import percent_text
    from fedjoint.runs.sentences import counted

    if isinstance(one, Statement):
        share = percent_text(float(Fraction(one.share)), decimals=2)
        paid = format_minor(one.payout_minor, one.currency)
        yield f"{one.period}: {paid} for a share of {share} (run {one.run_id[:16]}…)"
        yield f"contribution {one.contribution:.6g} of a gain of {one.utility_gain:.6g}; {one.method}"
        if one.contribution_error is not None:
            yield error_in_words(one.contribution_error)
        return
    period = f"{one.first_day} to {one.last_day}"
    if isinstance(one, HolderStatement):
        owed, held = one.payable_carried_minor, one.holdback_carried_minor
        yield f"{period}: {format_minor(owed, one.currency)} owed to you, {format_minor(held, one.currency)} held back"
        what = (counted(len(one.settlements), "settlement"), counted(len(one.claims), "claim"))
        yield f"{what[0]}, {what[1]}, {counted(len(one.lines), 'movement')}; proven to be in the pool's record"
        return
    yield f"{period}: dataset '{one.dataset}' earned {format_minor(one.net_minor, one.currency)}"
    yield f"{counted(len(one.months), 'month')}; proven to be in the pool's record"


def error_in_words(error: StatedError) -> str:
    """How far a contribution could be off, by what, and who is paid alike for it.

    Example:
        >>> from fedjoint.pool.statement import StatedError
        >>> error_in_words(
        ...     StatedError(by_noise=3.0, by_sampling=4.0, paid_alike_with=("bern",), rule="equal", z=1.96)
        ... )
        'standard error 5: by privacy noise 3, by the choice of reference records 4; paid alike with bern'
    """
    whole = math.hypot(error.by_noise, error.by_sampling or 0.0)
    sampling = "not measured" if error.by_sampling is None else f"{error.by_sampling:.3g}"
    if error.by_sampling is None and error.by_sampling_at_most is not None:
        sampling = f"at most {error.by_sampling_at_most:.3g}, which is not counted"
    if error.by_sampling is not None and error.numbers is not None:
        sampling += f" (from {error.numbers} opened numbers: give or take {100 / math.sqrt(2 * error.numbers):.0f} %)"
    words = f"standard error {whole:.3g}: by privacy noise {error.by_noise:.3g}"
    words += f", by the choice of reference records {sampling}"
    alike = ", ".join(error.paid_alike_with)
    return f"{words}; paid alike with {alike}" if alike else words
