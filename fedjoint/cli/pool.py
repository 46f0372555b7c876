"""``fedjoint pool``: the compensation pool's money."""

from __future__ import annotations

from pathlib import Path

import click

from fedjoint.cli import pool_corrections, pool_receipts, pool_statement
from fedjoint.cli.lazy import PlainGroup
from fedjoint.cli.pool_session import Session, key_option, moves_money, now, parse_json_file, pool_command

__all__ = ["command"]


@click.group("pool", cls=PlainGroup)
def command() -> None:
    """Take in revenue, divide it, pay it out, and give everybody a statement that they can verify.

    \b
    Example:
      fedjoint pool open rules.json --key exchange.key
      fedjoint pool deposit invoice-7 insurer 100000.00
      fedjoint pool settle 2026-q1 100000.00 --by contributions.json --dry-run
      fedjoint pool balance
    """


for _part in (pool_receipts, pool_corrections, pool_statement):
    for _command in _part.COMMANDS:
        command.add_command(_command)


@command.command("open")
@click.argument("file", type=click.Path(path_type=Path))
@key_option
@moves_money
@pool_command
def open_(session: Session, *, file: Path, key: Path) -> None:
    """Open a pool with rules that nothing changes later, from a JSON file: pool_id, money, claims, tranche_minor.

    \b
    Example:
      fedjoint pool open rules.json --key exchange.key
    """
    from fedjoint.errors import PoolError
    from fedjoint.identity.keys import Identity
    from fedjoint.pool.desk import open_pool
    from fedjoint.pool.facts import Opened
    from fedjoint.strict import build, plain

    facts = {"money": {}, "claims": {}, **parse_json_file(file), "exchange": plain(Identity.load(key).public)}
    opened, at = build(Opened, facts, error=PoolError, where="rules"), now()
    session.act(lambda state, _: open_pool(state, opened, at=at))


@command.command("settle")
@click.argument("settlement_id")
@click.argument("amount")
@click.option(
    "--by",
    "file",
    type=click.Path(path_type=Path),
    help="JSON: contributions and datasets by holder; sizes, errors, method, run_id, agreement_sha256, alike, costs.",
)
@click.option("--run", type=click.Path(path_type=Path, exists=True, file_okay=False), help="A run's folder instead.")
@click.option("--costs", type=click.Path(path_type=Path), multiple=True, help="With --run: what a holder metered.")
@moves_money
@pool_command
def settle_(
    session: Session, *, settlement_id: str, amount: str, file: Path | None, run: Path | None, costs: tuple[Path, ...]
) -> None:
    """Divide revenue that was taken in among exchange, reserve and the holders whose datasets are valid today.

    With --run the contributions, their error bars, method and sizes are those of a run, which is verified first; the
    registry must have allowed the run on its day.

    \b
    Example:
      fedjoint pool settle 2026-q1 100000.00 --by contributions.json
      fedjoint pool settle 2026-q1 100000.00 --run runs/2026-q1 --costs north-costs.json
    """
    from fedjoint.cli.run_settling import settling_by_file, settling_by_run
    from fedjoint.errors import ConfigError
    from fedjoint.pool.desk import settle_revenue
    from fedjoint.pool.money import parse_minor

    if (file is None) == (run is None) or (costs and run is None):
        raise ConfigError(
            "a settlement by nothing, or by two things", expected="--by FILE, or --run FOLDER and its --costs"
        )
    state, at = session.state(), now()
    gross = parse_minor(amount, state.rules.money.currency)
    if run is not None:
        settling = settling_by_run(run, state, settlement_id=settlement_id, gross_minor=gross, costs=costs)
    else:
        assert file is not None  # one of both is given
        settling = settling_by_file(file, settlement_id=settlement_id, gross_minor=gross)
    session.act(lambda state, books: settle_revenue(state, settling, books=books, at=at)[0])


@command.command("payout")
@click.argument("batch")
@moves_money
@pool_command
def payout(session: Session, *, batch: str) -> None:
    """Release holdbacks whose window has ended, and pay everybody what is owed; a batch pays nobody twice.

    \b
    Example:
      fedjoint pool payout 2026-12 --dry-run
    """
    from fedjoint.pool.desk import pay_out

    at = now()
    session.act(lambda state, books: pay_out(state, batch, books=books, at=at))


