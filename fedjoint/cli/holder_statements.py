"""``fedjoint holder statements``: what was paid, and why."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import click

from fedjoint.cli.holder_home import home_option, json_option

__all__ = ["command"]


@click.command("statements")
@home_option
@json_option
def command(folder: Path, as_json: bool) -> None:
    """Fetch your statements, check each against the exchange's key, and keep them in your folder.

    \b
    Example:
      fedjoint holder statements --home bern
    """
    from fedjoint.cli.holder_home import opened, say
    from fedjoint.errors import PoolError
    from fedjoint.files import replace_file
    from fedjoint.node.credentials import connect
    from fedjoint.pool.money import format_minor
    from fedjoint.pool.statement import read_statement
    from fedjoint.runs.notation import percent_text
    from fedjoint.runs.sentences import counted
    from fedjoint.strict import plain

    home, settings = opened(folder)
    exchange, own = home.load_membership().exchange, home.load_identity().id
    found = []
    with connect(home, settings) as client:
        for summary in client.statements().statements:
            document = client.get_statement(summary.id)
            statement = read_statement(document, exchange)
            if statement.holder != own:
                raise PoolError(f"the exchange gave the statement of '{statement.holder}'", expected=f"that of '{own}'")
            replace_file(home.statements / f"{statement.run_id}.json", document)
            found.append(statement)
    if as_json:
        click.echo(json.dumps([plain(statement) for statement in found], indent=2))
        return
    for one in found:
        amount = format_minor(one.payout_minor, one.currency)
        share = percent_text(float(Fraction(one.share)), decimals=2)
        say(f"{one.period}: {amount} for a share of {share} (run {one.run_id[:16]}…)", "bold")
        say(f"  contribution {one.contribution:.6g} of a gain of {one.utility_gain:.6g}; {one.method}")
    if not found:
        say("No statement yet: there is one for each run that has finished.")
        return
    say(f"{counted(len(found), 'statement')}, each signed by {exchange.name}; kept in {home.statements}")
