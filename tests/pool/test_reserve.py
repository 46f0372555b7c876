import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.errors import PoolError
from fedjoint.pool.reserve import excess_return, premium_due, reserve_target

AMOUNTS = st.integers(0, 10**9)


def test_the_target_is_the_larger_of_revenue_part_and_largest_sum_insured():
    terms = ClaimTerms(reserve_target_bp=500, sum_insured_minor=400)
    assert reserve_target(10_000, [], terms) == 500
    assert reserve_target(1_000, [], terms) == 400
    assert reserve_target(10_000, [300, 900], terms) == 900


@given(AMOUNTS, AMOUNTS, AMOUNTS)
def test_premiums_stop_at_the_target(gross, reserve, target):
    premium = premium_due(gross, 300, reserve_minor=reserve, target_minor=target)
    assert 0 <= premium <= gross * 300 // 10_000
    assert reserve + premium <= max(target, reserve)


@given(AMOUNTS, AMOUNTS, st.dictionaries(st.sampled_from("abcd"), AMOUNTS))
def test_the_excess_goes_back_pro_rata_and_nobody_gets_more_than_it_paid_in(available, target, paid_in):
    back = excess_return(available, target, paid_in)
    assert sum(back.values()) == min(max(available - target, 0), sum(paid_in.values()))
    assert all(0 <= back[holder] <= paid_in[holder] for holder in paid_in)


def test_negative_amounts_are_refused():
    for wrong in (
        lambda: reserve_target(-1, [], ClaimTerms()),
        lambda: reserve_target(1, [-1], ClaimTerms()),
        lambda: premium_due(-1, 300, reserve_minor=0, target_minor=0),
        lambda: excess_return(1, 0, {"a": -1}),
    ):
        with pytest.raises(PoolError, match="minor units; expected 0 to"):
            wrong()
