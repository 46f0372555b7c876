import pytest

from fedjoint.errors import PoolError
from fedjoint.pool import receipts
from fedjoint.pool.facts import MAX_RECEIVED, Earned, Invoice, Queries, Received, VoucherSpent
from fedjoint.pool.revenue import Subscription
from fedjoint.pool.vouchers import Voucher
from tests.pool.small_pool import SmallPool, at

VOUCHER = Voucher(id="green", subsidiser="buyer", currency="CNY", amount_minor=1_000, expires="2026-06-01T00:00:00Z")
YEARLY = Subscription(id="sub", buyer="buyer", currency="CNY", amount_minor=1_000, num_periods=3)


@pytest.fixture
def pool():
    return SmallPool()


AT = at(3)


def take(pool, function, facts, when=AT):
    return pool.act(lambda state, books: function(state, facts, books=books, at=when))


def test_a_deposit_told_twice_is_one_deposit(pool):
    assert len(pool.deposit("d", 500).events) == 1
    size = pool.state().size
    again = pool.deposit("d", 500, when=at(5))
    assert (again.events, again.entries, pool.state().size, pool.balance("escrow")) == ((), (), size, 500)
    with pytest.raises(PoolError, match="'deposit/d' is there already with other content"):
        pool.deposit("d", 600)


def test_a_holder_pays_against_what_it_owes_and_a_stranger_not_at_all(pool):
    pool.deposit("d", 70, party="a")
    assert (pool.balance("payable:a"), pool.balance("bank")) == (70, -1_000 - 70)
    with pytest.raises(PoolError, match="'stranger' is no registered party"):
        pool.deposit("e", 70, party="stranger")
    with pytest.raises(PoolError, match="pays from credit notes and is no buyer"):
        pool.deposit("f", 70, party="a", from_credit=True)


def test_money_in_another_currency_waits_in_an_escrow_of_its_own(pool):
    pool.deposit("usd", 500, currency="USD")
    assert (pool.balance("escrow"), pool.balance("escrow", "USD")) == (0, 500)


def test_many_revenues_are_one_event_and_only_new_ones_are_recorded(pool):
    invoices = (Invoice(id="i1", buyer="buyer", amount_minor=5), Invoice(id="i2", buyer="buyer", amount_minor=7))
    queries = Queries(meter="api", buyer="buyer", price_per_1000_minor=4_000, first=0, count=10)
    take(pool, receipts.receive, Received(currency="CNY", invoices=invoices[:1], queries=(queries,)))
    assert pool.balance("escrow") == 5 + 40
    done = take(pool, receipts.receive, Received(currency="CNY", invoices=invoices, queries=(queries,)))
    assert done.events[0][1]["invoices"] == [{"id": "i2", "buyer": "buyer", "amount_minor": 7}]
    assert (done.events[0][1]["queries"], pool.balance("escrow")) == ([], 52)
    assert take(pool, receipts.receive, Received(currency="CNY", invoices=invoices)).events == ()
    with pytest.raises(PoolError, match="'a' is no registered buyer"):
        take(pool, receipts.receive, Received(currency="CNY", invoices=(Invoice(id="x", buyer="a", amount_minor=1),)))


@pytest.mark.parametrize("count", [0, MAX_RECEIVED + 1])
def test_a_step_takes_in_no_more_than_one_line_can_hold(count):
    with pytest.raises(PoolError, match=f"{count} revenues in one step"):
        Received(currency="CNY", invoices=(Invoice(id="i", buyer="buyer", amount_minor=1),) * count)


def test_a_subscription_is_deferred_and_earned_to_the_last_unit(pool):
    take(pool, receipts.subscribe, YEARLY)
    assert (pool.balance("deferred:sub"), pool.balance("escrow")) == (1_000, 0)
    assert take(pool, receipts.subscribe, YEARLY).events == ()
    for period in (1, 2, 3, 3):
        take(pool, receipts.earn, Earned(subscription="sub", period=period))
    assert (pool.balance("deferred:sub"), pool.balance("escrow")) == (0, 1_000)
    with pytest.raises(PoolError, match="there is no subscription 'other'"):
        take(pool, receipts.earn, Earned(subscription="other", period=1))
    with pytest.raises(PoolError, match="other content"):
        take(
            pool,
            receipts.subscribe,
            Subscription(id="sub", buyer="buyer", currency="CNY", amount_minor=9, num_periods=3),
        )


def test_a_voucher_pays_costs_until_it_expires_and_the_rest_returns(pool):
    take(pool, receipts.fund_voucher, VOUCHER)
    assert take(pool, receipts.fund_voucher, VOUCHER).events == ()
    spent = VoucherSpent(voucher="green", id="run-1", holder="a", amount_minor=300)
    take(pool, receipts.spend_voucher, spent)
    assert take(pool, receipts.spend_voucher, spent).events == ()
    assert (pool.balance("payable:a"), pool.balance("voucher:green")) == (300, 700)
    with pytest.raises(PoolError, match="is good until"):
        take(pool, receipts.expire_voucher, "green")
    take(pool, receipts.expire_voucher, "green", at(7))
    assert take(pool, receipts.expire_voucher, "green", at(8)).events == ()
    assert (pool.balance("voucher:green"), pool.balance("receivable:buyer")) == (0, -300)
    with pytest.raises(PoolError, match="expired"):
        take(pool, receipts.spend_voucher, VoucherSpent(voucher="green", id="late", holder="a", amount_minor=1), at(7))
    with pytest.raises(PoolError, match="there is no voucher 'x'"):
        take(pool, receipts.expire_voucher, "x")
