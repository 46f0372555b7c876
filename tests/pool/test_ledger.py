from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.terms import MoneyTerms
from fedjoint.errors import PoolError
from fedjoint.pool.books import balances, check_entries
from fedjoint.pool.ledger import MAX_POSTINGS, Entry, Posting
from fedjoint.pool.money import MAX_MINOR
from fedjoint.pool.settlement_entries import entries_of_settlement
from fedjoint.pool.waterfall import settle

AT = "2026-11-30T12:00:00Z"


def entry(entry_id: str = "run/1", amounts: dict[str, int] | None = None, **fields: object) -> Entry:
    amounts = {"receivable:buyer": -5, "escrow": 5} if amounts is None else amounts
    postings = tuple(Posting(account=account, amount_minor=amount) for account, amount in amounts.items())
    given_fields = {"at": AT, "kind": "invoice", "currency": "CNY", "memo": "", "postings": postings, **fields}
    return Entry(id=entry_id, **given_fields)


def forced(real: Entry, **fields: object) -> Entry:
    """An entry that the constructor would refuse."""
    for name, value in fields.items():
        object.__setattr__(real, name, value)
    return real


@pytest.mark.parametrize("amount", [1.0, True, "1", 0, MAX_MINOR + 1, -MAX_MINOR - 1])
def test_a_posting_of_anything_but_a_bounded_whole_amount_is_refused(amount):
    with pytest.raises(PoolError):
        Posting(account="escrow", amount_minor=amount)


def test_a_posting_to_no_account_is_refused():
    with pytest.raises(PoolError, match="no account"):
        Posting(account="cash", amount_minor=1)


def test_an_unbalanced_entry_cannot_be_made():
    with pytest.raises(PoolError, match="unbalanced by 1 minor units of CNY"):
        entry(amounts={"receivable:buyer": -5, "escrow": 6})


@pytest.mark.parametrize("postings", [(), (Posting(account="escrow", amount_minor=1),)])
def test_an_entry_without_two_postings_cannot_be_made(postings):
    with pytest.raises(PoolError, match="postings"):
        entry(postings=postings)


def test_an_entry_with_too_many_postings_cannot_be_made():
    amounts = {f"payable:h{i}": 1 for i in range(MAX_POSTINGS)}
    with pytest.raises(PoolError, match="1001 postings"):
        entry(amounts={**amounts, "escrow": -MAX_POSTINGS})


def test_an_account_that_stands_twice_in_an_entry_is_refused():
    postings = tuple(Posting(account=a, amount_minor=m) for a, m in (("escrow", 1), ("fee", -2), ("escrow", 1)))
    with pytest.raises(PoolError, match="twice to escrow"):
        entry(postings=postings)


@pytest.mark.parametrize(
    "fields",
    [
        {"entry_id": ""},
        {"entry_id": "a b"},
        {"entry_id": "a" * 128},
        {"kind": "Invoice"},
        {"at": "2026-11-30"},
        {"at": "2026-11-30T12:00:00"},
        {"at": "2026-11-30T12:00:00+08:00"},
        {"at": "2026-02-30T12:00:00Z"},
        {"currency": "CNX"},
        {"memo": "m" * 501},
    ],
)
def test_a_malformed_entry_cannot_be_made(fields):
    with pytest.raises(PoolError):
        entry(**fields)


def test_a_settlement_empties_escrow_and_pays_everybody():
    done = settle(100_000_000, {"a": 3.0, "b": 1.0, "c": -2.0}, terms=MoneyTerms())
    entries = entries_of_settlement(done, "run-1", buyer="insurer", at=AT)
    assert [e.id for e in entries] == ["run-1/invoice", "run-1/waterfall", "run-1/payables"]
    assert balances(entries) == {
        ("CNY", "escrow"): 0,
        ("CNY", "fee"): 10_000_000,
        ("CNY", "payable:a"): 65_250_000,
        ("CNY", "payable:b"): 21_750_000,
        ("CNY", "receivable:insurer"): -100_000_000,
        ("CNY", "reserve"): 3_000_000,
    }
    assert check_entries(entries) == []


def test_a_settlement_in_suspense_pays_no_holder():
    done = settle(1_000, {"a": 0.0}, terms=MoneyTerms())
    entries = entries_of_settlement(done, "run-1", buyer="insurer", at=AT)
    assert [e.kind for e in entries] == ["invoice", "waterfall"]
    assert balances(entries)["CNY", "suspense"] == 870


def test_a_settlement_of_nothing_moves_nothing():
    assert entries_of_settlement(settle(0, {"a": 1.0}, terms=MoneyTerms()), "run-1", buyer="b", at=AT) == ()


@pytest.mark.parametrize("fields", [{"buyer": "A Buyer", "at": AT}, {"buyer": "b", "at": "today"}])
def test_a_settlement_of_a_malformed_buyer_or_time_is_refused(fields):
    done = settle(10, {"a": 1.0}, terms=MoneyTerms())
    with pytest.raises(PoolError):
        entries_of_settlement(done, "run-1", **fields)


SETTLEMENTS = st.tuples(
    st.integers(0, 10**9),
    st.dictionaries(st.text("abc", min_size=1, max_size=2), st.floats(-10, 10), min_size=1, max_size=5),
    st.sampled_from(["CNY", "JPY", "USD"]),
)


@given(st.lists(SETTLEMENTS, max_size=8))
def test_any_sequence_of_settlements_keeps_every_currency_at_zero(revenues):
    entries = []
    for number, (gross, contributions, currency) in enumerate(revenues):
        done = settle(gross, contributions, terms=MoneyTerms(currency=currency))
        entries += entries_of_settlement(done, f"run-{number}", buyer="buyer", at=AT)
    standing = balances(entries)
    for currency in ("CNY", "JPY", "USD"):
        assert sum(amount for (other, _), amount in standing.items() if other == currency) == 0
        assert standing.get((currency, "escrow"), 0) == 0
    assert check_entries(entries) == []


def test_all_problems_of_the_books_are_told_at_once():
    rich = {"receivable:buyer": -MAX_MINOR, "escrow": MAX_MINOR}
    books = [
        entry("a"),
        entry("a"),
        entry("b", {"reserve": -1, "payable:x": 1}),
        forced(
            entry("c"), postings=(Posting(account="escrow", amount_minor=2), Posting(account="fee", amount_minor=1))
        ),
        entry("d", rich, currency="USD"),
        entry("e", rich, currency="USD"),
    ]
    assert check_entries(books) == [
        "entry 'a' stands twice",
        "after entry 'b' reserve stands at -1 minor units of CNY, below zero",
        "entry 'c' is unbalanced by 3 minor units of CNY",
        f"after entry 'e' receivable:buyer stands at {-2 * MAX_MINOR} minor units of USD, beyond 10^15",
        f"after entry 'e' escrow stands at {2 * MAX_MINOR} minor units of USD, beyond 10^15",
        "the books in CNY do not sum to zero but to 3 minor units",
    ]


def test_an_entry_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        entry().memo = "changed"
