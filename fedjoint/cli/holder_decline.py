"""``fedjoint holder decline``: no to an agreement."""

from __future__ import annotations

from pathlib import Path

import click

from fedjoint.cli.holder_home import home_option

__all__ = ["command"]


@click.command("decline")
@click.argument("agreement", metavar="AGREEMENT")
@click.option("--reason", required=True, metavar="WORDS", help="For the exchange's people.")
@home_option
def command(agreement: str, reason: str, folder: Path) -> None:
    """Say that you will not sign; the agreement cannot be run then.

    \b
    Example:
      fedjoint holder decline 3f0c9a41 --reason "epsilon is too high for us"
    """
    from fedjoint.cli.holder_home import opened, say
    from fedjoint.node.agreements import find
    from fedjoint.node.credentials import connect

    home, settings = opened(folder)
    with connect(home, settings) as client:
        sha256 = find(client, agreement)
        client.decline(sha256, reason)
    say(f"Declined {sha256[:16]}….")
