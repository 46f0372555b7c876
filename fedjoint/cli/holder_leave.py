"""``fedjoint holder leave``: the end of a membership."""

from __future__ import annotations

from pathlib import Path

import click

from fedjoint.cli.holder_home import home_option, yes_option

__all__ = ["command"]


@click.command("leave")
@click.option("--reason", default="", metavar="WORDS", help="For the exchange's people.")
@home_option
@yes_option
def command(reason: str, folder: Path, yes: bool) -> None:
    """Leave the exchange: your certificate ends at once, and you are in no further agreement.

    Your keys, budgets, agreements and statements stay in your folder. What was agreed stays agreed: the exchange still
    owes you what your statements say.

    \b
    Example:
      fedjoint holder leave --reason "the study has ended"
    """
    from fedjoint.cli.holder_home import opened, say
    from fedjoint.node.credentials import connect
    from fedjoint.transport.services import exchange_pb2 as api

    home, settings = opened(folder)
    membership = home.load_membership()
    if not yes:
        click.confirm(f"Leave {membership.exchange.name} at {membership.target}?", abort=True)
    with connect(home, settings) as client:
        client.leave(api.LeaveRequest(reason=reason))
    home.forget_membership()
    say(f"Left {membership.exchange.name}. Another invitation lets you in again.")
