"""``fedjoint exchange statement``: what a holder is told of its money in the pool, for its node to fetch."""

from __future__ import annotations

import json

import click

from fedjoint.cli.exchange_session import ExchangeSession, at, exchange_command

__all__ = ["command"]


@click.command("statement")
@click.argument("holder")
@click.argument("period", nargs=2, metavar="FIRST_DAY LAST_DAY")
@click.option("--dataset", metavar="ID", help="Of one dataset of the holder's: income, contributions, costs.")
@click.option("--json", "as_json", is_flag=True, help="Print the document as JSON.")
@exchange_command
def command(
    session: ExchangeSession, *, holder: str, period: tuple[str, str], dataset: str | None, as_json: bool
) -> None:
    """Issue a holder's signed statement of a period of the exchange's pool; its node fetches it.

    \b
    Example:
      fedjoint exchange statement bern 2026-01-01 2026-12-31 --home exchange
    """
    from fedjoint.exchange.pool import Wanted, issue_statement, require_pool

    wanted = Wanted(holder=holder, first_day=period[0], last_day=period[1], dataset=dataset)
    with require_pool(session.home, session.settings) as pool, session.store() as store:
        exchange = session.home.load_identity()
        document = issue_statement(pool, store.pool_statements, exchange, wanted, at=at())
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(f"Issued to '{holder}' from {period[0]} until {period[1]}; it fetches it by: fedjoint holder statements")
