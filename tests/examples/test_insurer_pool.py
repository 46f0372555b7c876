"""The worked example: a year is told, every file of it verifies, and no byte of it can be changed unnoticed."""

import importlib.util
import json
import random
import sys
from pathlib import Path

import pytest

from fedjoint.agreement.canonical import parse_canonical
from fedjoint.errors import FedjointError, PoolError
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.pool.exported import POOL_LEDGER, POOL_RECORD, verify_pool
from fedjoint.pool.statement_document import verify_document
from fedjoint.strict import build

STORY = Path(__file__).parents[2] / "examples/insurer_pool/story.py"
FLIPS = 12


def story():
    spec = importlib.util.spec_from_file_location("story", STORY)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def year(tmp_path_factory):
    told: list[str] = []
    done = story().tell(tmp_path_factory.mktemp("year"), told.append)
    done.told = told
    yield done
    done.store.close()


def flipped(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def test_the_year_ends_with_everybody_paid_and_nothing_owed(year):
    books = year.store.ledger
    assert books.check() == []
    assert sum(amount for (currency, _), amount in books.balances().items() if currency == "CNY") == 0
    for account in ("escrow", "suspense", "claims", "recovery:coast", "payable:coast", "payable:north"):
        assert books.balance(account, "CNY").posted_minor == 0, account
    claim = year.state().claims["title-1"]
    assert (claim.state, claim.paid_minor, claim.owed_minor) == ("closed", 2_160_000, 0)
    assert year.state().registry.dataset("scans-coast").events[0].kind == "revocation"
    told = "\n".join(year.told)
    for words in ("for a licence", "subscription of 2 months", "asked the model", "refunded", "appeals", "own tranche"):
        assert words in told, words


def test_a_dataset_whose_title_failed_earns_nothing_more(year):
    settling = {"id": "late", "gross_minor": 100, "contributions": {"coast": 1.0}, "datasets": {"coast": "scans-coast"}}
    from fedjoint.pool.desk import Settling, settle_revenue

    with pytest.raises(PoolError, match="its revocation took effect on"):
        settle_revenue(year.state(), Settling(**settling), books=year.store.ledger, at="2026-12-30T00:00:00Z")


def test_paying_out_again_pays_nobody_twice(year):
    from fedjoint.pool.desk import pay_out

    again = pay_out(year.state(), "2026", books=year.store.ledger, at="2026-12-30T00:00:00Z")
    assert again.entries == ()


def test_the_export_is_that_of_the_exchange_and_of_nobody_else(year):
    folder = year.folder / "export"
    assert verify_pool(folder, year.people["exchange"].public).claims["title-1"].state == "closed"
    with pytest.raises(FedjointError, match="one of 'exchange' with its keys"):
        verify_pool(folder, Identity.create("exchange", "Exchange").public)


@pytest.mark.parametrize("name", [POOL_RECORD, POOL_LEDGER])
def test_a_changed_byte_of_record_or_ledger_is_found(year, name, tmp_path):
    chance = random.Random(name)
    whole = {file: (year.folder / "export" / file).read_bytes() for file in (POOL_RECORD, POOL_LEDGER)}
    for file, data in whole.items():
        (tmp_path / file).write_bytes(data)
    for _ in range(FLIPS):
        (tmp_path / name).write_bytes(flipped(whole[name], chance))
        with pytest.raises(FedjointError):
            verify_pool(tmp_path)
    for cut in (whole[name][:-1], whole[name][: whole[name][:-1].rindex(b"\n") + 1], b"", whole[name] + b"{}\n"):
        (tmp_path / name).write_bytes(cut)
        with pytest.raises(FedjointError):
            verify_pool(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FedjointError, match="there is no"):
        verify_pool(tmp_path)


def test_a_changed_byte_of_a_statement_is_found(year):
    data, chance = (year.folder / "north.json").read_bytes(), random.Random(3)
    coordinator = year.people["exchange"].public
    statement = verify_document(parse_canonical(data, error=PoolError, where="north"), coordinator)
    assert statement.payable_carried_minor == 0
    assert [line.id for line in statement.settlements] == ["settlement-1", "settlement-2", "settlement-3"]
    for _ in range(150):
        with pytest.raises(FedjointError):
            document = parse_canonical(flipped(data, chance), error=PoolError, where="north")
            verify_document(document, coordinator)


def test_it_is_run_from_the_command_line_and_is_not_lived_twice(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "year"
    monkeypatch.setattr(sys, "argv", ["story.py", str(folder), "--no-pdf"])
    story().main()
    assert f"fedjoint verify {folder / 'north.json'} --exchange {folder / 'exchange.json'}" in capsys.readouterr().out
    exchange = build(PublicIdentity, json.loads((folder / "exchange.json").read_bytes()))
    assert verify_pool(folder / "export", exchange).rules.pool_id == "chest-2026"
    with pytest.raises(SystemExit):
        story().main()
    assert "is not empty" in capsys.readouterr().err


def test_a_refund_was_taken_from_everybody_who_was_paid(year):
    data = (year.folder / "scans-north.json").read_bytes()
    document = parse_canonical(data, error=PoolError, where="scans-north")
    statement = verify_document(document, year.people["exchange"].public)
    assert statement.given_back_minor == 217_500  # half of 87 % of 5,000.00, as of everything
    assert year.state().gross_of("settlement-1") == 9_500_000
    assert (year.folder / "scans-north.html").read_bytes().startswith(b"<!DOCTYPE html>")


def test_what_a_holder_was_paid_is_in_its_statement_and_in_the_bank(year):
    paid = 0
    for holder in ("north", "south", "coast"):
        data = (year.folder / f"{holder}.json").read_bytes()
        document = parse_canonical(data, error=PoolError, where=holder)
        lines = document["statement"]["lines"]
        paid -= sum(line["amount_minor"] for line in lines if line["kind"] == "payout")
    payouts = [entry for entry in year.store.ledger.entries() if entry.kind == "payout"]
    to_holders = [entry for entry in payouts if not entry.id.endswith("/registry")]
    postings = [posting for entry in to_holders for posting in entry.postings if posting.account == "bank"]
    assert paid == sum(posting.amount_minor for posting in postings)
