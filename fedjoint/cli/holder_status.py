"""``fedjoint holder status``: where this holder stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fedjoint.cli.holder_home import home_option, json_option

__all__ = ["command"]


@click.command("status")
@home_option
@json_option
def command(folder: Path, as_json: bool) -> None:
    """Show exchange, certificate, data sets, agreements and runs.

    \b
    Example:
      fedjoint holder status --home bern
    """
    from fedjoint.cli.holder_home import opened, say
    from fedjoint.node.credentials import connect, own_certificate
    from fedjoint.node.datasets import datasets

    home, settings = opened(folder)
    own = home.load_identity().public
    status: dict[str, Any] = {
        "holder": own.id,
        "fingerprint": own.fingerprint,
        "data": [note.name for note in datasets(home)],
        "exchange": None,
    }
    if home.joined.exists():
        membership = home.load_membership()
        with connect(home, settings) as client:
            agreements, runs = client.agreements().agreements, client.run_status().runs
        status |= {
            "exchange": membership.target,
            "certificate_until": own_certificate(home).not_after.isoformat(),
            "agreements": [
                {"sha256": one.sha256, "state": one.state, "unsigned_by": list(one.unsigned_by)} for one in agreements
            ],
            "runs": [
                {
                    "run_id": one.run_id,
                    "agreement": one.agreement,
                    "state": one.state,
                    "round": one.round,
                    "rounds": one.rounds,
                    "words": one.words,
                    "model_sha256": one.model_sha256,
                }
                for one in runs
            ],
        }
    if as_json:
        click.echo(json.dumps(status, indent=2))
        return
    say(f"{own.name} ({own.id}), keys {own.fingerprint}", "bold")
    say("Data sets: " + (", ".join(status["data"]) or "none"))
    if status["exchange"] is None:
        say("No exchange joined.")
        return
    say(f"Exchange {status['exchange']}; certificate until {status['certificate_until']}")
    for one in status["agreements"]:
        missing = f", to be signed by {', '.join(one['unsigned_by'])}" if one["unsigned_by"] else ""
        say(f"Agreement {one['sha256'][:16]}… {one['state']}{missing}")
    for one in status["runs"]:
        say(f"Run {one['run_id'][:16]}… {one['state']}: round {one['round']} of {one['rounds']} {one['words']}")
