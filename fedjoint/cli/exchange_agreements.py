"""``fedjoint exchange propose``, ``agreements``, ``show`` and ``run``."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedjoint.cli.exchange_desk import Desk, desk_command
from fedjoint.cli.exchange_session import ExchangeSession, at, exchange_command, now

if TYPE_CHECKING:
    from fedjoint.agreement.terms import Terms

__all__ = ["agreements", "propose", "run", "show"]


@click.command("propose")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--dataset", required=True, help="Name under which holders registered their records.")
@click.option(
    "--reference",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="CSV or Parquet table of the exchange's own records, on which the model is measured; no holder's.",
)
@click.option("--holders", default="", metavar="ID,ID", help="Who takes part; otherwise all that registered it.")
@click.option("--licence", default="", help="Of the data.")
@click.option("--citation", default="", help="What to cite.")
@click.option(
    "--registered",
    multiple=True,
    metavar="HOLDER=ID",
    help="The dataset of the pool's registry that a holder brings; once for each, if the exchange has a pool.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the agreement's hash and parties as JSON.")
@desk_command
def propose(
    desk: Desk,
    *,
    overrides: tuple[str, ...],
    dataset: str,
    reference: Path,
    holders: str,
    registered: tuple[str, ...],
    as_json: bool,
    **words: str,
) -> None:
    """Write an agreement of holders' registered data, sign it for the exchange, and have holders review it.

    Training, privacy, valuation and money are set as for `fedjoint simulate` (KEY=VALUE); `data` and `run` are not
    used. If exchange.yaml names a pool, its registry must allow purpose, parties and datasets today. From another
    machine (--operator) the reference table may have 1 MiB as CSV, and no override may name a file of the exchange's.

    \b
    Example:
      fedjoint exchange propose privacy=joint training.rounds=20 --dataset heart --reference reference.csv
      fedjoint exchange propose --dataset heart --reference r.csv --registered bern=heart-bern --registered ahus=heart-a
      fedjoint exchange propose --dataset heart --reference reference.csv --operator anna.operator
    """
    from fedjoint.data.sources import read_table
    from fedjoint.exchange.proposing import Wanted

    chosen = tuple(dict.fromkeys(part.strip() for part in holders.split(",") if part.strip()))
    table, brought = read_table(reference), _by_holder(registered)
    sha256, missing = desk.propose(
        overrides, Wanted(dataset=dataset, holders=chosen, reference=table, registered=brought, **words)
    )
    if as_json:
        facts = {"sha256": sha256, "unsigned_by": list(missing)}
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"Proposed agreement {sha256}")
    click.echo(f"To be signed by {', '.join(missing)}: fedjoint holder review {sha256[:16]}")


def _by_holder(registered: tuple[str, ...]) -> dict[str, str]:
    from fedjoint.errors import ConfigError

    parts = [text.partition("=") for text in registered]
    if not all(holder and dataset for holder, _, dataset in parts) or len({part[0] for part in parts}) < len(parts):
        raise ConfigError("--registered", expected="HOLDER=ID, once for each holder")
    return {holder: dataset for holder, _, dataset in parts}


@click.command("agreements")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@exchange_command
def agreements(session: ExchangeSession, *, as_json: bool) -> None:
    """List agreements, who has not signed yet, and who declined.

    \b
    Example:
      fedjoint exchange agreements --home exchange
    """
    from fedjoint.exchange.status import status_of

    with session.store() as store:
        found = status_of(session.home, store)["agreements"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        click.echo("No agreement was proposed yet: fedjoint exchange propose")
    for one in found:
        missing = f"; unsigned by {', '.join(one['unsigned_by'])}" if one["unsigned_by"] else ""
        declined = "".join(f"; declined by {holder}: {why}" for holder, why in one["declined_by"].items())
        click.echo(f"{one['sha256']}  {one['state']}  {one['purpose']}{missing}{declined}")


@click.command("show")
@click.argument("agreement")
@exchange_command
def show(session: ExchangeSession, *, agreement: str) -> None:
    """Print an agreement, by its hash or the first digits of it, as JSON.

    \b
    Example:
      fedjoint exchange show 3f0c9a417be2d851
    """
    with session.store() as store:
        document = store.agreements.get(agreement).agreement.to_bytes()
    click.echo(json.dumps(json.loads(document), indent=2, ensure_ascii=False))


def _print_costs(terms: Terms) -> None:
    """What a run will cost, before anything is spent."""
    from fedjoint.cli.progress import in_words
    from fedjoint.training.preview import preview_costs

    for line in in_words(preview_costs(terms)):
        click.echo(line)


@click.command("run")
@click.argument("agreement")
@click.option("--revenue", required=True, metavar="AMOUNT", help="What is to be split, in major units of the currency.")
@click.option("--buyer", default="buyer", show_default=True, help="Id of who pays it.")
@click.option("--name", help="Of the run's folder; otherwise made of the data, the mode and the time.")
@click.option("--json", "as_json", is_flag=True, help="Print the run as JSON.")
@exchange_command
def run(session: ExchangeSession, *, agreement: str, revenue: str, buyer: str, name: str | None, as_json: bool) -> None:
    """Queue a run of an agreement that everybody has signed; the exchange that serves conducts it.

    What it will cost is printed first: bytes, seconds measured on this machine, epsilon of each holder. The pool's
    registry, if exchange.yaml names one, must allow it today, and again on the day that it starts.

    \b
    Example:
      fedjoint exchange run 3f0c9a417be2d851 --revenue 100000.00 --buyer pharma
    """
    from fedjoint.conduct.naming import run_name
    from fedjoint.exchange.gate import gate_of
    from fedjoint.pool.gate import ask_gate
    from fedjoint.pool.money import parse_minor

    with session.store() as store:
        found = store.agreements.get(agreement).agreement
        found.require_all_signatures()
        ask_gate(gate_of(session.home, session.settings), found.terms, now().date())
        if not as_json:
            _print_costs(found.terms)
        terms, run_id = found.terms, secrets.token_hex(16)
        entry = {
            "run_id": run_id,
            "agreement": found.sha256,
            "name": name or run_name(terms.data.name, terms.privacy.mode, run_id, now=now()),
            "gross_minor": parse_minor(revenue, terms.money.currency),
            "buyer": buyer,
            "rounds": terms.training.rounds,
        }
        store.runs.queue(entry, at=at())
    if as_json:
        click.echo(json.dumps(entry, indent=2))
        return
    click.echo(f"Queued run {run_id} of agreement {found.sha256[:16]}: {session.home.runs / str(entry['name'])}")
