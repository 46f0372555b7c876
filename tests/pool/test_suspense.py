from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedjoint.pool.books import balances
from fedjoint.pool.ledger import Entry, move
from fedjoint.pool.suspense import Unclear, suspense_report


def entry(number: int, amount: int, day: int = 1, currency: str = "CNY", phase: str = "posted") -> Entry:
    amounts = {"receivable:b": -amount, "suspense": amount}
    at = f"2026-01-{day:02d}T00:00:00Z"
    return Entry(id=f"e{number}", at=at, kind="dispute", currency=currency, postings=move(amounts), phase=phase)


def test_what_stands_longer_than_the_window_is_overdue():
    books = [entry(1, 10, day=1), entry(2, 5, day=20), entry(3, -4, day=21), entry(4, 7, phase="pending")]
    oldest = Unclear(entry_id="e1", at="2026-01-01T00:00:00Z", currency="CNY", left_minor=6, days=30, overdue=True)
    newer = Unclear(entry_id="e2", at="2026-01-20T00:00:00Z", currency="CNY", left_minor=5, days=11, overdue=False)
    assert suspense_report(books, at="2026-01-31T12:00:00Z", window_days=29) == [oldest, newer]
    assert not any(u.overdue for u in suspense_report(books, at="2026-01-31T12:00:00Z", window_days=30))


def test_what_is_frozen_for_a_claim_is_listed_until_it_is_decided():
    frozen = entry(4, 7, day=2, phase="pending")
    (told,) = suspense_report([frozen], [frozen], at="2026-01-31T12:00:00Z", window_days=20)
    assert (told.entry_id, told.left_minor, told.days, told.overdue, told.frozen) == ("e4", 7, 29, True, True)
    assert suspense_report([frozen], [], at="2026-01-31T12:00:00Z", window_days=20) == []


def test_cleared_suspense_reports_nothing():
    assert suspense_report([entry(1, 10), entry(2, -10)], at="2027-01-01T00:00:00Z", window_days=0) == []


@given(st.lists(st.tuples(st.integers(-50, 50).filter(bool), st.sampled_from(["CNY", "USD"]))))
def test_the_report_sums_to_the_balance(moves):
    books, standing = [], {"CNY": 0, "USD": 0}
    for number, (amount, currency) in enumerate(moves):
        if standing[currency] + amount >= 0:  # the ledger refuses the others
            standing[currency] += amount
            books.append(entry(number, amount, currency=currency))
    report = suspense_report(books, at="2026-03-01T00:00:00Z", window_days=10)
    for currency in standing:
        left = sum(unclear.left_minor for unclear in report if unclear.currency == currency)
        assert left == balances(books).get((currency, "suspense"), 0)
