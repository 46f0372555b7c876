"""``fedjoint pool``: money that goes back, or changes its currency."""

from __future__ import annotations

from typing import Literal

import click

from fedjoint.cli.pool_session import Session, moves_money, now, pool_command

__all__ = ["COMMANDS"]


def _give_back(
    session: Session, settlement_id: str, buyer: str, amount: str, how: Literal["refund", "credit note"]
) -> None:
    from fedjoint.pool.corrections import give_back
    from fedjoint.pool.facts import GivenBack
    from fedjoint.pool.money import parse_minor

    state, at = session.state(), now()
    given = GivenBack(
        settlement=settlement_id,
        buyer=buyer,
        amount_minor=parse_minor(amount, state.rules.money.currency),
        before_minor=sum(one.amount_minor for one in state.given_back.get(settlement_id, ())),
        how=how,
    )
    session.act(lambda state, books: give_back(state, given, books=books, at=at))


@click.command("refund")
@click.argument("settlement_id")
@click.argument("buyer")
@click.argument("amount")
@moves_money
@pool_command
def refund(session: Session, *, settlement_id: str, buyer: str, amount: str) -> None:
    """Give a buyer money back: everybody gives of it in proportion to what the settlement gave them.

    \b
    Example:
      fedjoint pool refund 2026-q1 insurer 5000.00
    """
    _give_back(session, settlement_id, buyer, amount, "refund")


@click.command("credit-note")
@click.argument("settlement_id")
@click.argument("buyer")
@click.argument("amount")
@moves_money
@pool_command
def credit_note(session: Session, *, settlement_id: str, buyer: str, amount: str) -> None:
    """As a refund, but the buyer may only spend it here (fedjoint pool deposit --from-credit).

    \b
    Example:
      fedjoint pool credit-note 2026-q1 insurer 5000.00
    """
    _give_back(session, settlement_id, buyer, amount, "credit note")


@click.command("convert")
@click.argument("conversion_id")
@click.argument("amount")
@click.option("--of", "of", required=True, metavar="CODE", help="ISO 4217 code of what is given.")
@click.option("--rate", required=True, help="What one unit of it is worth in the pool's currency, such as 7.1234.")
@click.option("--source", required=True, help="Who published the rate, and when.")
@moves_money
@pool_command
def convert_(session: Session, *, conversion_id: str, amount: str, of: str, rate: str, source: str) -> None:
    """Turn revenue that waits in another currency into the pool's, at a rate that is written down with its source.

    \b
    Example:
      fedjoint pool convert fx-1 1000.00 --of USD --rate 7.1234 --source "PBOC, 2026-11-20"
    """
    from fedjoint.pool.conversion import Rate
    from fedjoint.pool.corrections import convert
    from fedjoint.pool.facts import Converted
    from fedjoint.pool.money import parse_minor

    into, at = session.state().rules.money.currency, now()
    converted = Converted(
        id=conversion_id,
        amount_minor=parse_minor(amount, of),
        rate=Rate(of=of, into=into, rate=rate, source=source),
    )
    session.act(lambda state, books: convert(state, converted, books=books, at=at))


@click.command("return-excess")
@click.argument("return_id")
@moves_money
@pool_command
def return_excess_(session: Session, *, return_id: str) -> None:
    """Give what the reserve holds above its target back to the holders, pro rata to what each paid in.

    \b
    Example:
      fedjoint pool return-excess 2026 --dry-run
    """
    from fedjoint.pool.corrections import return_excess

    at = now()
    session.act(lambda state, books: return_excess(state, return_id, books=books, at=at))


COMMANDS: tuple[click.Command, ...] = (refund, credit_note, convert_, return_excess_)
