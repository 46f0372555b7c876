import pytest

from fedjoint.errors import PoolError
from fedjoint.pool.desk import Settling, settle_revenue
from fedjoint.pool.state import DECIDING, PoolState, fold
from fedjoint.record.log import Event
from tests.pool.small_pool import SmallPool


def test_the_state_rests_on_deciding_events_alone():
    pool = SmallPool()
    pool.settle("s1", 1_000)
    pool.deposit("d", 5)
    whole = fold(pool.store.events())
    assert whole == fold(pool.store.events_of(*DECIDING), size=whole.size) == pool.state()
    assert "money.deposited" not in DECIDING
    assert whole.size == sum(1 for _ in pool.store.events())


def test_what_is_known_is_not_read_again(monkeypatch):
    pool = SmallPool()
    pool.settle("s1", 1_000)
    known = pool.state()
    monkeypatch.setattr("fedjoint.pool.record_store_sql._parse", lambda *_: pytest.fail("an event was read again"))
    assert pool.state() is known


def test_a_step_that_fails_leaves_what_is_known_as_it_was():
    pool = SmallPool()
    known = pool.state()
    facts = Settling(id="s", gross_minor=500, contributions={"a": 1.0}, datasets={"a": "scans-a"})
    with pytest.raises(PoolError, match="below zero"):
        pool.act(lambda state, books: settle_revenue(state, facts, books=books, at="2026-04-01T12:00:00Z")[0])
    assert pool.state() == known == fold(pool.store.events())


@pytest.mark.parametrize("seq", [0, 2])
def test_an_event_out_of_place_is_refused(seq):
    event = Event(seq=seq, type="noted", at="2026-01-01T00:00:00Z", body={})
    with pytest.raises(PoolError, match="expected event 1"):
        fold([event], PoolState(size=1))
    with pytest.raises(PoolError, match="expected event 1"):
        fold([event], PoolState(size=1), size=2)


def test_a_pool_without_rules_says_so():
    with pytest.raises(PoolError, match="no rules yet"):
        _ = PoolState().rules
    with pytest.raises(PoolError, match="there is no claim 'x'"):
        PoolState().claim("x")
    with pytest.raises(PoolError, match="there is no settlement 'x'"):
        PoolState().settled("x")
