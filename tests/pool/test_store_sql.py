from __future__ import annotations

import logging
import random
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.agreement.terms import MoneyTerms
from fedjoint.errors import PoolError
from fedjoint.pool import store_sql, tables_store_sql
from fedjoint.pool.books import Posted, balances, check_entries
from fedjoint.pool.ledger import Entry, Posting
from fedjoint.pool.settlement_entries import entries_of_settlement
from fedjoint.pool.store_sql import LedgerStore
from fedjoint.pool.waterfall import settle

AT = "2026-11-30T12:00:00Z"


def entry(entry_id: str, amount: int = 5, memo: str = "") -> Entry:
    postings = (Posting(account="receivable:b", amount_minor=-amount), Posting(account="escrow", amount_minor=amount))
    return Entry(id=entry_id, at=AT, kind="invoice", currency="CNY", memo=memo, postings=postings)


def settled(run_id: str, gross: int = 100_000) -> tuple[Entry, ...]:
    done = settle(gross, {"a": 3.0, "b": 1.0, "c": -2.0}, terms=MoneyTerms())
    return entries_of_settlement(done, run_id, buyer="insurer", at=AT)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def test_what_was_posted_is_read_again_in_order_after_reopening(path):
    with LedgerStore.open(url(path)) as store:
        assert store.post(settled("run-1")).new == ("run-1/invoice", "run-1/waterfall", "run-1/payables")
        store.post([entry("a")])
    with LedgerStore.open(url(path)) as store:
        assert tuple(store.entries()) == (*settled("run-1"), entry("a"))
        assert store.balances() == balances(store.entries())
        assert store.check() == []


def test_an_empty_ledger_is_in_order():
    with LedgerStore.open("sqlite://") as store:
        assert (list(store.entries()), store.balances(), store.check()) == ([], {}, [])
        assert store.post([]) == Posted(new=(), known=())


def test_posting_again_changes_nothing_and_says_so():
    with LedgerStore.open("sqlite://") as store:
        store.post(settled("run-1"))
        again = store.post([*settled("run-1"), entry("a"), entry("a")])
        assert again == Posted(new=("a",), known=("run-1/invoice", "run-1/waterfall", "run-1/payables"))
        assert len(list(store.entries())) == 4


@pytest.mark.parametrize("other", [entry("a", amount=6), entry("a", memo="other")])
def test_an_id_with_other_content_is_refused_and_nothing_of_the_batch_is_written(other):
    with LedgerStore.open("sqlite://") as store:
        store.post([entry("a")])
        with pytest.raises(PoolError, match="'a' is there already with other content"):
            store.post([entry("b"), other])
        with pytest.raises(PoolError, match="'c' is there already with other content"):
            store.post([entry("c"), entry("c", amount=7)])
        assert list(store.entries()) == [entry("a")]


def test_a_batch_that_fails_in_the_middle_leaves_nothing(path):
    unbalanced = entry("bad")
    object.__setattr__(unbalanced, "postings", (unbalanced.postings[1], Posting(account="fee", amount_minor=1)))
    with LedgerStore.open(url(path)) as store:
        with pytest.raises(PoolError, match="unbalanced"):
            store.post([entry("a"), unbalanced])
        assert (list(store.entries()), store.check()) == ([], [])


def test_more_entries_than_a_page_are_read_completely(monkeypatch):
    monkeypatch.setattr(store_sql, "PAGE", 3)
    monkeypatch.setattr(tables_store_sql, "PAGE", 3)
    with LedgerStore.open("sqlite://") as store:
        many = [entry(f"e{i}") for i in range(9)]
        assert len(store.post(many[:7]).new) == 7
        assert len(store.post(many).known) == 7
        assert list(store.entries()) == many


