"""``fedjoint exchange operator`` and ``status``: who works for the exchange from elsewhere, and how it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fedjoint.cli.exchange_desk import Desk, desk_command
from fedjoint.cli.exchange_session import ExchangeSession, exchange_command, now

__all__ = ["operator", "status"]


@click.command("operator")
@click.argument("party", metavar="OPERATOR")
@click.option("--name", required=True, help="Of the operator, for people.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it; OPERATOR.operator.")
@exchange_command
def operator(session: ExchangeSession, *, party: str, name: str, out: Path | None) -> None:
    """Let a member of staff propose agreements and see the status from another machine: write its key and certificate.

    Hand the file over by a way of your own; it is a secret, and the exchange keeps no copy of its key. Written again
    for the same OPERATOR, the file before is good for nothing. To take it back: fedjoint exchange revoke OPERATOR

    \b
    Example:
      fedjoint exchange operator anna --name "Anna Berg" --out anna.operator --home exchange
      fedjoint exchange status --operator anna.operator
    """
    from fedjoint.exchange.certification import Gate
    from fedjoint.files import require_new
    from fedjoint.identity.operator_file import write_operator_file

    target = out or Path(f"{party}.operator")
    require_new(target)  # told before an earlier file is good for nothing
    with session.store() as store:
        gate = Gate(session.home.load_authority(), store.members, settings=session.settings, now=now)
        found = gate.appoint(party, name)
    write_operator_file(found, target)
    click.echo(f"Key and certificate of operator '{party}' written to {target}; they expire at {found.expires_at}.")


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@desk_command
def status(desk: Desk, *, as_json: bool) -> None:
    """Say whether it serves, who is connected, what is agreed, how far runs are, and which claims there are.

    \b
    Example:
      fedjoint exchange status --home exchange
      fedjoint exchange status --operator anna.operator --at exchange.example:8443 --json
    """
    found = desk.status()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for line in _in_words(found):
        click.echo(line)


def _in_words(found: dict[str, Any]) -> list[str]:
    serving = found["serving"]
    lines = [f"Serving on port {serving['port']} (process {serving['pid']})" if serving else "Not serving"]
    for party in found["parties"]:
        link = "connected" if party["connected"] else "not connected"
        datasets = ", ".join(f"{one['name']} ({one['num_examples']} {one['unit']}s)" for one in party["datasets"])
        lines.append(f"  {party['id']} ({party['name']}): {party['state']}, {link}; {datasets or 'no data registered'}")
    for one in found["operators"]:
        good = f"until {one['good_until'][:10]}" if one["good_until"] else "revoked"
        lines.append(f"  {one['id']} ({one['name']}): operator, {good}")
    for agreement in found["agreements"]:
        missing = f", unsigned by {', '.join(agreement['unsigned_by'])}" if agreement["unsigned_by"] else ""
        lines.append(f"Agreement {agreement['sha256'][:16]} ({agreement['purpose']}): {agreement['state']}{missing}")
    for entry in found["runs"]:
        lines.append(f"Run {entry['run_id'][:16]}: {entry['state']}, round {entry['round']} of {entry['rounds']}")
        lines += [f"  {entry['words']}"] if entry["words"] else []
        for holder, missed in entry["stragglers"].items():
            lines.append(f"  {holder} missed {missed['missed']} rounds, last {missed['last_round']} ({missed['code']})")
    for against in found["claims"]:
        waits = "".join(f"; {one['verb']} waits for {one['missing']} more" for one in against["waiting"])
        lines.append(f"Claim {against['id']} ({against['kind']}): {against['state']}{waits}")
    return lines
