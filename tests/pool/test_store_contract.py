"""What every database of books must do: the same tests on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import itertools
import runpy
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings

from fedjoint.errors import PoolError
from fedjoint.pool.books import Balance, Books, Posted
from fedjoint.pool.ledger import Entry, move, post_pending, void_pending
from fedjoint.pool.store_sql import LedgerStore
from tests.pool.operations import AT, OPERATIONS, entries_of


def entry(id: str, amounts: dict[str, int], **fields: object) -> Entry:
    return Entry(**{"id": id, "at": AT, "kind": "move", "currency": "CNY", "postings": move(amounts), **fields})


PAID = entry("paid", {"receivable:b": -10, "escrow": 10}, details={"source": "bänk", "rate": "1"})
WAITING = entry("wait", {"escrow": -6, "payable:a": 4, "payable:b": 2}, phase="pending")


@pytest.fixture
def store(url):
    with LedgerStore.open(url) as opened:
        yield opened


def test_what_was_posted_is_read_again(url):
    with LedgerStore.open(url) as store:
        assert store.post([PAID, WAITING]) == Posted(new=("paid", "wait"), known=())
    with LedgerStore.open(url) as store:
        assert store.post([PAID, WAITING]) == Posted(new=(), known=("paid", "wait"))
        assert list(store.entries()) == [PAID, WAITING]
        assert list(store.entries("payable:a")) == list(store.pending()) == [WAITING]
        assert list(store.pending("fee")) == []
        assert (store.entry("paid"), store.entry("none")) == (PAID, None)
        assert store.balance("escrow", "CNY") == Balance(posted_minor=10, pending_out_minor=-6, version=2)
        assert store.balance("fee", "CNY") == Balance()
        assert store.check() == []


def test_a_pending_entry_is_resolved_once(store):
    store.post([PAID, WAITING])
    store.post([post_pending(WAITING, id="part", at=AT, amounts={"escrow": -3, "payable:a": 3})])
    with pytest.raises(PoolError, match="waits no more"):
        store.post([void_pending(WAITING, id="void", at=AT)])
    assert store.balance("escrow", "CNY") == Balance(posted_minor=7, version=3)
    assert list(store.pending()) == []


def test_a_refused_batch_leaves_nothing(store):
    with pytest.raises(PoolError, match="reserve stands at -1"):
        store.post([PAID, entry("bad", {"reserve": -1, "payable:a": 1})])
    assert (list(store.entries()), store.balances(), store.check()) == ([], {}, [])


def test_any_operations_do_to_a_database_what_they_do_to_books_in_memory(store):
    """One database and one model for all examples: both keep what came before."""
    model, numbers = Books(), itertools.count()

    @settings(max_examples=25)
    @given(OPERATIONS)
    def both(operations):
        for batch in entries_of(operations, f"x{next(numbers)}"):
            told = []
            for books in (model, store):
                try:
                    posted = books.post(batch)
                    told.append((set(posted.new), set(posted.known)))
                except PoolError as problem:
                    told.append(str(problem))
            assert told[0] == told[1]
        assert store.standings() == model.standings()
        assert list(store.pending()) == list(model.pending())

    both()
    assert list(store.entries()) == list(model.entries())
    assert store.check() == []


STATEMENTS = [
    "UPDATE entries SET memo = 'x'",
    "UPDATE postings SET amount_minor = amount_minor + 1",
    "DELETE FROM entries",
    "DELETE FROM postings",
    "DELETE FROM balances",
    "UPDATE balances SET posted_minor = 1000",
    "UPDATE balances SET posted_minor = 1000, version = version + 1, last_seq = last_seq + 1",
    "INSERT INTO balances VALUES ('CNY', 'fee', 5, 0, 0, 0, 0)",
    "INSERT INTO postings VALUES ('paid', 2, 'fee', 1)",
    "INSERT INTO postings VALUES ('new', 0, 'fee', 1)",
    "INSERT INTO entries (id, at, kind, currency, memo, phase, details, num_postings)"
    " VALUES ('new', 't', 'move', 'CNY', '', 'posted', '{}', 2)",
]
NEW = (
    "INSERT INTO entries (id, at, kind, currency, memo, phase, resolves, details, num_postings)"
    f" VALUES ('new', '{AT}', "
)


def by_hand(store: LedgerStore, *statements: str) -> None:
    """What another program would do."""
    with store.database.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def refused(store: LedgerStore, *statements: str) -> str:
    before = list(store.entries()), store.standings()
    with pytest.raises(sa.exc.DBAPIError) as problem:
        by_hand(store, *statements)
    assert (list(store.entries()), store.standings(), store.check()) == (*before, [])
    return str(problem.value.orig)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_no_program_can_change_what_was_posted(store, statement):
    store.post([PAID, WAITING])
    refused(store, statement)


@pytest.mark.parametrize(
    ("postings", "header", "why"),
    [
        ("('new', 0, 'escrow', -5), ('new', 1, 'fee', 6)", "'move', 'CNY', '', 'posted', NULL, '{}', 2)", "unbalanced"),
        (
            "('new', 0, 'reserve', -5), ('new', 1, 'fee', 5)",
            "'move', 'CNY', '', 'posted', NULL, '{}', 2)",
            "below zero",
        ),
        ("('new', 0, 'escrow', -5), ('new', 1, 'fee', 5)", "'move', 'CNY', '', 'posted', NULL, '{}', 2)", "below zero"),
        ("('new', 0, 'payable:a', -5), ('new', 1, 'fee', 5)", "'payout', 'CNY', '', 'posted', NULL, '{}', 2)", "below"),
        ("('new', 0, 'escrow', -5), ('new', 1, 'fee', 5)", "'move', 'CNY', '', 'posted', 'wait', '{}', 2)", "pending"),
        (
            "('new', 0, 'escrow', -5), ('new', 1, 'payable:a', 5)",
            "'move', 'USD', '', 'posted', 'wait', '{}', 2)",
            "pending",
        ),
        (
            "('new', 0, 'escrow', -5), ('new', 1, 'payable:a', 5)",
            "'move', 'CNY', '', 'posted', 'wait', '{}', 2)",
            "pending",
        ),
        (
            "('new', 0, 'escrow', -5), ('new', 1, 'payable:a', 5)",
            "'move', 'CNY', '', 'posted', 'paid', '{}', 2)",
            "pending",
        ),
    ],
)
def test_every_program_is_held_to_the_rules(store, postings, header, why):
    store.post([PAID, WAITING])
    assert why in refused(store, f"INSERT INTO postings VALUES {postings}", NEW + header)


def test_a_program_that_keeps_to_the_rules_moves_the_balances(store):
    store.post([PAID, WAITING])
    by_hand(
        store,
        "INSERT INTO postings VALUES ('new', 0, 'escrow', -3), ('new', 1, 'payable:a', 3)",
        NEW + "'move', 'CNY', '', 'posted', 'wait', '{}', 2)",
    )
    assert store.balance("escrow", "CNY") == Balance(posted_minor=7, version=3)
    assert store.check() == []


def test_a_second_resolution_is_refused_by_the_database(store):
    store.post([PAID, WAITING, void_pending(WAITING, id="void", at=AT)])
    refused(store, NEW + "'move', 'CNY', '', 'voided', 'wait', '{}', 0)")


@pytest.mark.parametrize("table", ["entries", "postings", "balances", "entries, postings, balances"])
def test_postgresql_refuses_to_truncate(postgres_url, table):
    with LedgerStore.open(postgres_url) as store:
        store.post([PAID])
        assert "never changes" in refused(store, f"TRUNCATE {table} CASCADE")


def test_a_posting_added_by_a_transaction_that_sees_no_entry_is_refused_at_commit(postgres_url):
    with LedgerStore.open(postgres_url) as store:
        engine = store.database.engine
        with engine.connect() as late:
            late.exec_driver_sql("INSERT INTO postings VALUES ('paid', 7, 'fee', 1)")
            store.post([PAID])
            with pytest.raises(sa.exc.IntegrityError, match="unbalanced"):
                late.commit()
        assert store.check() == []


def test_a_guard_that_was_taken_away_is_noticed(store):
    sqlite = store.database.is_sqlite
    by_hand(store, "DROP TRIGGER entry_moves_balances" + ("" if sqlite else " ON entries"))
    assert store.check() == ["the guard 'entry_moves_balances' is missing or switched off"]


def test_a_guard_that_was_switched_off_is_noticed(postgres_url):
    with LedgerStore.open(postgres_url) as store:
        by_hand(store, "ALTER TABLE postings DISABLE TRIGGER entry_balanced")
        assert store.check() == ["the guard 'entry_balanced' is missing or switched off"]


def test_a_database_opened_by_many_at_once_is_made_once(url):
    problems: list[Exception] = []

    def post(number: int) -> None:
        try:
            with LedgerStore.open(url) as store:
                store.post([entry(f"e{number % 2}", {"receivable:b": -1, "escrow": 1})])
        except PoolError as problem:
            problems.append(problem)

    threads = [threading.Thread(target=post, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with LedgerStore.open(url) as store:
        assert store.balances()["CNY", "escrow"] == 2


BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def trials(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    return runpy.run_path(str(BENCHMARKS / "pool_trials.py"))


def test_writers_at_the_same_time_leave_what_a_serial_replay_leaves(trials, url):
    row = trials["writers"](url.partition(":")[0], url, 120, seed=3)
    assert row["problems"] == 0
    assert row["posted"] > 40
    assert row["known"] > 10


def test_a_settlement_that_is_killed_is_whole_or_not_there(trials, url):
    row = trials["kills"](url.partition(":")[0], url, 2, seed=3)
    assert row["problems"] == 0
    assert row["settled"] >= 2


def test_random_waterfalls_are_exact(trials):
    row = trials["waterfalls"](300, seed=3)
    assert row["problems"] == 0
    assert row["largest_lifetime_error"] > 0.1