def test_after_closing_the_ledger_is_one_complete_file(path):
    with LedgerStore.open(url(path)) as store:
        store.post(settled("run-1"))
    assert [file.name for file in path.parent.iterdir()] == ["ledger.sqlite"]
    copy = path.with_name("copy.sqlite")
    copy.write_bytes(path.read_bytes())
    with LedgerStore.open_readonly(copy) as store:
        assert tuple(store.entries()) == settled("run-1")


def test_opening_to_verify_writes_nothing(path):
    with LedgerStore.open(url(path)) as store:
        store.post(settled("run-1"))
    before = path.read_bytes()
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        with LedgerStore.open_readonly(path) as store:
            assert store.check() == []
            with pytest.raises(PoolError, match="readonly"):
                store.post([entry("a")])
    finally:
        path.parent.chmod(0o700)
    assert path.read_bytes() == before


def test_a_file_name_with_signs_of_a_url_is_opened_as_it_is(tmp_path):
    odd = tmp_path / "a?b#c%20d ü.sqlite"
    plain = tmp_path / "plain.sqlite"
    with LedgerStore.open(url(plain)) as store:
        store.post([entry("a")])
    plain.rename(odd)
    with LedgerStore.open_readonly(odd) as store:
        assert list(store.entries()) == [entry("a")]


def test_migrating_says_nothing(path, capfd, caplog):
    caplog.set_level(logging.INFO)
    with LedgerStore.open(url(path)) as store:
        store.post([entry("a")])
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_the_tables_queried_are_the_tables_migrated():
    with LedgerStore.open("sqlite://") as store, store._database.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), tables_store_sql.METADATA)
    assert differences == []


@pytest.mark.parametrize(
    "bad", ["mysql+pymysql://user:secret@host/db", "mysql://host/db", "no url", "", "sqlite:////no/such/dir/x"]
)
def test_a_database_that_cannot_be_used_is_refused_in_words(bad):
    with pytest.raises(PoolError) as problem:
        LedgerStore.open(bad)
    assert "secret" not in str(problem.value)
    assert "sqlalche.me" not in str(problem.value)


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 200])
def test_a_file_that_is_no_database_is_refused_in_words(path, content):
    path.write_bytes(content)
    for opening in (lambda: LedgerStore.open(url(path)), lambda: LedgerStore.open_readonly(path)):
        with pytest.raises(PoolError, match=r"ledger\.sqlite"):
            opening()


def test_a_missing_or_empty_file_cannot_be_verified(path):
    with pytest.raises(PoolError, match="there is no ledger"):
        LedgerStore.open_readonly(path)
    path.touch()
    with pytest.raises(PoolError, match=r"ledger\.sqlite"):
        LedgerStore.open_readonly(path)


@pytest.mark.parametrize("suffix", ["-journal", "-wal"])
def test_a_ledger_left_in_the_middle_of_a_posting_cannot_be_verified(path, suffix):
    LedgerStore.open(url(path)).close()
    path.with_name(path.name + suffix).touch()
    with pytest.raises(PoolError, match="cut off"):
        LedgerStore.open_readonly(path)


def test_a_ledger_of_a_later_version_is_refused(path):
    LedgerStore.open(url(path)).close()
    raw(path, "UPDATE alembic_version SET version_num = 'ledger_9999'")
    with pytest.raises(PoolError, match="ledger_9999"):
        LedgerStore.open(url(path))
    with pytest.raises(PoolError, match="of this version"):
        LedgerStore.open_readonly(path)