@command.command("payments")
@click.argument("batch")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write a CSV file.")
@click.option("--xml", "xml_file", type=click.Path(path_type=Path), help="Write ISO 20022 pain.001.001.09 for a bank.")
@click.option("--debtor", help="Party id of who pays, with an IBAN; needed for --xml.")
@click.option("--day", metavar="DAY", help="When the bank is to pay; today by default.")
@pool_command
def payments(
    session: Session, *, batch: str, csv_file: Path | None, xml_file: Path | None, debtor: str | None, day: str | None
) -> None:
    """Show what a payout paid, or write it as files for a bank; the books are not touched.

    \b
    Example:
      fedjoint pool payments 2026-12 --csv payout.csv --xml payout.xml --debtor exchange-account
    """
    from fedjoint.errors import ConfigError
    from fedjoint.files import replace_file
    from fedjoint.pool.payment_files import payments_of, to_csv, to_pain_001
    from fedjoint.strict import plain

    with session.store() as store:
        parties = store.state().registry.parties
        found = payments_of(store.ledger.entries("bank"), batch, parties)
    if csv_file is not None:
        replace_file(csv_file, to_csv(found).encode())
    if xml_file is not None:
        if debtor is None or debtor not in parties:
            raise ConfigError(f"--xml with debtor '{debtor}'", expected="--debtor and a registered party with an IBAN")
        at = now()
        xml = to_pain_001(found, message_id=batch, debtor=parties[debtor], at=at, day=day or at[:10])
        replace_file(xml_file, xml)
    session.show(plain(found), [f"{one.party:20} {one.iban:34} {one.amount:>16} {one.currency}" for one in found])


@command.command("balance")
@pool_command
def balance(session: Session) -> None:
    """Show what every account stands at, and how much of it is held.

    \b
    Example:
      fedjoint pool balance --json
    """
    from fedjoint.pool.money import format_minor

    with session.store() as store:
        standings = store.ledger.standings()
    rows = [
        {
            "account": account,
            "currency": currency,
            "posted_minor": found.posted_minor,
            "held_minor": -found.pending_out_minor,
        }
        for (currency, account), found in standings.items()
    ]
    lines = [
        f"{account:32} {format_minor(found.posted_minor, currency):>24}"
        + (f"   held {format_minor(-found.pending_out_minor, currency)}" if found.pending_out_minor else "")
        for (currency, account), found in standings.items()
    ]
    session.show(rows, lines or ["the books are empty"])


@command.command("suspense")
@pool_command
def suspense(session: Session) -> None:
    """List what stands in suspense, since when, and what has stood there longer than the dispute window.

    \b
    Example:
      fedjoint pool suspense --json
    """
    from fedjoint.pool.money import format_minor
    from fedjoint.pool.suspense import suspense_report
    from fedjoint.strict import plain

    with session.store() as store:
        window = store.state().rules.money.dispute_window_days
        standing, frozen = store.ledger.entries("suspense"), store.ledger.pending("suspense")
        found = suspense_report(standing, frozen, at=now(), window_days=window)
    lines = [
        f"{one.entry_id:40} {format_minor(one.left_minor, one.currency):>20}  {one.days:>4} days"
        + ("  frozen for a claim" if one.frozen else "")
        + ("  OVERDUE" if one.overdue else "")
        for one in found
    ]
    session.show(plain(found), lines or ["nothing stands in suspense"])


@command.command("export")
@click.argument("folder_out", type=click.Path(path_type=Path), metavar="FOLDER")
@click.option("--beancount", is_flag=True, help="Also write ledger.beancount, for bean-check.")
@key_option
@pool_command
def export(session: Session, *, folder_out: Path, beancount: bool, key: Path) -> None:
    """Write record and books as files, signed, for fedjoint verify.

    \b
    Example:
      fedjoint pool export books-2026 --key exchange.key
    """
    from datetime import date, timedelta

    from fedjoint.files import replace_file_in_parts
    from fedjoint.identity.keys import Identity
    from fedjoint.pool.export_beancount import beancount_lines
    from fedjoint.pool.exported import export_pool
    from fedjoint.strict import plain

    with session.store() as store:
        signed = export_pool(store, folder_out, Identity.load(key))
        if beancount:
            day = (date.fromisoformat(now()[:10]) + timedelta(days=1)).isoformat()
            lines = beancount_lines(store.ledger.entries(), store.ledger.balances(), day=day)
            replace_file_in_parts(folder_out / "ledger.beancount", (line.encode() for line in lines))
    session.show(plain(signed), [f"{folder_out}: {signed.checkpoint.size} events, root {signed.checkpoint.root[:16]}…"])
