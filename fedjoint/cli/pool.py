"""``fedjoint pool``: the compensation pool's money."""

from __future__ import annotations

from pathlib import Path

import click

from fedjoint.cli.pool_session import Session, moves_money, now, parse_json_file, pool_command

__all__ = ["command"]

_key = click.option("--key", type=click.Path(path_type=Path), required=True, help="The exchange's key file.")


@click.group("pool")
def command() -> None:
    """Take in revenue, divide it, pay it out, and give everybody a statement that they can verify.

    \b
    Example:
      fedjoint pool open rules.json --key exchange.key
      fedjoint pool deposit invoice-7 insurer 100000.00
      fedjoint pool settle 2026-q1 100000.00 --by contributions.json --dry-run
      fedjoint pool balance
    """


@command.command("open")
@click.argument("file", type=click.Path(path_type=Path))
@_key
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
    from fedjoint.pool.state import Opened
    from fedjoint.strict import build, plain

    facts = {"money": {}, "claims": {}, **parse_json_file(file), "exchange": plain(Identity.load(key).public)}
    opened, at = build(Opened, facts, error=PoolError, where="rules"), now()
    session.act(lambda state, _: open_pool(state, opened, at=at))


@command.command("deposit")
@click.argument("deposit_id")
@click.argument("party")
@click.argument("amount")
@moves_money
@pool_command
def deposit_(session: Session, *, deposit_id: str, party: str, amount: str) -> None:
    """Take in money: a buyer's waits to be settled, a holder's goes against what it owes.

    \b
    Example:
      fedjoint pool deposit invoice-7 insurer 100000.00
    """
    from fedjoint.pool.desk import deposit
    from fedjoint.pool.money import parse_minor

    currency, at = session.state().rules.money.currency, now()
    minor = parse_minor(amount, currency)
    session.act(lambda state, _: deposit(state, deposit_id, party=party, amount_minor=minor, currency=currency, at=at))


@command.command("settle")
@click.argument("settlement_id")
@click.argument("amount")
@click.option(
    "--by",
    "file",
    type=click.Path(path_type=Path),
    required=True,
    help="JSON: contributions, datasets, sizes.",
)
@moves_money
@pool_command
def settle_(session: Session, *, settlement_id: str, amount: str, file: Path) -> None:
    """Divide revenue that was taken in among exchange, reserve and the holders whose datasets are valid today.

    \b
    Example:
      fedjoint pool settle 2026-q1 100000.00 --by contributions.json
    """
    from fedjoint.errors import ConfigError
    from fedjoint.pool.desk import Settling, settle_revenue
    from fedjoint.pool.money import parse_minor

    facts, at = parse_json_file(file), now()
    if not isinstance(facts, dict) or not {"contributions", "datasets"} <= set(facts) <= {
        "contributions",
        "datasets",
        "sizes",
    }:
        raise ConfigError(f"{file} does not say who contributed what", expected="contributions and datasets by holder")
    settling = Settling(
        id=settlement_id, gross_minor=parse_minor(amount, session.state().rules.money.currency), **facts
    )
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
    from fedjoint.pool.state import fold
    from fedjoint.strict import plain

    with session.store() as store:
        parties = fold(store.events()).registry.parties
        found = payments_of(store.ledger.entries(), batch, parties)
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


@command.command("statement")
@click.argument("holder")
@click.argument("first_day")
@click.argument("last_day")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write.")
@_key
@pool_command
def statement(session: Session, *, holder: str, first_day: str, last_day: str, out: Path, key: Path) -> None:
    """Issue a party's signed statement of a period, with proof that the pool's record has it.

    \b
    Example:
      fedjoint pool statement north 2026-01-01 2026-12-31 --out north.json --key exchange.key
    """
    from fedjoint.agreement.canonical import canonical_bytes
    from fedjoint.files import replace_file
    from fedjoint.identity.keys import Identity
    from fedjoint.pool.exported import sign_pool
    from fedjoint.pool.record_change import Change
    from fedjoint.pool.state import fold
    from fedjoint.pool.year_statement import holder_statement, issued, signed_document_of

    coordinator, at = Identity.load(key), now()
    with session.store() as store:
        found = holder_statement(
            fold(store.events()), store.ledger.entries(), holder, first_day=first_day, last_day=last_day
        )
        store.act(lambda _: Change(at=at, events=(issued(found),)))
        checkpoint = sign_pool(store, coordinator, at=at)
        document = signed_document_of(
            found, events=list(store.events()), checkpoint=checkpoint, coordinator=coordinator
        )
    replace_file(out, canonical_bytes(document))
    session.show(document, [f"{out}: the statement of '{holder}' from {first_day} until {last_day}"])


@command.command("export")
@click.argument("folder_out", type=click.Path(path_type=Path), metavar="FOLDER")
@_key
@pool_command
def export(session: Session, *, folder_out: Path, key: Path) -> None:
    """Write record and books as files, signed, for fedjoint verify.

    \b
    Example:
      fedjoint pool export books-2026 --key exchange.key
    """
    from fedjoint.identity.keys import Identity
    from fedjoint.pool.exported import export_pool
    from fedjoint.strict import plain

    with session.store() as store:
        signed = export_pool(store, folder_out, Identity.load(key))
    session.show(plain(signed), [f"{folder_out}: {signed.checkpoint.size} events, root {signed.checkpoint.root[:16]}…"])
