import csv
import dataclasses
import importlib.util
import io
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from fedjoint.errors import PoolError
from fedjoint.pool.ledger import Entry, move
from fedjoint.pool.payment_files import Payment, payments_of, to_csv, to_pain_001
from tests.pool.consortium import party

IBAN = "DE89370400440532013000"
PAID = {"a": 12_345, "b": 5}
ENTRIES = [
    Entry(
        id=f"payout/2026/{name}",
        at="2026-12-21T09:00:00Z",
        kind="payout",
        currency="EUR",
        postings=move({f"payable:{name}": -amount, "bank": amount}),
    )
    for name, amount in PAID.items()
]
PARTIES = {name: dataclasses.replace(party(name), iban=IBAN) for name in ("a", "b", "exchange")}
PAYMENTS = payments_of(ENTRIES, "2026", PARTIES)


def message(payments: tuple[Payment, ...] = PAYMENTS, **change) -> bytes:
    facts = {"message_id": "2026/1", "debtor": PARTIES["exchange"], "at": "2026-12-21T09:00:00Z", "day": "2026-12-22"}
    return to_pain_001(payments, **(facts | change))


def test_what_is_paid_is_what_was_posted():
    assert [(one.party, one.amount_minor, one.amount) for one in PAYMENTS] == [
        ("a", 12_345, "123.45"),
        ("b", 5, "0.05"),
    ]


def test_a_currency_without_decimals_is_written_without():
    assert dataclasses.replace(PAYMENTS[0], currency="JPY").amount == "12345"


def test_csv_has_a_line_for_each_payment_and_no_formula():
    odd = dataclasses.replace(PAYMENTS[0], name='=HYPERLINK("x"),"y"')
    rows = list(csv.DictReader(io.StringIO(to_csv((*PAYMENTS, odd)))))
    assert [(row["party"], row["amount"], row["currency"]) for row in rows[:2]] == [
        ("a", "123.45", "EUR"),
        ("b", "0.05", "EUR"),
    ]
    assert rows[2]["name"] == '\'=HYPERLINK("x"),"y"'


def test_the_message_has_the_sum_and_every_transfer():
    space = {"p": "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"}
    root = Xml.fromstring(message())
    assert [found.text for found in root.iterfind(".//p:CtrlSum", space)] == ["123.50", "123.50"]
    assert [found.text for found in root.iterfind(".//p:InstdAmt", space)] == ["123.45", "0.05"]
    ids = [found.text for found in root.iterfind(".//p:EndToEndId", space)]
    assert ids == ["2026/1-1", "2026/1-2"]


def test_the_message_is_valid_by_the_schema_of_iso_20022():
    found = importlib.util.find_spec("sepaxml")
    if found is None:
        pytest.skip("sepaxml, which has the schema, comes with fedjoint[dev]")
    import xmlschema

    schema = xmlschema.XMLSchema(Path(found.origin).parent / "schemas/pain.001.001.09.xsd")
    odd = dataclasses.replace(PAYMENTS[0], name="Krankenhaus \u5317\u4eac <Süd> & Co", id="payout/" + "x" * 110)
    for payments in (PAYMENTS, (odd,)):
        schema.validate(io.BytesIO(message(payments)))
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        schema.validate(io.BytesIO(message().replace(b"TRF", b"XXX")))


def test_a_batch_that_paid_nobody_and_a_party_without_account_are_refused():
    with pytest.raises(PoolError, match="payout '2027' paid nobody"):
        payments_of(ENTRIES, "2027", PARTIES)
    with pytest.raises(PoolError, match="'a' has no IBAN"):
        payments_of(ENTRIES, "2026", PARTIES | {"a": party("a")})


def test_several_currencies_no_payment_or_a_debtor_without_account_are_refused():
    other = dataclasses.replace(PAYMENTS[0], currency="USD")
    for wrong in (
        {"payments": ()},
        {"payments": (*PAYMENTS, other)},
        {"debtor": party("exchange")},
        {"day": "tomorrow"},
    ):
        with pytest.raises(PoolError):
            message(**wrong)
