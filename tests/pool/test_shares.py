from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import PoolError
from fedjoint.pool.shares import bounded_shares, shares_from_contributions

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


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=8),
    st.integers(0, 4_000),
    st.integers(1, 10_000),
)
def test_bounds_hold_wherever_they_can_and_keep_the_sum_and_the_order(weights, floor_bp, cap_bp):
    contributions = {f"h{place}": float(weight) for place, weight in enumerate(weights)}
    shares = shares_from_contributions(contributions)
    floor, cap = Fraction(floor_bp, 10_000), Fraction(max(cap_bp, floor_bp), 10_000)
    bounded = bounded_shares(shares, floor=floor, cap=cap)
    assert sum(bounded.values()) == sum(shares.values())
    positive = [holder for holder, share in shares.items() if share]
    for holder, share in shares.items():
        assert (bounded[holder] > 0) == (share > 0)
        for other, of_other in shares.items():
            assert bounded[holder] >= bounded[other] or share < of_other
    for holder in positive:
        assert min(floor, Fraction(1, len(positive))) <= bounded[holder] <= max(cap, Fraction(1, len(positive)))
    if all(floor <= shares[holder] <= cap for holder in positive):
        assert bounded == shares


def test_a_floor_is_taken_from_the_others_alike():
    shares = {"a": Fraction(8, 10), "b": Fraction(19, 100), "c": Fraction(1, 100)}
    bounded = bounded_shares(shares, floor=Fraction(1, 10), cap=Fraction(1))
    assert bounded["c"] == Fraction(1, 10)
    assert bounded["a"] / bounded["b"] == Fraction(80, 19)
