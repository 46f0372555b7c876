from __future__ import annotations

import dataclasses

import pytest

from fedjoint.errors import PoolError
from fedjoint.pool.books import Books
from fedjoint.pool.vouchers import Voucher, voucher_expired, voucher_funded, voucher_spent

AT, EXPIRES = "2026-11-30T12:00:00Z", "2026-12-31T00:00:00Z"
VOUCHER = Voucher(id="city-1", subsidiser="city", currency="CNY", amount_minor=1_000, expires=EXPIRES)


def test_a_voucher_pays_costs_and_its_rest_returns():
    books = Books()
    books.post([voucher_funded(VOUCHER, at=AT)])
    books.post([voucher_spent(VOUCHER, "run-1/bern", holder="bern", amount_minor=300, at=AT)])
    left = books.balance("voucher:city-1", "CNY").available_minor
    books.post([voucher_expired(VOUCHER, left_minor=left, at=EXPIRES)])
    assert books.balances() == {
        ("CNY", "payable:bern"): 300,
        ("CNY", "receivable:city"): -300,
        ("CNY", "voucher:city-1"): 0,
    }


def test_more_than_a_voucher_holds_cannot_be_spent():
    books = Books()
    books.post([voucher_funded(VOUCHER, at=AT)])
    with pytest.raises(PoolError, match="voucher:city-1 stands at -1"):
        books.post([voucher_spent(VOUCHER, "x", holder="bern", amount_minor=1_001, at=AT)])


def test_a_voucher_is_spent_before_it_expires_and_returned_after():
    with pytest.raises(PoolError, match="expired at"):
        voucher_spent(VOUCHER, "x", holder="bern", amount_minor=1, at=EXPIRES)
    with pytest.raises(PoolError, match="good until"):
        voucher_expired(VOUCHER, left_minor=1, at="2026-12-30T23:59:59Z")


@pytest.mark.parametrize(
    "change", [{"id": "A"}, {"subsidiser": ""}, {"amount_minor": 0}, {"expires": "soon"}, {"expires": "2026-12-31"}]
)
def test_a_malformed_voucher_cannot_be_made(change):
    with pytest.raises(PoolError):
        dataclasses.replace(VOUCHER, **change)


def test_a_malformed_time_or_amount_is_refused():
    with pytest.raises(PoolError, match="time"):
        VOUCHER.has_expired("now")
    with pytest.raises(PoolError, match="compute costs"):
        voucher_spent(VOUCHER, "x", holder="bern", amount_minor=0, at=AT)
    with pytest.raises(PoolError, match="rest"):
        voucher_expired(VOUCHER, left_minor=0, at=EXPIRES)
