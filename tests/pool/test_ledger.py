from __future__ import annotations

import dataclasses

import pytest

from fedjoint.errors import PoolError
from fedjoint.pool.books import check_entries
from fedjoint.pool.ledger import MAX_POSTINGS, Entry, Posting, move, post_pending, reverse, void_pending
from fedjoint.pool.money import MAX_MINOR

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
        {"memo": "two\nlines"},
        {"memo": "\ud800"},
        {"phase": "pending", "resolves": "a"},
        {"phase": "voided", "resolves": "a"},
        {"phase": "voided", "postings": ()},
        {"resolves": "a b"},
        {"details": {"Rate": "1"}},
        {"details": {"rate": "1" * 501}},
        {"details": {"rate": "a\x00"}},
        {"details": {f"d{i}": "" for i in range(17)}},
    ],
)
def test_a_malformed_entry_cannot_be_made(fields):
    with pytest.raises(PoolError):
        entry(**fields)


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


WAITING = entry("wait", {"escrow": -6, "payable:a": 4, "payable:b": 2}, phase="pending")


def test_a_pending_entry_is_posted_in_full_or_in_part():
    whole = post_pending(WAITING, id="all", at=AT)
    part = post_pending(WAITING, id="part", at=AT, amounts={"escrow": -3, "payable:a": 3}, memo="agreed")
    assert (whole.postings, whole.phase, whole.resolves) == (WAITING.postings, "posted", "wait")
    assert (part.postings, part.memo) == (move({"escrow": -3, "payable:a": 3}), "agreed")


@pytest.mark.parametrize(
    "amounts", [{"escrow": -7, "payable:a": 7}, {"escrow": 1, "payable:a": -1}, {"escrow": -1, "fee": 1}]
)
def test_more_than_is_pending_cannot_be_posted(amounts):
    with pytest.raises(PoolError, match="beyond what waits"):
        post_pending(WAITING, id="part", at=AT, amounts=amounts)


def test_a_voided_entry_moves_nothing():
    void = void_pending(WAITING, id="void", at=AT)
    assert (void.postings, void.phase, void.resolves) == ((), "voided", "wait")


def test_only_a_pending_entry_can_be_posted_or_voided_and_only_a_posted_one_reversed():
    for resolve in (post_pending, void_pending):
        with pytest.raises(PoolError, match="expected a pending one"):
            resolve(entry(), id="x", at=AT)
    with pytest.raises(PoolError, match="is pending"):
        reverse(WAITING, id="x", at=AT, memo="")


def test_a_reversal_undoes_an_entry_and_names_it():
    undone = reverse(entry("a"), id="b", at=AT, memo="a mistake")
    assert undone.postings == move({"receivable:buyer": 5, "escrow": -5})
    assert undone.details == {"reverses": "a"}
