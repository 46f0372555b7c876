import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import PoolError
from fedjoint.pool.materiality import groups_within_error, pay_alike
from fedjoint.pool.shares import shares_from_contributions

HOLDERS = "abcdefg"
contributions = st.dictionaries(st.sampled_from(HOLDERS), st.integers(-8, 24).map(float), min_size=1)
errors = st.lists(st.integers(0, 4).map(float), min_size=len(HOLDERS), max_size=len(HOLDERS)).map(
    lambda drawn: dict(zip(HOLDERS, drawn, strict=True))
)
sizes = st.fixed_dictionaries({holder: st.integers(1, 50) for holder in HOLDERS})


def apart(bars):
    return lambda one, other: math.hypot(bars[one], bars[other])


def groups(found, bars, z=1.0):
    return groups_within_error(found, apart(bars), z=z)


@given(contributions, errors)
def test_each_holder_is_in_one_group_at_most_and_only_with_a_positive_contribution(found, bars):
    members = [holder for group in groups(found, bars) for holder in group]
    assert len(members) == len(set(members))
    assert all(found[holder] > 0 for holder in members)
    assert all(len(group) > 1 for group in groups(found, bars))


@given(contributions, errors)
def test_any_two_within_the_error_are_in_the_same_group(found, bars):
    group_of = {holder: group for group in groups(found, bars) for holder in group}
    positive = [holder for holder in found if found[holder] > 0]
    for one in positive:
        for other in positive:
            if one != other and abs(found[one] - found[other]) <= math.hypot(bars[one], bars[other]):
                assert group_of[one] is group_of[other]


@given(contributions, errors)
def test_two_groups_lie_apart_with_nobody_of_one_between_two_of_the_other(found, bars):
    spans = [(min(found[h] for h in group), max(found[h] for h in group)) for group in groups(found, bars)]
    for (low, _), (_, high) in itertools.pairwise(spans):
        assert low > high


@given(contributions, errors)
def test_no_group_could_be_split_without_parting_two_within_the_error(found, bars):
    for group in groups(found, bars):
        ranked = sorted(group, key=lambda h: -found[h])
        for cut in range(1, len(ranked)):
            assert any(
                found[one] - found[other] <= math.hypot(bars[one], bars[other])
                for one in ranked[:cut]
                for other in ranked[cut:]
            )


@given(contributions, errors, st.randoms())
def test_the_order_of_the_holders_plays_no_part(found, bars, random):
    shuffled = list(found.items())
    random.shuffle(shuffled)
    assert groups(dict(shuffled), bars) == groups(found, bars)


@given(contributions, errors, st.sampled_from([1.0, 2.0]), sizes, st.booleans())
def test_money_moves_within_groups_only_and_to_the_last_fraction(found, bars, z, certified, by_size):
    before = shares_from_contributions(found)
    alike = groups(found, bars, z)
    after = pay_alike(before, alike, sizes=certified if by_size else None)
    assert sum(after.values()) == sum(before.values()) and list(after) == sorted(found)
    for group in alike:
        assert sum(after[h] for h in group) == sum(before[h] for h in group)
        parts = {after[h] / (certified[h] if by_size else 1) for h in group}
        assert len(parts) == 1
    outside = set(found) - {h for group in alike for h in group}
    assert all(after[h] == before[h] for h in outside)


@given(contributions, errors)
def test_who_added_nothing_is_paid_nothing_and_who_added_something_is_paid(found, bars):
    after = pay_alike(shares_from_contributions(found), groups(found, bars))
    assert all((after[holder] > 0) == (found[holder] > 0) for holder in found)


@given(contributions, errors)
def test_paid_equally_nobody_overtakes_a_higher_contribution(found, bars):
    after = pay_alike(shares_from_contributions(found), groups(found, bars))
    ranked = sorted(found, key=lambda h: found[h])
    assert all(after[low] <= after[high] for low, high in itertools.pairwise(ranked))


@given(contributions)
def test_without_error_only_equals_are_alike_and_nobody_is_paid_otherwise(found):
    before = shares_from_contributions(found)
    assert pay_alike(before, groups(found, dict.fromkeys(HOLDERS, 0.0))) == before


def test_neighbours_within_the_error_chain_into_one_group():
    assert groups({"a": 3.0, "b": 2.0, "c": 1.0}, dict.fromkeys("abc", 0.8)) == (("a", "b", "c"),)


@pytest.mark.parametrize(
    ("found", "error", "z"),
    [
        ({"a": 1.0, "b": 2.0}, 1.0, 0.0),
        ({"a": 1.0, "b": 2.0}, 1.0, math.nan),
        ({"a": math.inf, "b": 2.0}, 1.0, 1.0),
        ({"a": 1.0, "b": 2.0}, math.nan, 1.0),
        ({"a": 1.0, "b": 2.0}, -1.0, 1.0),
    ],
)
def test_what_is_no_number_is_refused(found, error, z):
    with pytest.raises(PoolError):
        groups_within_error(found, lambda one, other: error, z=z)


@pytest.mark.parametrize("wrong", [[("a", "b"), ("b", "c")], [("a", "x")]])
def test_groups_that_do_not_fit_the_shares_are_refused(wrong):
    with pytest.raises(PoolError, match="two groups"):
        pay_alike(dict.fromkeys("abc", Fraction(1, 3)), wrong)


@pytest.mark.parametrize("certified", [{"a": 1}, {"a": 1, "b": 0}])
def test_a_group_without_certified_sizes_is_not_paid_by_size(certified):
    with pytest.raises(PoolError, match="no certified size"):
        pay_alike({"a": Fraction(1, 2), "b": Fraction(1, 2)}, [("a", "b")], sizes=certified)
