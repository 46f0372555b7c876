"""``fedjoint holder sign``: this holder's signature under an agreement."""

from __future__ import annotations

from pathlib import Path

import click

from fedjoint.cli.holder_home import home_option, yes_option
from fedjoint.errors import AgreementError

__all__ = ["command"]


@click.command("sign")
@click.argument("agreement", metavar="AGREEMENT")
@click.option("--data", "data", metavar="NAME", help="Which of your data sets, where more than one fits.")
@home_option
@yes_option
def command(agreement: str, data: str | None, folder: Path, yes: bool) -> None:
    """Repeat the key facts, ask, and sign. What goes beyond your policy cannot be signed.

    \b
    Examples:
      fedjoint holder sign 3f0c9a41
      fedjoint holder sign 3f0c9a41 --data heart --yes
    """
    from fedjoint.cli.holder_home import now, opened, proposal, say, show_differences
    from fedjoint.node.agreements import pick_dataset, sign
    from fedjoint.node.credentials import connect
    from fedjoint.node.page import key_facts

    home, settings = opened(folder)
    own = home.load_identity().id
    with connect(home, settings) as client:
        found, page = proposal(home, client, agreement)
        note = pick_dataset(home, found.terms, data)
        say(f"{page.title} — agreement {page.agreement_sha256}", "bold")
        for sentence in key_facts(found.terms, own):
            say(f"  {sentence}")
        say(f"  It takes your data set '{note.name}' ({note.source.file or note.source.table}).")
        show_differences(page)
        if page.differences:
            raise AgreementError(
                "it goes beyond your policy and cannot be signed",
                remedy="Have the terms changed, or change policy.yaml; fedjoint holder decline says no.",
            )
        if not yes:
            click.confirm(f"Sign for '{own}'?", abort=True)
        missing = sign(home, client, found, note, now=now)
    say("Signed.", "bold green")
    say(f"Still to sign: {', '.join(missing)}" if missing else "All parties have signed.")
    say("The node takes part when the run begins: fedjoint holder start")
