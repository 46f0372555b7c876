from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.terms import MoneyTerms
from fedjoint.errors import PoolError
from fedjoint.pool.books import Books, balances
from fedjoint.pool.ledger import Entry
from fedjoint.pool.revenue import paid
from fedjoint.pool.settlement_entries import entries_of_settlement, released
from fedjoint.pool.waterfall import Period, settle

AT = "2026-11-30T12:00:00Z"
TERMS = MoneyTerms(holdback_bp=1_000, dispute_window_days=90)
NOTHING_HELD = MoneyTerms(holdback_bp=0)


def invoiced(gross: int, currency: str = "CNY", number: str = "run-1") -> tuple[Entry, ...]:
    return paid(f"{number}/invoice", buyer="insurer", amount_minor=gross, currency=currency, at=AT)


def test_a_settlement_empties_escrow_and_pays_everybody():
    done = settle(100_000_000, {"a": 3.0, "b": 1.0, "c": -2.0}, terms=NOTHING_HELD)
    entries = entries_of_settlement(done, "run-1", terms=NOTHING_HELD, at=AT)
    assert [entry.id for entry in entries] == ["run-1/waterfall", "run-1/payables"]
    assert balances((*invoiced(100_000_000), *entries)) == {
        ("CNY", "escrow"): 0,
        ("CNY", "fee"): 10_000_000,
        ("CNY", "payable:a"): 65_250_000,
        ("CNY", "payable:b"): 21_750_000,
        ("CNY", "receivable:insurer"): -100_000_000,
        ("CNY", "reserve"): 3_000_000,
    }


def test_every_step_of_the_waterfall_has_its_account():
    terms = MoneyTerms(tax_bp=600, cpu_hour_minor=1, base_bp=2_000, holdback_bp=0)
    done = settle(1_060, {"a": 0.0, "b": 0.0}, terms=terms, period=Period(compute_minor={"a": 50}))
    books = Books()
    books.post((*invoiced(1_060), *entries_of_settlement(done, "p", terms=terms, at=AT)))
    standing = {account: amount for (_, account), amount in books.balances().items()}
    assert standing["tax"] == 60
    assert standing["fee"] == 106
    assert standing["suspense"] == done.suspense_minor > 0
    assert standing["payable:a"] == done.payouts_minor["a"] + 50
    assert standing["escrow"] == 0


def test_what_is_held_back_waits_for_the_end_of_the_dispute_window():
    done = settle(1_000, {"a": 3.0, "b": 1.0}, terms=TERMS)
    books = Books()
    books.post((*invoiced(1_000), *entries_of_settlement(done, "run-1", terms=TERMS, at=AT)))
    payout, held = done.payouts_minor["a"], done.held_minor["a"]
    assert held == payout // 10 > 0
    assert books.balance("payable:a", "CNY").available_minor == payout - held
    assert books.balance("holdback:a", "CNY").posted_minor == held
    assert list(released(books.pending(), at="2027-02-28T11:59:59Z")) == []
    due = list(released(books.pending(), at="2027-02-28T12:00:00Z"))
    assert [entry.id for entry in due] == ["run-1/holdback/a/released", "run-1/holdback/b/released"]
    books.post(due)
    assert books.balance("payable:a", "CNY").available_minor == payout
    assert books.balance("holdback:a", "CNY").posted_minor == 0
    assert list(books.pending()) == []


def test_a_settlement_in_suspense_pays_no_holder():
    done = settle(1_000, {"a": 0.0}, terms=TERMS)
    entries = entries_of_settlement(done, "run-1", terms=TERMS, at=AT)
    assert [entry.kind for entry in entries] == ["waterfall"]
    assert balances(entries)["CNY", "suspense"] == 870


def test_a_settlement_of_nothing_moves_nothing():
    assert entries_of_settlement(settle(0, {"a": 1.0}, terms=TERMS), "run-1", terms=TERMS, at=AT) == ()


@pytest.mark.parametrize("fields", [{"settlement_id": "A run", "at": AT}, {"settlement_id": "b", "at": "today"}])
def test_a_settlement_of_a_malformed_id_or_time_is_refused(fields):
    with pytest.raises(PoolError):
        entries_of_settlement(settle(10, {"a": 1.0}, terms=NOTHING_HELD), terms=NOTHING_HELD, **fields)


SETTLEMENTS = st.tuples(
    st.integers(0, 10**9),
    st.dictionaries(st.text("abc", min_size=1, max_size=2), st.floats(-10, 10), min_size=1, max_size=5),
    st.sampled_from(["CNY", "JPY", "USD"]),
)


@given(st.lists(SETTLEMENTS, max_size=8))
def test_any_sequence_of_settlements_keeps_every_currency_at_zero(revenues):
    books = Books()
    for number, (gross, contributions, currency) in enumerate(revenues):
        terms = MoneyTerms(currency=currency)
        done = settle(gross, contributions, terms=terms)
        settled = entries_of_settlement(done, f"run-{number}", terms=terms, at=AT)
        books.post((*invoiced(gross, currency, f"run-{number}"), *settled))
    standing = books.balances()
    for currency in ("CNY", "JPY", "USD"):
        assert sum(amount for (other, _), amount in standing.items() if other == currency) == 0
        assert standing.get((currency, "escrow"), 0) == 0
