from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings

from fedjoint.errors import PoolError
from fedjoint.pool.accounts import may_be_negative
from fedjoint.pool.books import Balance, Books, Posted, balances, check_entries
from fedjoint.pool.ledger import Entry, move, post_pending, void_pending
from fedjoint.pool.money import MAX_MINOR
from tests.pool.operations import AT, OPERATIONS, entries_of


def entry(id: str, amounts: dict[str, int], **fields: object) -> Entry:
    return Entry(**{"id": id, "at": AT, "kind": "move", "currency": "CNY", "postings": move(amounts), **fields})


PAID = entry("paid", {"receivable:b": -10, "escrow": 10})
WAITING = entry("wait", {"escrow": -6, "payable:a": 4, "payable:b": 2}, phase="pending")


def books(*entries: Entry) -> Books:
    made = Books()
    made.post(entries)
    return made


def test_a_pending_entry_reserves_and_gives_nothing_yet():
    made = books(PAID, WAITING)
    assert made.balance("escrow", "CNY") == Balance(posted_minor=10, pending_out_minor=-6, version=2)
    assert made.balance("escrow", "CNY").available_minor == 4
    assert made.balance("payable:a", "CNY") == Balance(pending_in_minor=4, version=1)
    assert list(made.pending()) == list(made.pending("payable:a")) == [WAITING]
    assert list(made.pending("fee")) == []
    with pytest.raises(PoolError, match="escrow stands at -1"):
        made.post([entry("x", {"escrow": -5, "fee": 5})])


def test_posting_in_part_returns_the_rest():
    made = books(PAID, WAITING)
    made.post([post_pending(WAITING, id="part", at=AT, amounts={"escrow": -3, "payable:a": 3})])
    assert made.balances() == {
        ("CNY", "escrow"): 7,
        ("CNY", "payable:a"): 3,
        ("CNY", "payable:b"): 0,
        ("CNY", "receivable:b"): -10,
    }
    assert made.balance("escrow", "CNY").available_minor == 7
    assert list(made.pending()) == []


@pytest.mark.parametrize("first", [post_pending, void_pending])
@pytest.mark.parametrize("second", [post_pending, void_pending])
def test_a_pending_entry_is_resolved_once(first, second):
    made = books(PAID, WAITING)
    made.post([first(WAITING, id="first", at=AT)])
    made.post([first(WAITING, id="first", at=AT)])  # the same again is no second time
    with pytest.raises(PoolError, match="waits no more"):
        made.post([second(WAITING, id="second", at=AT)])


@pytest.mark.parametrize(
    "resolving",
    [
        void_pending(entry("other", {"escrow": -1, "fee": 1}, phase="pending"), id="x", at=AT),
        entry("x", {"escrow": -1, "fee": 1}, resolves="paid"),
        entry("x", {"escrow": -1, "payable:a": 1}, resolves="wait", currency="USD"),
        entry("x", {"escrow": -7, "payable:a": 7}, resolves="wait"),
        entry("x", {"escrow": -1, "fee": 1}, resolves="wait"),
        entry("x", {"escrow": 1, "payable:a": -1}, resolves="wait"),
    ],
    ids=["not there", "posted", "another currency", "more", "another account", "backwards"],
)
def test_only_what_is_pending_can_be_resolved(resolving):
    made = books(PAID, WAITING)
    with pytest.raises(PoolError):
        made.post([resolving])
    assert list(made.entries()) == [PAID, WAITING]


def test_entries_that_belong_together_are_applied_or_refused_together():
    made = books(PAID)
    with pytest.raises(PoolError, match="reserve stands at -1"):
        made.post([entry("a", {"escrow": -1, "fee": 1}), WAITING, entry("b", {"reserve": -1, "payable:a": 1})])
    assert made.balances() == {("CNY", "escrow"): 10, ("CNY", "receivable:b"): -10}
    assert list(made.pending()) == []


def test_limits_hold_after_each_entry_not_only_at_the_end():
    with pytest.raises(PoolError, match="escrow stands at -5"):
        books(entry("a", {"escrow": -5, "fee": 5}), PAID)


def test_a_payout_needs_a_payable_and_a_correction_does_not():
    out = {"payable:a": -1, "bank": 1}
    with pytest.raises(PoolError, match="payable:a stands at -1"):
        books(entry("a", out, kind="payout"))
    assert books(entry("a", out)).balance("payable:a", "CNY").posted_minor == -1


def test_an_account_cannot_stand_beyond_what_json_can_write():
    rich = {"receivable:b": -MAX_MINOR, "escrow": MAX_MINOR}
    with pytest.raises(PoolError, match="beyond"):
        books(entry("a", rich), entry("b", {"receivable:c": -1, "escrow": 1}))


def test_an_id_is_an_entry():
    made = books(PAID)
    assert made.post([PAID, PAID]) == Posted(new=(), known=("paid",))
    with pytest.raises(PoolError, match="other content"):
        made.post([entry("paid", {"receivable:b": -11, "escrow": 11})])
    with pytest.raises(PoolError, match="other content"):
        made.post([entry("a", {"fee": 1, "bank": -1}), entry("a", {"fee": 2, "bank": -2})])
    assert (made.entry("paid"), made.entry("a")) == (PAID, None)


@settings(max_examples=2_000)
@given(OPERATIONS)
def test_no_sequence_of_operations_loses_a_unit_overdraws_an_account_or_pays_twice(operations):
    made, accepted = Books(), dict[str, Entry]()
    for batch in entries_of(operations, "op"):
        try:
            posted = made.post(batch)
        except PoolError:
            continue
        assert not set(posted.new) & set(accepted)
        accepted |= {one.id: one for one in batch}
    assert {one.id: one for one in made.entries()} == accepted
    assert made.balances() == balances(accepted.values())
    for currency in ("CNY", "USD"):
        standing = [balance for (other, _), balance in made.standings().items() if other == currency]
        assert sum(balance.posted_minor for balance in standing) == 0
        assert sum(balance.pending_in_minor + balance.pending_out_minor for balance in standing) == 0
    for (_, account), balance in made.standings().items():
        assert may_be_negative(account) or balance.available_minor >= 0
        assert balance.pending_out_minor <= 0 <= balance.pending_in_minor
    resolved = Counter(one.resolves for one in accepted.values() if one.resolves)
    assert set(resolved.values()) <= {1}
    waiting = {one.id for one in accepted.values() if one.phase == "pending"} - set(resolved)
    assert {one.id for one in made.pending()} == waiting
    assert check_entries(accepted.values()) == []
