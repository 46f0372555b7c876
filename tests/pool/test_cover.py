import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.errors import PoolError
from fedjoint.pool.claim import Debt, Held
from fedjoint.pool.cover import Means, cover, debts_of, hold, pay_debts, split

AMOUNTS = st.integers(0, 10_000)
MEANS = st.builds(
    Means,
    holdback_minor=AMOUNTS,
    payable_minor=AMOUNTS,
    premiums_minor=AMOUNTS,
    reserve_minor=AMOUNTS,
    drawn_minor=AMOUNTS,
    tranche_minor=AMOUNTS,
    assessable_minor=st.dictionaries(st.sampled_from("bcd"), AMOUNTS),
)
TERMS = st.builds(
    ClaimTerms,
    deductible_bp=st.integers(0, 10_000),
    reserve_claim_cap_bp=st.integers(0, 10_000),
    insurer_limit_minor=AMOUNTS,
)


@given(st.integers(1, 50_000), MEANS, TERMS)
def test_nothing_is_held_that_is_not_there_or_not_contested(amount, means, terms):
    held = hold(amount, means, terms)
    assert 0 <= held.holdback_minor <= means.holdback_minor
    assert 0 <= held.payable_minor <= means.payable_minor
    assert held.frozen_minor <= amount
    assert 0 <= held.reserve_minor <= means.reserve_minor
    assert held.premiums_minor <= means.premiums_minor
    assert held.mutual_minor <= means.reserve_minor * terms.reserve_claim_cap_bp // 10_000


@given(st.integers(1, 50_000), MEANS, TERMS)
def test_the_layers_sum_to_the_amount_and_none_is_used_before_the_one_above_is_used_up(amount, means, terms):
    held = hold(amount, means, terms)
    found = cover(amount, held, means, terms)
    assert found.deductible_minor + found.paid_minor + found.unpaid_minor == amount
    assessed = sum(found.assessed_minor.values())
    layers = [
        (found.holdback_minor, held.holdback_minor),
        (found.premiums_minor, held.premiums_minor),
        (found.tranche_minor, means.tranche_minor),
        (found.mutual_minor, held.mutual_minor),
        (assessed, sum(means.assessable_minor.values())),
        (found.insurer_minor, terms.insurer_limit_minor),
        (found.unpaid_minor, None),
    ]
    for place, (used, most) in enumerate(layers):
        if most is not None and used < most:
            assert not any(later for later, _ in layers[place + 1 :])
    assert all(found.assessed_minor[holder] <= means.assessable_minor[holder] for holder in found.assessed_minor)


def test_a_respondents_annual_cap_counts_what_was_drawn_before():
    terms = ClaimTerms(reserve_claim_cap_bp=10_000, reserve_holder_annual_cap_bp=5_000, deductible_bp=0)
    assert hold(900, Means(reserve_minor=1_000, drawn_minor=0), terms).mutual_minor == 500
    assert hold(900, Means(reserve_minor=1_000, drawn_minor=450), terms).mutual_minor == 50
    assert hold(900, Means(reserve_minor=1_000, drawn_minor=600), terms).mutual_minor == 0


@given(AMOUNTS, st.dictionaries(st.sampled_from("abc"), AMOUNTS))
def test_splitting_loses_nothing(amount, weights):
    parts = split(amount, weights)
    assert sum(parts.values()) == (amount if any(weights.values()) else 0)
    assert all(abs(part - amount * weights[key] / sum(weights.values())) < 1 for key, part in parts.items())


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abc"), st.integers(1, 99)), max_size=6), st.data())
def test_debts_are_paid_rank_by_rank_and_nothing_is_lost(owed, data):
    unique = {(rank, account): amount for rank, account, amount in owed}
    debts = tuple(Debt(rank=r, account=a, amount_minor=m) for (r, a), m in sorted(unique.items()))
    amount = data.draw(st.integers(0, sum(debt.amount_minor for debt in debts)))
    paid, left = pay_debts(debts, amount)
    assert sum(paid.values()) == amount
    assert sum(debt.amount_minor for debt in left) == sum(debt.amount_minor for debt in debts) - amount
    if left:
        first = left[0].rank
        before = [debt for debt in debts if debt.rank > first]
        assert [debt for debt in left if debt.rank > first] == before


def test_more_than_is_owed_is_refused():
    with pytest.raises(PoolError, match="recovered amount = 6"):
        pay_debts((Debt(rank=0, account="reserve", amount_minor=5),), 6)


def test_the_reserve_comes_first_and_what_is_reallocated_last():
    found = cover(1_000, Held(premiums_minor=10, mutual_minor=20), Means(tranche_minor=5), ClaimTerms())
    debts = debts_of(found, claimant="owner", reallocated_minor={"payable:b": 7})
    assert [(debt.account, debt.amount_minor) for debt in debts] == [
        ("reserve", 30),
        ("tranche", 5),
        ("payable:owner", 865),
        ("payable:b", 7),
    ]
