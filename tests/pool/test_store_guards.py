"""What the database itself refuses, asked by plain SQL from a program that knows nothing of fedjoint."""

from __future__ import annotations

import sqlite3

import pytest

from fedjoint.pool.ledger import Entry, Posting
from fedjoint.pool.store_sql import LedgerStore

HEADER = (
    "INSERT {how} INTO entries (id, at, kind, currency, memo, phase, details, num_postings)"
    " VALUES ('{id}', 't', 'k', 'CNY', '', 'posted', '{{}}', {n})"
)


@pytest.fixture
def connection(tmp_path):
    path = tmp_path / "ledger.sqlite"
    postings = (Posting(account="receivable:b", amount_minor=-5), Posting(account="escrow", amount_minor=5))
    with LedgerStore.open(f"sqlite:///{path}") as store:
        store.post(
            [Entry(id="a", at="2026-11-30T12:00:00Z", kind="invoice", currency="CNY", memo="", postings=postings)]
        )
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


def content(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    entries = connection.execute("SELECT * FROM entries ORDER BY seq").fetchall()
    return entries + connection.execute("SELECT * FROM postings WHERE entry_id = 'a' ORDER BY line").fetchall()


def test_a_balanced_and_complete_entry_is_accepted(connection):
    connection.execute("INSERT INTO postings VALUES ('b', 0, 'escrow', -5), ('b', 1, 'fee', 5)")
    connection.execute(HEADER.format(how="", id="b", n=2))
    assert connection.execute("SELECT currency, account, posted_minor FROM balances").fetchall() == [
        ("CNY", "escrow", 0),
        ("CNY", "fee", 5),
        ("CNY", "receivable:b", -5),
    ]


@pytest.mark.parametrize("how", ["", "OR REPLACE", "OR IGNORE", "OR ROLLBACK", "OR FAIL"])
@pytest.mark.parametrize(
    ("amounts", "num_postings", "why"),
    [
        ((-5, 6), 2, "unbalanced"),
        ((-5,), 1, "unbalanced|two_postings|lacks"),
        ((-5, 5), 3, "lacks postings"),
        ((-5, 2, 3), 2, "lacks postings, or has more"),
        ((), 0, "lacks postings|two_postings"),
        ((), 2, "lacks postings|unbalanced"),
    ],
)
def test_an_entry_that_is_unbalanced_or_incomplete_is_refused(connection, how, amounts, num_postings, why):
    before = content(connection)
    for line, amount in enumerate(amounts):
        connection.execute("INSERT INTO postings VALUES ('b', ?, ?, ?)", (line, f"payable:h{line}", amount))
    with pytest.raises(sqlite3.IntegrityError, match=why):
        connection.execute(HEADER.format(how=how, id="b", n=num_postings))
    assert content(connection) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET memo = 'x'",
        "UPDATE entries SET id = 'z' WHERE id = 'a'",
        "UPDATE OR REPLACE postings SET amount_minor = 6",
        "UPDATE OR IGNORE postings SET entry_id = 'z'",
        "DELETE FROM entries",
        "DELETE FROM postings",
        "DELETE FROM postings WHERE account = 'escrow'",
        "INSERT INTO postings VALUES ('a', 2, 'fee', 1)",
        "INSERT OR REPLACE INTO postings VALUES ('a', 0, 'fee', -5)",
        "INSERT OR REPLACE INTO postings VALUES ('a', 9, 'escrow', 9)",
        "INSERT INTO postings VALUES ('a', 0, 'fee', 1) ON CONFLICT DO UPDATE SET amount_minor = 7",
        HEADER.format(how="OR REPLACE", id="a", n=2),
        HEADER.format(how="", id="a", n=2),
    ],
)
def test_what_was_posted_cannot_be_changed_removed_or_added_to(connection, statement):
    before = content(connection)
    with pytest.raises(sqlite3.IntegrityError, match=r"never changes|sealed|there already"):
        connection.execute(statement)
    assert content(connection) == before


def test_an_entry_cannot_be_put_in_the_place_of_another(connection):
    before = content(connection)
    connection.execute("INSERT INTO postings VALUES ('b', 0, 'escrow', -5), ('b', 1, 'fee', 5)")
    with pytest.raises(sqlite3.IntegrityError, match="there already"):
        connection.execute(
            "INSERT OR REPLACE INTO entries VALUES (1, 'b', 't', 'k', 'CNY', '', 'posted', NULL, '{}', 2)"
        )
    assert content(connection) == before


def test_postings_have_no_hidden_row_number_to_replace_them_by(connection):
    with pytest.raises(sqlite3.OperationalError, match="rowid"):
        connection.execute(
            "INSERT OR REPLACE INTO postings (rowid, entry_id, line, account, amount_minor)"
            " VALUES (1, 'b', 0, 'fee', 1)"
        )


@pytest.mark.parametrize(
    "amount", ["1.5", "'much'", "x'01'", "NULL", "0", "1000000000000001", "-1000000000000001", "1e15 + 1"]
)
def test_an_amount_that_is_no_bounded_whole_number_is_refused(connection, amount):
    with pytest.raises(sqlite3.IntegrityError, match="amount"):
        connection.execute(f"INSERT INTO postings VALUES ('b', 0, 'fee', {amount})")


def test_an_id_that_is_no_text_is_refused(connection):
    with pytest.raises(sqlite3.IntegrityError, match="entry_id_type"):
        connection.execute("INSERT INTO postings VALUES (x'62', 0, 'fee', 1)")


def test_postings_without_an_entry_are_refused_at_commit(connection):
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO postings VALUES ('ghost', 0, 'fee', 1)")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        connection.execute("COMMIT")
