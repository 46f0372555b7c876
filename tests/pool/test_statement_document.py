import dataclasses
import random

import pytest

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.errors import FedjointError, IdentityError, PoolError, RecordError
from fedjoint.pool.statement_document import issue, state_of_dataset, state_of_holder, verify_document
from fedjoint.strict import plain
from tests.pool.consortium import PEOPLE
from tests.pool.small_pool import at
from tests.pool.year import live

YEAR = {"first_day": "2026-01-01", "last_day": "2027-12-31"}
EXCHANGE = PEOPLE["exchange"]


@pytest.fixture(scope="module")
def pool():
    return live()


@pytest.fixture(scope="module")
def documents(pool):
    statements = [state_of_holder(pool.store, "a", **YEAR), state_of_dataset(pool.store, "scans-a", **YEAR)]
    return dict(zip(("holder", "dataset"), issue(pool.store, statements, EXCHANGE, at=at(12, 31)), strict=True))


@pytest.mark.parametrize("kind", ["holder", "dataset"])
def test_a_document_verifies_with_public_keys_alone_and_no_byte_of_it_can_change(documents, kind):
    data = canonical_bytes(documents[kind])
    assert verify_document(parse_canonical(data, error=PoolError, where=kind), EXCHANGE.public).holder == "a"
    chance = random.Random(kind)
    for _ in range(60):
        place = chance.randrange(len(data))
        flipped = data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]
        with pytest.raises(FedjointError):
            verify_document(parse_canonical(flipped, error=PoolError, where=kind), EXCHANGE.public)


def test_a_document_of_another_exchange_or_statement_is_refused(documents):
    holder, dataset = documents["holder"], documents["dataset"]
    with pytest.raises(IdentityError):
        verify_document(holder, PEOPLE["b"].public)
    with pytest.raises(RecordError, match="not the one by which the record commits"):
        verify_document({**holder, "event": dataset["event"]}, EXCHANGE.public)
    with pytest.raises(PoolError, match="no pool's statement"):
        verify_document({"statement": 1}, EXCHANGE.public)
    with pytest.raises(PoolError, match="unknown kind"):
        verify_document({**holder, "statement": {"format": "x"}}, EXCHANGE.public)
    with pytest.raises(PoolError, match="not the one that was signed"):
        verify_document({**holder, "statement": plain(_later(holder))}, EXCHANGE.public)
    with pytest.raises(RecordError, match="another pool or another event"):
        verify_document({**holder, "inclusion": {**holder["inclusion"], "place": 0}}, EXCHANGE.public)


def _later(document):
    from fedjoint.pool.year_statement import HolderStatement
    from fedjoint.strict import build

    return dataclasses.replace(build(HolderStatement, document["statement"]), last_day="2028-01-01")


def test_a_statement_issued_again_is_the_same_event(pool, documents):
    size = pool.state().size
    statement = verify_document(documents["holder"], EXCHANGE.public)
    again = issue(pool.store, [statement], EXCHANGE, at=at(12, 31))[0]
    assert (pool.state().size, again["event"]) == (size, documents["holder"]["event"])


def test_a_holder_reads_what_each_settlement_rested_on(documents):
    statement = verify_document(documents["holder"], EXCHANGE.public)
    first, second = statement.settlements
    assert (first.run_id, first.method, first.error, first.paid_alike_with) == (
        "run-1",
        "Aumann-Shapley value",
        0.25,
        ("b",),
    )
    assert [step.name for step in first.steps][:2] == ["gross", "tax"]
    assert (first.gross_minor, first.compute_minor, first.share) == (100_000, 100, "1/2")
    assert (second.method, second.error, second.given_back_minor) == (None, None, 0)
    assert first.given_back_minor > 0
    assert [claim.state for claim in statement.claims] == ["withdrawn"]
    moved = {line.kind for line in statement.lines}
    assert {"payables", "payout", "refund", "excess return", "voucher"} <= moved
    with pytest.raises(PoolError, match="carried as"):
        dataclasses.replace(statement, payable_carried_minor=statement.payable_carried_minor + 1)
    with pytest.raises(PoolError, match="ends before it begins"):
        dataclasses.replace(statement, last_day="2025-01-01")


def test_an_accountant_reads_income_by_month_contributions_and_costs(documents):
    statement = verify_document(documents["dataset"], EXCHANGE.public)
    assert [month.month for month in statement.months] == ["2026-04"]
    month, lines = statement.months[0], statement.settlements
    assert month.income_minor == sum(line.payout_minor for line in lines) == statement.income_minor
    assert (month.compute_minor, month.compute_seconds) == (100, 100)
    assert statement.net_minor == statement.income_minor - lines[0].given_back_minor
    assert statement.certificate.number == "DIP-scans-a"
    with pytest.raises(PoolError, match="the income of dataset 'scans-a'"):
        dataclasses.replace(statement, income_minor=1)
    with pytest.raises(PoolError, match="earned 1 net"):
        dataclasses.replace(statement, net_minor=1)
    with pytest.raises(PoolError, match="ends before it begins"):
        dataclasses.replace(statement, last_day="2025-01-01")


def test_nobody_and_nothing_has_no_statement(pool):
    with pytest.raises(PoolError, match="'nobody' is no registered party"):
        state_of_holder(pool.store, "nobody", **YEAR)
    with pytest.raises(PoolError, match="'nothing' is no registered dataset"):
        state_of_dataset(pool.store, "nothing", **YEAR)
    with pytest.raises(PoolError, match="last_day is '2026'"):
        state_of_dataset(pool.store, "scans-a", first_day="2026-01-01", last_day="2026")
