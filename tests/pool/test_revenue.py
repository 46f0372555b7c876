from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.errors import PoolError
from fedjoint.pool.books import Books
from fedjoint.pool.revenue import Meter, Subscription, paid, queries_paid, subscription_earned, subscription_paid

AT = "2026-11-30T12:00:00Z"
YEAR = {"id": "insurer-2026", "buyer": "insurer", "currency": "CNY", "amount_minor": 100_000, "num_periods": 12}
METER = Meter(id="api", buyer="insurer", currency="CNY", price_per_1000_minor=1_250)


def test_a_licence_is_earned_when_it_is_paid():
    (entry,) = paid("invoice/1", buyer="insurer", amount_minor=5, currency="CNY", at=AT)
    assert {p.account: p.amount_minor for p in entry.postings} == {"receivable:insurer": -5, "escrow": 5}


def test_a_licence_paid_from_credit_needs_that_credit():
    books = Books()
    with pytest.raises(PoolError, match="credit:insurer stands at -5"):
        books.post(paid("i", buyer="insurer", amount_minor=5, currency="CNY", at=AT, from_credit=True))


def test_revenue_of_nothing_is_no_entry():
    assert paid("i", buyer="insurer", amount_minor=0, currency="CNY", at=AT) == ()
    assert queries_paid(Meter(id="m", buyer="b", currency="CNY", price_per_1000_minor=1), first=0, count=1, at=AT) == ()
    sub = Subscription(**{**YEAR, "amount_minor": 1})
    assert subscription_earned(sub, 1, at=AT) == ()


def test_a_negative_revenue_is_refused():
    with pytest.raises(PoolError, match="revenue"):
        paid("i", buyer="insurer", amount_minor=-1, currency="CNY", at=AT)


@given(st.integers(1, 10**12), st.integers(1, 60))
def test_a_subscription_is_earned_completely_in_parts_that_differ_by_one(amount, num_periods):
    sub = Subscription(**{**YEAR, "amount_minor": amount, "num_periods": num_periods})
    books = Books()
    books.post([subscription_paid(sub, at=AT)])
    for period in range(1, num_periods + 1):
        before = books.balance("escrow", "CNY").posted_minor
        books.post(subscription_earned(sub, period, at=AT))
        assert books.balance("escrow", "CNY").posted_minor - before in (
            amount // num_periods,
            -(-amount // num_periods),
        )
    assert books.balance("deferred:insurer-2026", "CNY").posted_minor == 0
    assert books.balance("escrow", "CNY").posted_minor == amount


@pytest.mark.parametrize("period", [0, 13])
def test_a_period_that_is_not_there_is_refused(period):
    with pytest.raises(PoolError, match="1 to 12"):
        subscription_earned(Subscription(**YEAR), period, at=AT)


@pytest.mark.parametrize("field", [{"id": "A"}, {"buyer": ""}, {"amount_minor": 0}, {"num_periods": 0}])
def test_a_malformed_subscription_cannot_be_made(field):
    with pytest.raises(PoolError):
        Subscription(**{**YEAR, **field})


@settings(max_examples=60)
@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=20), st.integers(0, 10_000))
def test_queries_cost_the_same_however_they_are_batched(batches, price):
    meter = Meter(id="api", buyer="insurer", currency="CNY", price_per_1000_minor=price)
    books, first = Books(), 0
    for count in batches:
        books.post(queries_paid(meter, first=first, count=count, at=AT))
        first += count
    assert books.balance("escrow", "CNY").posted_minor == first * price // 1_000


def test_a_batch_told_twice_is_one_batch():
    books = Books()
    for _ in range(2):
        books.post(queries_paid(METER, first=0, count=800, at=AT))
    assert books.balance("escrow", "CNY").posted_minor == 1_000


@pytest.mark.parametrize("batch", [{"first": -1, "count": 1}, {"first": 0, "count": 0}, {"first": 0, "count": 1.5}])
def test_a_batch_that_cannot_be_is_refused(batch):
    with pytest.raises(PoolError, match=r"quer"):
        queries_paid(METER, at=AT, **batch)


@pytest.mark.parametrize("field", [{"buyer": "A"}, {"price_per_1000_minor": -1}])
def test_a_malformed_meter_cannot_be_made(field):
    with pytest.raises(PoolError):
        Meter(**{"id": "api", "buyer": "insurer", "currency": "CNY", "price_per_1000_minor": 1, **field})
