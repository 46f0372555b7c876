"""``fedjoint pool``: money that comes in."""

from __future__ import annotations

from pathlib import Path

import click

from fedjoint.cli.lazy import PlainGroup
from fedjoint.cli.pool_session import Session, moves_money, now, pool_command, require_yes

__all__ = ["COMMANDS"]


@click.command("deposit")
@click.argument("deposit_id")
@click.argument("party")
@click.argument("amount")
@click.option("--currency", help="ISO 4217 code; the pool's by default. Another one waits until it is converted.")
@click.option("--from-credit", is_flag=True, help="A buyer pays with what credit notes gave it.")
@moves_money
@pool_command
def deposit_(
    session: Session, *, deposit_id: str, party: str, amount: str, currency: str | None, from_credit: bool
) -> None:
    """Take in money: a buyer's waits to be settled, a holder's goes against what it owes.

    \b
    Example:
      fedjoint pool deposit invoice-7 insurer 100000.00
    """
    from fedjoint.pool.facts import Deposited
    from fedjoint.pool.money import parse_minor
    from fedjoint.pool.receipts import deposit

    chosen, at = currency or session.state().rules.money.currency, now()
    deposited = Deposited(
        id=deposit_id,
        party=party,
        amount_minor=parse_minor(amount, chosen),
        currency=chosen,
        from_credit=from_credit,
    )
    session.act(lambda state, books: deposit(state, deposited, books=books, at=at))


@click.command("meter")
@click.argument("meter_id")
@click.argument("buyer")
@click.option("--first", type=click.IntRange(min=0), required=True, help="Number of the batch's first query, from 0.")
@click.option("--count", type=click.IntRange(min=1), required=True, help="How many queries.")
@click.option("--price", "price", required=True, metavar="AMOUNT", help="Of a thousand queries.")
@moves_money
@pool_command
def meter(session: Session, *, meter_id: str, buyer: str, first: int, count: int, price: str) -> None:
    """Take in what a buyer paid for a batch of metered queries.

    \b
    Example:
      fedjoint pool meter api insurer --first 0 --count 25000 --price 40.00
    """
    from fedjoint.pool.facts import Queries, Received
    from fedjoint.pool.money import parse_minor
    from fedjoint.pool.receipts import receive

    currency, at = session.state().rules.money.currency, now()
    queries = Queries(
        meter=meter_id, buyer=buyer, price_per_1000_minor=parse_minor(price, currency), first=first, count=count
    )
    received = Received(currency=currency, queries=(queries,))
    session.act(lambda state, books: receive(state, received, books=books, at=at))


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--pool", "folder", type=click.Path(path_type=Path), default=Path("pool"), help="The pool's folder.")
@click.option("--database-url", "url", help="A database elsewhere, such as postgresql://user@host/pool.")
@click.option("--yes", is_flag=True, help="Post without asking, for scripts.")
@click.option("--dry-run", is_flag=True, help="Read and add up, and change nothing.")
def import_(file: Path, *, as_json: bool, folder: Path, url: str | None, yes: bool, dry_run: bool) -> None:
    """Take in many revenues from a file of JSON lines, invoices or metered queries; repeating it completes it.

    A line is {"id", "buyer", "amount_minor"} or {"meter", "buyer", "price_per_1000_minor", "first", "count"}.

    \b
    Example:
      fedjoint pool import january.jsonl
    """
    from fedjoint.pool.imports import read_revenues, sum_of
    from fedjoint.pool.money import format_minor
    from fedjoint.pool.receipts import receive

    session = Session(folder=folder, url=url, as_json=as_json, dry_run=dry_run, yes=yes)
    with session.store() as store:
        currency = store.state().rules.money.currency
        count, total = sum_of(read_revenues(file, currency=currency))
        words = f"{count} revenues of {format_minor(total, currency)} in all"
        if not as_json:
            click.echo(words)
        posted = 0
        if not dry_run:
            if not yes:
                require_yes(f"Post exactly this, {words}?")
            at = now()
            for received in read_revenues(file, currency=currency):
                done = store.act(
                    lambda inside, received=received: receive(inside.state(), received, books=inside, at=at)  # type: ignore[misc]
                )
                posted += len(done.entries)
        facts = {"revenues": count, "total_minor": total, "currency": currency, "posted": posted, "dry_run": dry_run}
        session.show(facts, ["nothing was changed (dry run)" if dry_run else f"posted {posted}; the rest was known"])


