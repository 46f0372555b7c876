import pytest

from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.agreement.terms import MoneyTerms
from fedjoint.errors import PoolError
from fedjoint.pool import desk
from fedjoint.pool.compute_costs import MeteredCosts, sign_costs
from fedjoint.pool.facts import Opened, RunCosts
from fedjoint.pool.registered import DatasetEvent
from tests.pool.consortium import PEOPLE, digest
from tests.pool.small_pool import CONTRIBUTIONS, SmallPool, at

METERED = MoneyTerms(cpu_hour_minor=3_600, compute_cap_bp=1_000)


def costs(holder="a", seconds=100, run="run-1", rounds=5):
    metered = MeteredCosts(holder=holder, run_id=run, agreement_sha256=digest("agreement"), cpu_seconds=seconds)
    return RunCosts(signed=sign_costs(metered, PEOPLE[holder]), rounds=rounds)


def of_run(*metered):
    return {"run_id": "run-1", "agreement_sha256": digest("agreement"), "costs": metered}


def test_a_settlement_records_all_that_it_rested_on():
    pool = SmallPool(materiality="equal")
    pool.settle("s1", 100_000, errors={"a": 0.5, "b": 0.5}, method="exact", alike=(("a", "b"),))
    settled = pool.state().settled("s1")
    assert settled.payouts_minor == {"a": 43_500, "b": 43_500, "c": 0}
    assert settled.shares == {"a": "1/2", "b": "1/2", "c": "0/1"}
    assert (settled.errors, settled.method) == ({"a": 0.5, "b": 0.5}, "exact")
    assert [step.amount_minor for step in settled.steps] == [100_000, 0, 10_000, 0, 3_000, 87_000, 0]
    assert settled.held_minor["a"] == 4_350


def test_a_settlement_is_made_once():
    pool = SmallPool()
    pool.settle("s1", 1_000)
    with pytest.raises(PoolError, match="'s1' is settled already"):
        pool.settle("s1", 1_000)


def test_metered_costs_are_paid_first_and_once():
    pool = SmallPool(cpu_hour_minor=3_600)
    pool.settle("s1", 100_000, **of_run(costs()))
    assert pool.state().settled("s1").compute_minor == {"a": 100}
    with pytest.raises(PoolError, match="the costs of 'a' in run 'run-1' were paid"):
        pool.settle("s2", 100_000, **of_run(costs()))
    with pytest.raises(PoolError, match="18001 CPU seconds"):
        pool.settle("s3", 100_000, **of_run(costs("b", seconds=18_001)))
    with pytest.raises(PoolError, match="the costs are of run"):
        pool.settle("s4", 100_000, **(of_run(costs("b")) | {"run_id": "another"}))


@pytest.mark.parametrize(("datasets", "words"), [({"a": "scans-b"}, "is not that of 'a'"), ({}, "no registered")])
def test_a_holder_is_paid_for_a_dataset_of_its_own(datasets, words):
    pool = SmallPool()
    with pytest.raises(PoolError, match=words):
        pool.settle("s1", 1_000, contributions={"a": 1.0}, datasets=datasets)


def test_a_revoked_dataset_earns_nothing_from_the_day_it_takes_effect():
    pool = SmallPool()
    ended = DatasetEvent(dataset="scans-a", kind="revocation", effective="2026-05-01", reason="consent withdrawn")
    pool.act(lambda state, _: desk.note_dataset(state, ended, at=at(4)))
    pool.settle("before", 1_000, when=at(4, 30))
    with pytest.raises(PoolError, match="its revocation took effect on 2026-05-01"):
        pool.settle("after", 1_000, when=at(5, 1))


def test_a_payout_batch_pays_once_and_what_is_held_back_later():
    pool = SmallPool()
    pool.settle("s1", 100_000)
    pay = lambda batch, when: pool.act(lambda state, books: desk.pay_out(state, batch, books=books, at=when))  # noqa: E731
    first = pay("may", at(5))
    assert first.events[0][1]["paid_minor"] == {"a": 46_980, "b": 31_320}
    assert pay("may", at(6)).events == ()
    later = pay("later", at(9))
    assert later.events[0][1]["paid_minor"] == {"a": 5_220, "b": 3_480}
    assert pool.balance("bank") == 87_000 - 1_000


def test_a_pool_is_opened_once():
    pool = SmallPool()
    again = Opened(pool_id="x", exchange=PEOPLE["exchange"].public, money=MoneyTerms(), claims=ClaimTerms())
    with pytest.raises(PoolError, match="the pool is open already"):
        pool.act(lambda state, _: desk.open_pool(state, again, at=at(3)))


def test_the_reserves_premium_ends_at_its_target():
    pool = SmallPool(reserve_target_bp=0)
    pool.settle("s1", 10_000_000)
    assert pool.balance("reserve") == 50_000  # the largest sum insured
    pool.settle("s2", 1_000, contributions=CONTRIBUTIONS)
    assert pool.balance("reserve") == 50_000
