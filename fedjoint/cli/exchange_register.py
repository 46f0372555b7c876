"""``fedjoint exchange register``: a member of the exchange becomes a party of the pool that it keeps."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import click

from fedjoint.cli.exchange_session import ExchangeSession, at, exchange_command, now

__all__ = ["command"]

_YEAR = timedelta(days=365)


@click.command("register")
@click.argument("member")
@click.option("--legal-id", required=True, help="Its number in a public register, such as CN/91110108MA01.")
@click.option(
    "--role",
    type=click.Choice(["holder", "buyer", "claimant", "expert", "insurer"]),
    default="holder",
    show_default=True,
    help="What it takes part as; an expert sits on panels.",
)
@click.option("--until", metavar="DAY", help="Last day, such as 2027-12-31; otherwise a year from today.")
@click.option("--iban", help="Where it is paid to.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@exchange_command
def command(session: ExchangeSession, *, member: str, until: str | None, as_json: bool, **facts: Any) -> None:
    """Register a member in the exchange's pool, with the keys that it enrolled with: now it can be paid, and claim.

    \b
    Example:
      fedjoint exchange register bern --legal-id CHE-101.000.001 --home exchange
    """
    from fedjoint.exchange.pool import Person, register_member, require_pool
    from fedjoint.strict import plain

    last = until or (now() + _YEAR).date().isoformat()
    person = Person(until=last, **facts)
    with require_pool(session.home, session.settings) as pool, session.store() as store:
        found = register_member(pool, store.members, member, person, at=at())
    if as_json:
        click.echo(json.dumps(plain(found), indent=2))
        return
    keys = found.identity.fingerprint
    click.echo(f"Registered '{member}' ({found.legal_id}) as {found.role} until {last}, with keys {keys}")
