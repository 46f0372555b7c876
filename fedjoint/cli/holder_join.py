"""``fedjoint holder join``: enrolment with an exchange."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from fedjoint.cli.holder_home import home_option

__all__ = ["command"]


@click.command("join")
@click.argument("target", metavar="HOST:PORT")
@click.option(
    "--invite",
    "invite",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="The exchange's invitation, a file of mode 0600; - reads it from standard input.",
)
@home_option
def command(target: str, invite: Path, folder: Path) -> None:
    """Enrol with an exchange. The TLS key is made here; only a request for a certificate leaves.

    Compare the two fingerprints with the exchange by telephone: they say that nobody stands in between.

    \b
    Examples:
      fedjoint holder join exchange.example:8443 --invite bern.invitation --home bern
      ssh exchange cat bern.invitation | fedjoint holder join exchange.example:8443 --invite - --home bern
    """
    from fedjoint.cli.holder_home import now, opened, say
    from fedjoint.identity.certificates import fingerprint_of
    from fedjoint.identity.invitation import read_invitation
    from fedjoint.node.credentials import connect, join, own_certificate
    from fedjoint.node.datasets import datasets, registration

    home, settings = opened(folder)
    membership = join(home, read_invitation(invite), target, settings, now=datetime.now(UTC))
    exchange = membership.exchange
    say(f"Joined {exchange.name} ({exchange.id}) at {target}", "bold")
    say("Compare by telephone, before you sign anything:")
    say(f"  the exchange's keys       {exchange.fingerprint}")
    say(f"  the exchange's authority  {fingerprint_of(membership.authority.encode())}")
    say(f"  your keys                 {home.load_identity().public.fingerprint}")
    say(f"  your node's certificate   {own_certificate(home).fingerprint}")
    say(f"The certificate is valid until {own_certificate(home).not_after:%Y-%m-%d}; the node renews it by itself.")
    with connect(home, settings) as client:
        for note in datasets(home):
            client.register_dataset(registration(home, note, now=now))
            say(f"Data set '{note.name}' is registered.")
