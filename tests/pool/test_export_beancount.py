"""The export is read by beancount itself, which checks every transaction and every asserted balance."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest
from beancount.core.data import Transaction
from beancount.loader import load_string
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.terms import MoneyTerms
from fedjoint.pool.books import Books
from fedjoint.pool.conversion import Rate, conversion
from fedjoint.pool.export_beancount import beancount_account, beancount_lines
from fedjoint.pool.ledger import Entry, move
from fedjoint.pool.money import minor_digits
from fedjoint.pool.revenue import paid
from fedjoint.pool.settlement_entries import entries_of_settlement
from fedjoint.pool.waterfall import settle

AT = "2026-11-30T12:00:00Z"


def some_books() -> Books:
    books = Books()
    for number, currency in enumerate(("CNY", "JPY", "KWD", "USD")):
        terms = MoneyTerms(currency=currency)
        done = settle(1_000_003, {"a-1": 1.0, "a_1": 2.0, "0b": -1.0}, terms=terms)
        books.post(paid(f"i{number}", buyer="insurer", amount_minor=1_000_003, currency=currency, at=AT))
        books.post(entries_of_settlement(done, f"p{number}", terms=terms, at=AT))
    rate = Rate(of="USD", into="CNY", rate="7.1", source='the "bank" \\ of x')
    books.post(conversion("fx", account="fee", amount_minor=100, rate=rate, at=AT))
    books.post(
        [Entry(id="m", at=AT, kind="memo", currency="CNY", memo='a "b" \\', postings=move({"fee": -1, "bank": 1}))]
    )
    return books


def export(books: Books) -> str:
    return "".join(beancount_lines(books.entries(), books.balances(), day="2026-12-01"))


def test_bean_check_finds_nothing_and_adds_up_to_the_same_balances():
    books = some_books()
    directives, errors, _ = load_string(export(books))
    assert errors == []
    added = Counter()
    for transaction in directives:
        for posting in transaction.postings if isinstance(transaction, Transaction) else ():
            added[posting.units.currency, posting.account] += posting.units.number
    assert added == {
        (currency, beancount_account(account)): Decimal(amount) / 10 ** minor_digits(currency)
        for (currency, account), amount in books.balances().items()
        if any(p.account == account and e.phase == "posted" for e in books.entries() for p in e.postings)
    }


@pytest.mark.parametrize("was", ["-65.00 CNY", "65.00 CNY"])
def test_bean_check_would_find_a_changed_amount(was):
    books = Books()
    books.post(paid("i", buyer="insurer", amount_minor=6_500, currency="CNY", at=AT))
    _, errors, _ = load_string(export(books).replace(was, was.replace("5", "6"), 1))
    assert errors


NAMES = st.text("01-_", max_size=4).map("x{}".format)


@given(NAMES, NAMES)
def test_two_accounts_never_get_the_same_name(one, other):
    names = beancount_account(f"payable:{one}"), beancount_account(f"payable:{other}")
    assert (one == other) == (names[0] == names[1])
