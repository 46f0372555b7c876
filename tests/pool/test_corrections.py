import pytest

from fedjoint.errors import PoolError
from fedjoint.pool import corrections, desk
from fedjoint.pool.conversion import Rate
from fedjoint.pool.facts import Converted, GivenBack
from tests.pool.small_pool import SmallPool, at

RATE = Rate(of="USD", into="CNY", rate="7.1", source="PBOC, 2026-03-01")


@pytest.fixture
def pool():
    found = SmallPool()
    found.settle("s1", 100_000)
    return found


def give(pool, amount, before=0, how="refund", buyer="buyer", settlement="s1"):
    given = GivenBack(settlement=settlement, buyer=buyer, amount_minor=amount, before_minor=before, how=how)
    return pool.act(lambda state, books: corrections.give_back(state, given, books=books, at=at(5)))


def test_a_refund_takes_from_everybody_in_proportion_and_is_made_once(pool):
    before = {name: pool.balance(name) for name in ("fee", "reserve")}
    give(pool, 50_000)
    assert give(pool, 50_000).events == ()
    assert {name: 2 * pool.balance(name) for name in before} == before
    assert pool.balance("receivable:buyer") == -50_000
    assert pool.state().payouts_of("s1") == {"a": 26_100, "b": 17_400, "c": 0}
    assert pool.state().gross_of("s1") == 50_000
    assert pool.state().paid_in_of("a") == 900  # half of three fifths of the premium


def test_a_second_refund_says_what_was_given_back_before_it(pool):
    give(pool, 10_000)
    with pytest.raises(PoolError, match="0 minor units of 's1' were given back before; expected 10000"):
        give(pool, 20_000)
    give(pool, 90_000, 10_000)
    assert {pool.balance(name) for name in ("fee", "reserve", "suspense", "receivable:buyer")} == {0}
    with pytest.raises(PoolError, match="given back"):
        give(pool, 1, 100_000)


def test_a_credit_note_is_spent_here(pool):
    give(pool, 700, how="credit note")
    assert (pool.balance("credit:buyer"), pool.balance("receivable:buyer")) == (700, -100_000)
    pool.deposit("again", 700, from_credit=True)
    assert (pool.balance("credit:buyer"), pool.balance("escrow")) == (0, 700)


def test_only_a_buyer_and_only_a_settlement_that_there_is(pool):
    with pytest.raises(PoolError, match="'a' is no registered buyer"):
        give(pool, 1, buyer="a")
    with pytest.raises(PoolError, match="there is no settlement 'other'"):
        give(pool, 1, settlement="other")


def test_a_conversion_names_its_rate_and_is_made_once(pool):
    pool.deposit("usd", 1_000, currency="USD")
    facts = Converted(id="fx", amount_minor=1_000, rate=RATE)
    for _ in range(2):
        done = pool.act(lambda state, books: corrections.convert(state, facts, books=books, at=at(5)))
    assert done.events == ()
    assert (pool.balance("escrow"), pool.balance("escrow", "USD")) == (7_100, 0)
    with pytest.raises(PoolError, match="below zero"):
        more = Converted(id="fx2", amount_minor=1, rate=RATE)
        pool.act(lambda state, books: corrections.convert(state, more, books=books, at=at(5)))


def give_excess(pool, name="2027", when="2027-05-01T00:00:00Z"):
    return pool.act(lambda state, books: corrections.return_excess(state, name, books=books, at=when))


def test_what_the_reserve_holds_above_its_target_goes_back_to_who_paid_in():
    pool = SmallPool(reserve_premium_bp=1_000, reserve_target_bp=10_000)
    pool.settle("s1", 1_000_000)
    assert (pool.balance("reserve"), give_excess(pool, when=at(5)).events) == (100_000, ())
    before = pool.balance("payable:a"), pool.balance("payable:b")
    assert desk.target_of(pool.state(), "2027-05-01T00:00:00Z") == 50_000  # the year is over: the largest sum insured
    give_excess(pool)
    assert (pool.balance("payable:a") - before[0], pool.balance("payable:b") - before[1]) == (30_000, 20_000)
    assert pool.balance("reserve") == 50_000
    assert give_excess(pool).events == give_excess(pool, "again").events == ()
    assert pool.state().paid_in_of("a") == 30_000