def raw(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    try:
        with connection:
            for statement in statements:
                connection.execute(statement)
    finally:
        connection.close()


def test_a_ledger_whose_guards_were_taken_away_cannot_be_verified(path):
    LedgerStore.open(url(path)).close()
    raw(path, "DROP TRIGGER entry_balanced")
    with pytest.raises(PoolError, match="guards"):
        LedgerStore.open_readonly(path)


def test_rows_forged_past_the_guards_are_noticed_when_read(path):
    with LedgerStore.open(url(path)) as store:
        store.post([entry("a")])
    raw(path, "DROP TRIGGER postings_refuse_update", "UPDATE postings SET amount_minor = 6 WHERE account = 'escrow'")
    with LedgerStore.open(url(path)) as store, pytest.raises(PoolError, match="unbalanced"):
        store.check()


def test_a_posting_that_vanished_is_noticed_when_read(path):
    with LedgerStore.open(url(path)) as store:
        store.post(settled("run-1"))
    raw(path, "DROP TRIGGER postings_refuse_delete", "DELETE FROM postings WHERE account = 'fee'")
    with LedgerStore.open(url(path)) as store, pytest.raises(PoolError, match=r"run-1/waterfall.*2 postings"):
        list(store.entries())


def test_a_value_of_a_wrong_type_is_noticed_when_read(path):
    with LedgerStore.open(url(path)) as store:
        store.post([entry("a")])
    raw(
        path,
        "PRAGMA ignore_check_constraints = ON",
        "DROP TRIGGER entries_refuse_update",
        "UPDATE entries SET memo = x'00'",
    )
    with LedgerStore.open(url(path)) as store, pytest.raises(PoolError, match="wrong type"):
        list(store.entries())


def test_postings_without_an_entry_count_for_nothing_and_are_told(path):
    with LedgerStore.open(url(path)) as store:
        store.post([entry("a")])
        raw(path, "INSERT INTO postings VALUES ('ghost', 0, 'fee', 1000)")
        assert store.balances() == balances([entry("a")])
        assert store.check() == ["postings of 'ghost' have no entry"]


def test_a_changed_byte_of_the_file_never_ends_in_anything_but_words(path):
    with LedgerStore.open(url(path)) as store:
        store.post(settled("run-1"))
    good, source, refused = path.read_bytes(), random.Random(11), 0
    for _ in range(400):
        damaged = bytearray(good)
        place = source.choice(
            (source.randrange(len(good)), source.randrange(200), len(good) - 1 - source.randrange(900))
        )
        damaged[place] ^= 1 << source.randrange(8)
        path.write_bytes(damaged)
        try:
            with LedgerStore.open_readonly(path) as store:
                entries = list(store.entries())
                assert check_entries(entries) == store.check()
        except PoolError as problem:
            assert "sqlalche.me" not in str(problem)
            refused += 1
    assert refused > 50


def test_writers_at_the_same_time_post_everything_once(path):
    LedgerStore.open(url(path)).close()
    wanted = [entry(f"e{i}", amount=i + 1) for i in range(20)]

    def write(seed: int) -> int:
        mine = list(wanted)
        random.Random(seed).shuffle(mine)
        with LedgerStore.open(url(path)) as store:
            return sum(len(store.post([one]).new) for one in mine)

    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(write, range(4)))
    assert sum(written) == len(wanted)
    with LedgerStore.open_readonly(path) as store:
        assert sorted(store.entries(), key=lambda e: e.id) == sorted(wanted, key=lambda e: e.id)
        assert store.balances() == balances(wanted)


BATCHES = st.lists(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 3)), max_size=4), max_size=6)


@settings(max_examples=40, deadline=None)
@given(BATCHES)
def test_any_sequence_of_posts_leaves_the_books_of_a_plain_dictionary(batches):
    model: dict[str, Entry] = {}
    with LedgerStore.open("sqlite://") as store:
        for batch in batches:
            trial, fits = dict(model), True
            for entry_id, amount in batch:
                given_entry = entry(entry_id, amount)
                fits &= trial.setdefault(entry_id, given_entry) == given_entry
            entries = [entry(entry_id, amount) for entry_id, amount in batch]
            if fits:
                posted = store.post(entries)
                assert set(posted.new) == set(trial) - set(model)
                assert set(posted.known) == {e.id for e in entries} & set(model)
                model = trial
            else:
                with pytest.raises(PoolError, match="other content"):
                    store.post(entries)
            assert list(store.entries()) == list(model.values())
            assert store.balances() == balances(model.values())
            assert sum(store.balances().values()) == 0
