"""``fedjoint holder review``: an agreement in plain words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedjoint.cli.holder_home import home_option, json_option
from fedjoint.errors import ConfigError

if TYPE_CHECKING:
    from fedjoint.node.page import Page

__all__ = ["command"]


@click.command("review")
@click.argument("agreement", required=False, metavar="[AGREEMENT]")
@click.option(
    "--pending", is_flag=True, help="Every agreement that waits for your signature; the same without AGREEMENT."
)
@home_option
@json_option
def command(agreement: str | None, pending: bool, folder: Path, as_json: bool) -> int:
    """Say in plain words what will be done with which data, at which epsilon, with whom, for which money.

    What goes beyond your policy is in red, and the command exits with 1.

    \b
    Examples:
      fedjoint holder review --pending
      fedjoint holder review 3f0c9a41
    """
    if agreement is not None and pending:
        raise ConfigError("both AGREEMENT and --pending", expected="one of them")
    from fedjoint.cli.holder_home import opened, proposal, say
    from fedjoint.node.credentials import connect
    from fedjoint.strict import plain

    home, settings = opened(folder)
    own = home.load_identity().id
    with connect(home, settings) as client:
        starts = [agreement] if agreement is not None else []
        if agreement is None:
            starts = [one.sha256 for one in client.agreements().agreements if _waits(one, own)]
        pages = [proposal(home, client, start)[1] for start in starts]
    if as_json:
        click.echo(json.dumps([plain(page) for page in pages], indent=2))
    else:
        for page in pages:
            _show(page)
        if not pages:
            say("Nothing waits for your signature.")
    return 1 if any(page.differences for page in pages) else 0


def _waits(summary: object, own: str) -> bool:
    return own in getattr(summary, "unsigned_by", ()) and getattr(summary, "state", "") == "proposed"


def _show(page: Page) -> None:
    from fedjoint.cli.holder_home import say, show_differences

    say(f"{page.title} — agreement {page.agreement_sha256[:16]}…", "bold")
    for section in page.sections:
        say(section.heading, "bold cyan")
        for sentence in section.sentences:
            say(f"  {sentence}")
    say("Your policy", "bold cyan")
    show_differences(page)
    if not page.differences:
        say(f"To sign: fedjoint holder sign {page.agreement_sha256[:16]}")