@click.command("subscribe")
@click.argument("subscription_id")
@click.argument("buyer")
@click.argument("amount")
@click.option("--months", type=click.IntRange(min=1), required=True, help="Over which it is earned, in equal parts.")
@moves_money
@pool_command
def subscribe_(session: Session, *, subscription_id: str, buyer: str, amount: str, months: int) -> None:
    """Take in a subscription's money; it is deferred, and earned month by month (fedjoint pool earn).

    \b
    Example:
      fedjoint pool subscribe sub-2026 insurer 120000.00 --months 12
    """
    from fedjoint.pool.money import parse_minor
    from fedjoint.pool.receipts import subscribe
    from fedjoint.pool.revenue import Subscription

    currency, at = session.state().rules.money.currency, now()
    amount_minor = parse_minor(amount, currency)
    found = Subscription(
        id=subscription_id, buyer=buyer, currency=currency, amount_minor=amount_minor, num_periods=months
    )
    session.act(lambda state, books: subscribe(state, found, books=books, at=at))


@click.command("earn")
@click.argument("subscription_id")
@click.argument("period", type=click.IntRange(min=1))
@moves_money
@pool_command
def earn_(session: Session, *, subscription_id: str, period: int) -> None:
    """A month of a subscription, counted from 1, is over: its part can be settled.

    \b
    Example:
      fedjoint pool earn sub-2026 1
    """
    from fedjoint.pool.facts import Earned
    from fedjoint.pool.receipts import earn

    earned, at = Earned(subscription=subscription_id, period=period), now()
    session.act(lambda state, books: earn(state, earned, books=books, at=at))


@click.group("voucher", cls=PlainGroup)
def voucher() -> None:
    """Compute vouchers: a subsidiser's money for holders' compute costs, which expires.

    \b
    Example:
      fedjoint pool voucher fund green-2026 subsidiser 5000.00 --expires 2026-12-31T00:00:00Z
    """


@voucher.command("fund")
@click.argument("voucher_id")
@click.argument("subsidiser")
@click.argument("amount")
@click.option("--expires", required=True, metavar="TIME", help="Such as 2026-12-31T00:00:00Z.")
@moves_money
@pool_command
def voucher_fund(session: Session, *, voucher_id: str, subsidiser: str, amount: str, expires: str) -> None:
    """Take in a subsidiser's money.

    \b
    Example:
      fedjoint pool voucher fund green-2026 subsidiser 5000.00 --expires 2026-12-31T00:00:00Z
    """
    from fedjoint.pool.money import parse_minor
    from fedjoint.pool.receipts import fund_voucher
    from fedjoint.pool.vouchers import Voucher

    currency, at = session.state().rules.money.currency, now()
    found = Voucher(
        id=voucher_id,
        subsidiser=subsidiser,
        currency=currency,
        amount_minor=parse_minor(amount, currency),
        expires=expires,
    )
    session.act(lambda state, books: fund_voucher(state, found, books=books, at=at))


@voucher.command("spend")
@click.argument("voucher_id")
@click.argument("spending_id")
@click.argument("holder")
@click.argument("amount")
@moves_money
@pool_command
def voucher_spend(session: Session, *, voucher_id: str, spending_id: str, holder: str, amount: str) -> None:
    """Pay a holder's compute costs with a voucher.

    \b
    Example:
      fedjoint pool voucher spend green-2026 run-7 north 310.00
    """
    from fedjoint.pool.facts import VoucherSpent
    from fedjoint.pool.money import parse_minor
    from fedjoint.pool.receipts import spend_voucher

    minor, at = parse_minor(amount, session.state().rules.money.currency), now()
    spent = VoucherSpent(voucher=voucher_id, id=spending_id, holder=holder, amount_minor=minor)
    session.act(lambda state, books: spend_voucher(state, spent, books=books, at=at))


@voucher.command("expire")
@click.argument("voucher_id")
@moves_money
@pool_command
def voucher_expire(session: Session, *, voucher_id: str) -> None:
    """Give what is left of an expired voucher back to its subsidiser.

    \b
    Example:
      fedjoint pool voucher expire green-2026
    """
    from fedjoint.pool.receipts import expire_voucher

    at = now()
    session.act(lambda state, books: expire_voucher(state, voucher_id, books=books, at=at))


COMMANDS: tuple[click.Command, ...] = (deposit_, meter, import_, subscribe_, earn_, voucher)
