from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.agreement.terms import MoneyTerms
from fedjoint.errors import PoolError
from fedjoint.pool.books import Books
from fedjoint.pool.facts import Settled
from fedjoint.pool.ledger import Entry, move
from fedjoint.pool.refunds import given_back
from fedjoint.pool.revenue import paid
from fedjoint.pool.settlement_entries import entries_of_settlement, released
from fedjoint.pool.waterfall import Period, Settlement, settle

AT, LATER = "2026-11-30T12:00:00Z", "2027-11-30T12:00:00Z"
TERMS = MoneyTerms(tax_bp=600, cpu_hour_minor=1, base_bp=1_000)


def settled(gross: int) -> tuple[Books, Settlement]:
    books = Books()
    done = settle(gross, {"a": 2.0, "b": 1.0, "c": -1.0}, terms=TERMS, period=Period(compute_minor={"c": gross // 50}))
    books.post(paid("p/invoice", buyer="insurer", amount_minor=gross, currency="CNY", at=AT))
    books.post(entries_of_settlement(done, "p", terms=TERMS, at=AT))
    return books, done


def divided(done: Settlement) -> Settled:
    """What the record keeps of a settlement."""
    return Settled(
        id="p",
        gross_minor=done.gross_minor,
        currency=done.currency,
        contributions={},
        datasets={},
        sizes={},
        errors={},
        method="",
        run_id="",
        agreement_sha256="",
        alike=(),
        costs=(),
        steps=done.steps,
        shares={},
        compute_minor=dict(done.compute_minor),
        payouts_minor=dict(done.payouts_minor),
        held_minor=dict(done.held_minor),
        premiums_minor={},
        carried={},
    )


@settings(max_examples=80)
@given(st.integers(1, 10**6), st.lists(st.integers(1, 10**6), max_size=6))
def test_giving_everything_back_in_any_parts_leaves_nobody_anything(gross, parts):
    books, done = settled(gross)
    before = 0
    for part in (*parts, gross):
        amount = min(part, gross - before)
        if amount:
            books.post([given_back(divided(done), buyer="insurer", amount_minor=amount, before_minor=before, at=LATER)])
            before += amount
    books.post(released(books.pending(), at=LATER))
    assert set(books.balances().values()) == {0}


def test_a_part_is_taken_from_each_in_proportion():
    books, done = settled(106_000)
    books.post([given_back(divided(done), buyer="insurer", amount_minor=53_000, before_minor=0, at=LATER)])
    assert books.balance("tax", "CNY").posted_minor == done.tax_minor // 2
    assert books.balance("fee", "CNY").posted_minor == done.fee_minor // 2
    assert books.balance("receivable:insurer", "CNY").posted_minor == -53_000


def test_a_holder_that_was_paid_out_owes_it_back():
    books, done = settled(106_000)
    owed = books.balance("payable:a", "CNY").posted_minor
    payout = Entry(id="out", at=AT, kind="payout", currency="CNY", postings=move({"payable:a": -owed, "bank": owed}))
    books.post([payout])
    books.post([given_back(divided(done), buyer="insurer", amount_minor=106_000, before_minor=0, at=LATER)])
    assert books.balance("payable:a", "CNY").posted_minor == -done.payouts_minor["a"]


def test_a_credit_note_can_be_spent():
    books, done = settled(1_000)
    note = given_back(divided(done), buyer="insurer", amount_minor=400, before_minor=0, at=LATER, how="credit note")
    books.post([note])
    books.post(paid("next", buyer="insurer", amount_minor=400, currency="CNY", at=LATER, from_credit=True))
    assert (note.kind, note.details) == ("credit note", {"reverses": "p"})
    assert books.balance("credit:insurer", "CNY").posted_minor == 0


@pytest.mark.parametrize("amounts", [(0, 0), (1, 1_000), (1_001, 0), (1, -1)])
def test_more_than_was_paid_cannot_be_given_back(amounts):
    _, done = settled(1_000)
    with pytest.raises(PoolError, match="given back"):
        given_back(divided(done), buyer="insurer", amount_minor=amounts[0], before_minor=amounts[1], at=LATER)


def test_a_reserve_that_was_spent_cannot_give_back():
    books, done = settled(100_000)
    reserve = books.balance("reserve", "CNY").posted_minor
    books.post(
        [Entry(id="claim", at=AT, kind="claim", currency="CNY", postings=move({"reserve": -reserve, "bank": reserve}))]
    )
    with pytest.raises(PoolError, match="reserve stands at"):
        books.post([given_back(divided(done), buyer="insurer", amount_minor=100_000, before_minor=0, at=LATER)])
