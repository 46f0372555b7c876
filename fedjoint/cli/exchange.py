"""``fedjoint exchange``: the coordinator of a consortium, as one process on one port."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
from pathlib import Path
from types import FrameType

import click

from fedjoint.cli.exchange_agreements import agreements, propose, run, show
from fedjoint.cli.exchange_claim import command as claim
from fedjoint.cli.exchange_operator import operator, status
from fedjoint.cli.exchange_register import command as register
from fedjoint.cli.exchange_session import ExchangeSession, at, exchange_command, now
from fedjoint.cli.exchange_statement import command as statement
from fedjoint.cli.lazy import PlainGroup

__all__ = ["command"]


@click.group("exchange", cls=PlainGroup)
def command() -> None:
    """Coordinate a consortium: invite holders, propose agreements, conduct runs, settle.

    \b
    Example:
      fedjoint exchange init exchange --name "Health data exchange" --host exchange.example:8443
      fedjoint exchange invite cleveland --name "Cleveland Clinic" --out cleveland.invitation --home exchange
      fedjoint exchange start exchange
      fedjoint exchange propose privacy=joint --dataset heart --reference reference.csv --home exchange
      fedjoint exchange run AGREEMENT --revenue 100000.00 --home exchange
    """


for one in (propose, agreements, show, run, claim, register, statement, operator, status):
    command.add_command(one)


@command.command("init")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", required=True, help="Of the exchange, for people.")
@click.option("--id", "party", default="exchange", show_default=True, help="Of the exchange, in agreements.")
@click.option("--host", required=True, metavar="HOST:PORT", help="What holders connect to.")
@click.option(
    "--database-url",
    metavar="URL",
    help="PostgreSQL or SQLite, by SQLAlchemy URL without a password; otherwise SQLite in the folder.",
)
def init(folder: Path, *, name: str, party: str, host: str, database_url: str | None) -> None:
    """Make an exchange: its keys, its certificate authority, its settings and its database.

    \b
    Example:
      fedjoint exchange init exchange --name "Health data exchange" --host exchange.example:8443
    """
    from fedjoint.exchange.home import create_home
    from fedjoint.identity.certificates import fingerprint_of
    from fedjoint.pool.engine_store_sql import database_url as checked_url

    if database_url is not None:
        checked_url(database_url, {}, default="")  # a password on the command line can be read by everybody here
    home = create_home(folder, name=name, party=party, address=host, now=now(), database_url=database_url)
    with ExchangeSession.of(folder).store():
        pass  # made, so that whatever stands against it is told now
    authority = fingerprint_of(home.load_authority().pem)
    click.echo(f"Made exchange '{party}' in {folder}. Settings: {home.settings_file}")
    click.echo(f"Fingerprint of its authority: {authority}")
    click.echo("Holders see it when they join: have them compare it by telephone.")


@command.command("start")
@click.argument(
    "folder", type=click.Path(path_type=Path, file_okay=False), envvar="FEDJOINT_EXCHANGE_HOME", default=Path()
)
@click.option(
    "--door",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="SOCKET",
    help="Runs go through a stock Flower federation, which asks at this Unix socket; its folder must be yours alone.",
)
def start(folder: Path, door: Path | None) -> None:
    """Serve holders on one port until SIGTERM, SIGINT or `fedjoint exchange stop`.

    A run that is on is left as it is, and goes on at the next start. The log is JSON lines on standard error.

    \b
    Example:
      fedjoint exchange start exchange
      fedjoint exchange start exchange --door /run/fedjoint/exchange.sock
    """
    from fedjoint.exchange.process import Serving, serve
    from fedjoint.logs import log_to

    session = ExchangeSession.of(folder)
    settings = session.settings
    if door is not None:
        settings = dataclasses.replace(settings, door=str(door.absolute()))
    log_to(level=settings.log_level)
    stop = threading.Event()

    def told(number: int, frame: FrameType | None = None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second one of the terminal ends it at once

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)

    def ready(serving: Serving) -> None:
        click.echo(f"Serving on port {serving.port} (process {os.getpid()})")
        if settings.door is not None:
            click.echo(f"Runs go through the door {session.home.folder / settings.door}")

    serve(session.home, settings, stop=stop, now=now, on_ready=ready)


@command.command("stop")
@exchange_command
def stop(session: ExchangeSession) -> None:
    """Ask the process that serves to stop; a run that is on goes on at the next start.

    \b
    Example:
      fedjoint exchange stop --home exchange
    """
    from fedjoint.exchange.process import STOP
    from fedjoint.exchange.status import serving_of

    with session.store() as store:
        if serving_of(session.home) is None:
            click.echo("Nothing serves this folder: there is nothing to stop.")
            return
        store.wishes.make(STOP, at=at())
    click.echo("Asked it to stop.")


@command.command("invite")
@click.argument("holder")
@click.option("--name", required=True, help="Of the holder, for people.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it; HOLDER.invitation.")
@exchange_command
def invite(session: ExchangeSession, *, holder: str, name: str, out: Path | None) -> None:
    """Write an invitation: whoever has the file may join as HOLDER, once, until it expires.

    Hand it over by a way of your own; it is a secret, in a file that only you can read.

    \b
    Example:
      fedjoint exchange invite cleveland --name "Cleveland Clinic" --out cleveland.invitation
    """
    from fedjoint.exchange.certification import Gate
    from fedjoint.files import require_new
    from fedjoint.identity.certificates import fingerprint_of
    from fedjoint.identity.invitation import write_invitation

    authority, target = session.home.load_authority(), out or Path(f"{holder}.invitation")
    require_new(target)  # told before an earlier invitation is withdrawn
    with session.store() as store:
        gate = Gate(authority, store.members, settings=session.settings, now=now)
        exchange_name = session.home.load_identity().public.name
        invitation = gate.invite(holder, name, exchange_name=exchange_name)
    write_invitation(invitation, target)
    click.echo(f"Invitation of '{holder}' written to {target}; it expires at {invitation.expires_at}.")
    click.echo(f"Fingerprint to compare by telephone: {fingerprint_of(authority.pem)}")


@command.command("revoke")
@click.argument("party", metavar="HOLDER|OPERATOR")
@click.option("--reason", default="", help="For people.")
@exchange_command
def revoke(session: ExchangeSession, *, party: str, reason: str) -> None:
    """Revoke the certificates and invitations of a holder or operator: its connection ends at once; none is let in.

    \b
    Example:
      fedjoint exchange revoke cleveland --reason "a lost laptop"
    """
    with session.store() as store:
        count = store.members.revoke(party, state="revoked", reason=reason, at=at())
    click.echo(f"Revoked {count} certificate{'' if count == 1 else 's'} of '{party}'.")


@command.command("renew")
@exchange_command
def renew(session: ExchangeSession) -> None:
    """Issue the exchange's own TLS certificate anew, for the hosts in its settings; a restart takes it up.

    \b
    Example:
      fedjoint exchange renew --home exchange
    """
    from fedjoint.exchange.home import renew_certificate
    from fedjoint.identity.certificates import read_certificate

    certificate = read_certificate(renew_certificate(session.home, session.settings, now=now()))
    click.echo(f"Certificate renewed until {certificate.not_after:%Y-%m-%d}; restart the exchange to serve with it.")


@command.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@exchange_command
def backup(session: ExchangeSession, *, file: Path) -> None:
    """Write keys, settings, database and runs to one new file of mode 0600; the exchange may be serving.

    \b
    Example:
      fedjoint exchange backup exchange-2026-11-22.tar.gz --home exchange
    """
    from fedjoint.exchange.backup import back_up

    missing = back_up(session.home, session.settings, file)
    click.echo(f"Backup written to {file}. Whoever has it has the exchange's keys.")
    for one in missing:
        click.echo(f"Not in it: {one}, which is elsewhere. Back it up by its own tools (pg_dump), right before this.")


@command.command("restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def restore(file: Path, folder: Path) -> None:
    """Make an exchange's folder from a backup; stop the old exchange first, and for good.

    \b
    Example:
      fedjoint exchange restore exchange-2026-11-22.tar.gz exchange
    """
    from fedjoint.exchange.backup import restore as unpack

    unpack(file, folder)
    click.echo(f"Restored to {folder}. Start it: fedjoint exchange start {folder}")
