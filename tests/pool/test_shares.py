from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.terms import MoneyTerms
from fedjoint.errors import PoolError
from fedjoint.pool.shares import agreed_shares, shares_from_contributions

FINITE = st.floats(allow_nan=False, allow_infinity=False)
CONTRIBUTIONS = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), FINITE, min_size=1, max_size=9)


@given(CONTRIBUTIONS)
def test_shares_sum_to_one_or_nobody_has_any(contributions):
    shares = shares_from_contributions(contributions)
    assert sum(shares.values()) == (1 if any(value > 0 for value in contributions.values()) else 0)
    assert list(shares) == sorted(contributions)


@given(CONTRIBUTIONS)
def test_who_adds_nothing_gets_nothing_and_nobody_pays_in(contributions):
    for holder, share in shares_from_contributions(contributions).items():
        assert (share > 0) == (contributions[holder] > 0)


@given(CONTRIBUTIONS, st.data())
def test_raising_one_contribution_alone_never_lowers_its_share(contributions, data):
    holder = data.draw(st.sampled_from(sorted(contributions)))
    more = data.draw(st.floats(min_value=contributions[holder], allow_infinity=False))
    before = shares_from_contributions(contributions)[holder]
    assert shares_from_contributions({**contributions, holder: more})[holder] >= before


@given(st.dictionaries(st.text("abc", min_size=1, max_size=2), st.floats(-1e9, 1e9), min_size=1))
def test_the_unit_of_the_contributions_is_immaterial(contributions):
    finer = {holder: math.ldexp(value, 10) for holder, value in contributions.items()}
    assert shares_from_contributions(finer) == shares_from_contributions(contributions)


def test_equal_contributions_get_equal_shares_exactly():
    assert set(shares_from_contributions({"a": 0.1, "b": 0.1, "c": 0.1}).values()) == {Fraction(1, 3)}


def test_the_smallest_number_beside_the_largest_is_not_lost():
    shares = shares_from_contributions({"small": 5e-324, "large": 1.7976931348623157e308})
    assert shares["small"] > 0
    assert sum(shares.values()) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), "1", None, True])
def test_a_contribution_that_is_no_finite_number_is_refused_with_its_holder(value):
    with pytest.raises(PoolError, match="'cleveland'"):
        shares_from_contributions({"budapest": 1.0, "cleveland": value})


def test_no_holder_at_all_is_refused():
    with pytest.raises(PoolError, match="no holder"):
        shares_from_contributions({})


def test_without_rules_shares_are_by_contribution():
    contributions = {"a": 2.0, "b": 1.0, "c": -1.0}
    assert agreed_shares(contributions, terms=MoneyTerms()) == shares_from_contributions(contributions)


def test_holders_within_each_others_error_bars_are_paid_equal_or_by_size():
    contributions, errors = {"a": 4.0, "b": 1.0, "c": 1.5, "d": 0.0}, {"a": 0.1, "b": 0.25, "c": 0.25, "d": 9.0}
    equal = agreed_shares(contributions, terms=MoneyTerms(materiality="equal"), errors=errors)
    assert equal == {"a": Fraction(8, 13), "b": Fraction(5, 26), "c": Fraction(5, 26), "d": 0}
    sizes = {"a": 1, "b": 30, "c": 10, "d": 1}
    by_size = agreed_shares(contributions, terms=MoneyTerms(materiality="size"), errors=errors, sizes=sizes)
    assert by_size == {"a": Fraction(8, 13), "b": Fraction(15, 52), "c": Fraction(5, 52), "d": 0}
    apart = agreed_shares(contributions, terms=MoneyTerms(materiality="equal"), errors={**errors, "b": 0.24})
    assert apart == shares_from_contributions(contributions)


def test_a_floor_is_taken_from_who_has_more():
    shares = agreed_shares({"a": 98.0, "b": 1.0, "c": 1.0}, terms=MoneyTerms(share_floor_bp=1_000))
    assert shares == {"a": Fraction(8, 10), "b": Fraction(1, 10), "c": Fraction(1, 10)}


def test_bounds_that_cannot_be_kept_give_equal_shares():
    for rules in ({"share_cap_bp": 1_000}, {"share_floor_bp": 6_000}):
        assert set(agreed_shares({"a": 9.0, "b": 1.0}, terms=MoneyTerms(**rules)).values()) == {Fraction(1, 2)}


@pytest.mark.parametrize("errors", [None, {"a": 1.0}, {"a": 1.0, "b": float("nan")}, {"a": 1.0, "b": -1.0}])
def test_a_materiality_rule_needs_error_bars(errors):
    with pytest.raises(PoolError, match="error bar of"):
        agreed_shares({"a": 1.0, "b": 1.0}, terms=MoneyTerms(materiality="equal"), errors=errors)


@pytest.mark.parametrize("sizes", [None, {"a": 1}, {"a": 1, "b": 0}])
def test_materiality_by_size_needs_sizes(sizes):
    with pytest.raises(PoolError, match="size of"):
        terms = MoneyTerms(materiality="size")
        agreed_shares({"a": 1.0, "b": 1.0}, terms=terms, errors={"a": 0.0, "b": 0.0}, sizes=sizes)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(-5, 5), min_size=1),
    st.integers(0, 10_000).flatmap(lambda cap: st.tuples(st.integers(0, cap), st.just(cap))),
    st.sampled_from(["none", "equal"]),
)
def test_agreed_shares_sum_to_one_keep_the_bounds_and_the_order(contributions, bounds, materiality):
    terms = MoneyTerms(share_floor_bp=bounds[0], share_cap_bp=bounds[1], materiality=materiality)
    shares = agreed_shares(contributions, terms=terms, errors=dict.fromkeys(contributions, 0.5))
    paid = {holder: share for holder, share in shares.items() if contributions[holder] > 0}
    assert all(share == 0 for holder, share in shares.items() if holder not in paid)
    if paid:
        equal = Fraction(1, len(paid))
        assert sum(paid.values()) == 1
        assert max(paid.values()) <= max(Fraction(bounds[1], 10_000), equal)
        assert min(paid.values()) >= min(Fraction(bounds[0], 10_000), equal)
    for one in paid:
        assert all(shares[one] >= shares[other] for other in paid if contributions[one] >= contributions[other])
