import pytest
from hypothesis import given

from fedjoint.errors import PoolError
from fedjoint.pool.books import Books
from fedjoint.pool.passing_books import PassingBooks
from tests.pool.operations import OPERATIONS, entries_of


@given(OPERATIONS)
def test_they_stand_where_books_that_remember_everything_do(operations):
    remembering, seen = Books(), set()
    with PassingBooks() as passing:
        for batch in entries_of(operations, "x"):
            if seen & {entry.id for entry in batch}:
                continue
            try:
                remembering.post(batch)
            except PoolError:
                continue
            passing.post(batch)
            seen |= {entry.id for entry in batch}
        assert passing.standings() == remembering.standings()
        assert list(passing.pending()) == list(remembering.pending())
        assert list(passing.pending("escrow")) == list(remembering.pending("escrow"))
        for entry in remembering.pending():
            assert passing.entry(entry.id) == entry
            assert passing.balance("escrow", "CNY") == remembering.balance("escrow", "CNY")


def test_an_entry_that_comes_twice_or_breaks_a_limit_is_refused():
    first, *_ = entries_of([("post", 0, 5, "CNY")], "x")
    with PassingBooks() as books:
        books.post(first)
        with pytest.raises(PoolError, match="entry 'x/0' stands twice"):
            books.post(first)
        with pytest.raises(PoolError, match="below zero"):
            books.post(entries_of([("post", 1, 9, "CNY")], "y")[0])
        assert books.entry("x/0") is None
