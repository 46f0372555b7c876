from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import PoolError
from fedjoint.pool.books import Books
from fedjoint.pool.conversion import Rate, conversion
from fedjoint.pool.revenue import paid

AT = "2026-11-30T12:00:00Z"
RATE = {"of": "USD", "into": "CNY", "rate": "7.1234", "source": "PBOC, 2026-11-20"}


def test_a_conversion_takes_in_one_currency_and_gives_in_the_other():
    books = Books()
    books.post(paid("i", buyer="insurer", amount_minor=1_000, currency="USD", at=AT))
    books.post(conversion("fx/1", account="escrow", amount_minor=1_000, rate=Rate(**RATE), at=AT))
    assert books.balances() == {
        ("CNY", "conversion"): -7_123,
        ("CNY", "escrow"): 7_123,
        ("USD", "conversion"): 1_000,
        ("USD", "escrow"): 0,
        ("USD", "receivable:insurer"): -1_000,
    }
    assert {entry.details["source"] for entry in books.entries("conversion")} == {"PBOC, 2026-11-20"}


@pytest.mark.parametrize(("of", "into", "amount", "got"), [("JPY", "KWD", 1_000, 2_000), ("KWD", "JPY", 1_999, 3)])
def test_currencies_with_other_decimals_are_scaled(of, into, amount, got):
    assert Rate(of=of, into=into, rate="0.002" if of == "JPY" else "2", source="x").converted(amount) == got


@given(st.integers(1, 10**9), st.integers(1, 10**6))
def test_what_is_got_is_the_rate_rounded_down(amount, rate):
    got = Rate(of="USD", into="CNY", rate=f"{rate}.5", source="x").converted(amount)
    assert got * 2 <= amount * (2 * rate + 1) < (got + 1) * 2


@pytest.mark.parametrize(
    "field",
    [{"of": "CNY"}, {"into": "XXZ"}, {"rate": "0"}, {"rate": "-1"}, {"rate": "1e3"}, {"rate": "1/3"}, {"source": ""}],
)
def test_a_rate_that_cannot_be_is_refused(field):
    with pytest.raises(PoolError):
        Rate(**{**RATE, **field})


@pytest.mark.parametrize("amount", [0, -1, 10**15])
def test_an_amount_that_cannot_be_converted_is_refused(amount):
    with pytest.raises(PoolError, match="conver"):
        conversion("fx/1", account="escrow", amount_minor=amount, rate=Rate(**RATE), at=AT)
