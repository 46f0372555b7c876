"""``fedjoint holder init``: a holder's folder."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@click.option("--id", "party", required=True, metavar="ID", help="1 to 63 of a-z, 0-9, _ and -, as in the invitation.")
@click.option("--name", required=True, metavar="NAME", help="For people.")
def command(folder: Path, party: str, name: str) -> None:
    """Make a holder's folder: its keys (mode 0600), a policy with comments, and settings.

    The keys sign agreements in this holder's name. They are made here and never leave.

    \b
    Example:
      fedjoint holder init bern --id bern --name "Inselspital Bern"
    """
    from fedjoint.cli.holder_home import say
    from fedjoint.identity.keys import Identity
    from fedjoint.node.home import create_home
    from fedjoint.node.policy_text import POLICY
    from fedjoint.node.settings import TEMPLATE

    identity = Identity.create(party, name)
    home = create_home(folder, identity, policy=POLICY, settings=TEMPLATE)
    say(f"Made {folder}: {name} ({party})", "bold")
    say(f"Fingerprint of your keys: {identity.public.fingerprint}")
    say(f"Next: read and correct {home.policy}, then run: fedjoint holder join HOST:PORT --invite FILE --home {folder}")
