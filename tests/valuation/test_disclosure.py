import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import InvalidValue, ValuationError
from fedjoint.valuation.disclosure import Opened, admit, coalition_sum, exposed_among

TEN = tuple(f"h{place}" for place in range(10))


def rank(rows):
    rows, found = [[Fraction(number) for number in row] for row in rows], 0
    for place in range(len(rows[0]) if rows else 0):
        pivot = next((row for row in rows[found:] if row[place]), None)
        if pivot is None:
            continue
        rows.remove(pivot)
        rows = [
            [mine - row[place] / pivot[place] * theirs for mine, theirs in zip(row, pivot, strict=True)] for row in rows
        ]
        rows.insert(found, pivot)
        found += 1
    return found


def solvable(sums, holder, knowing):
    """Whether a holder's update is a combination of sums and of the updates of those who know their own."""
    unit = [[int(place == one) for place in range(len(sums[0]))] for one in (holder, *knowing)]
    known = [list(row) for row in sums] + unit[1:]
    return rank([*known, unit[0]]) == rank(known)


@given(
    st.integers(2, 5).flatmap(lambda n: st.lists(st.tuples(*[st.integers(-2, 2)] * n), min_size=1, max_size=5)),
    st.integers(0, 2),
)
def test_a_group_is_found_exactly_where_colluders_could_solve_for_an_update(sums, colluders):
    holders = range(len(sums[0]))
    known = any(
        solvable(sums, holder, knowing)
        for size in range(colluders + 1)
        for knowing in itertools.combinations(holders, size)
        for holder in holders
        if holder not in knowing
    )
    group = exposed_among(sums, colluders=colluders)
    assert (group is not None) == known
    if group:
        assert len(group) <= colluders + 1
        assert all(solvable(sums, one, [other for other in group if other != one]) for one in group)


def start(colluders=1, lasting=True):
    opened = Opened(holders=TEN, colluders=colluders, lasting=lasting)
    return admit(opened, 1, [coalition_sum(opened, TEN)])


@pytest.mark.parametrize("colluders", [0, 1, 3])
def test_the_total_and_one_leave_one_out_sum_give_that_one_away(colluders):
    opened = start(colluders)
    with pytest.raises(ValuationError, match="round 1 would give away the update of h4; expected only combinations"):
        admit(opened, 1, [coalition_sum(opened, set(TEN) - {"h4"})])


@pytest.mark.parametrize("colluders", [0, 1, 2, 3])
def test_blocks_need_two_members_more_than_there_are_colluders(colluders):
    opened = start(colluders)
    large, small = TEN[: colluders + 2], TEN[: colluders + 1]
    assert len(admit(opened, 1, [coalition_sum(opened, large)]).sums[1]) == 2
    with pytest.raises(ValuationError, match="give away the update of h0"):
        admit(opened, 1, [coalition_sum(opened, small)])


def test_the_rest_of_a_block_is_a_block_too():
    opened = start(colluders=1)
    with pytest.raises(ValuationError, match="give away the update of h8 to h9"):
        admit(opened, 1, [coalition_sum(opened, TEN[:8])])


def test_random_half_splits_expose_someone_to_one_colluder_ever_more_often():
    generator, exposed, trials = np.random.default_rng(7), np.zeros(5), 400
    for _ in range(trials):
        sums = [(1,) * 9]  # the colluder's own update is known, and drops out
        for split in range(5):
            half = np.isin(np.arange(10), generator.permutation(10)[:5])
            sums.append(tuple(map(int, half[1:])))
            if exposed_among(sums, colluders=0):
                exposed[split:] += 1
                break
    # Two splits meet in a single holder with probability 50 / 252, and the colluder is one of the two who then stand
    # alone with probability 1 / 5; an independent study found 0, 2, 9, 23, 39 % after 1 .. 5 splits.
    assert exposed[0] == 0 and exposed[1] / trials == pytest.approx(50 / 252 / 5, abs=0.03)
    assert exposed / trials == pytest.approx([0, 0.02, 0.09, 0.23, 0.39], abs=0.08)


def test_the_same_blocks_may_be_opened_in_every_round():
    opened = start(colluders=1)
    for number in range(1, 6):
        opened = admit(opened, number, [coalition_sum(opened, TEN[:5]), coalition_sum(opened, TEN[5:])])
    assert len(opened.sums) == 5


def test_other_blocks_in_other_rounds_count_together_only_where_updates_last():
    for lasting in (True, False):
        opened = start(colluders=1, lasting=lasting)
        opened = admit(opened, 1, [coalition_sum(opened, TEN[:5])])
        crossed = [coalition_sum(opened, TEN[:4])]  # with round 1's block: h4 alone
        if lasting:
            with pytest.raises(ValuationError, match="round 2 would give away the update of h4"):
                admit(opened, 2, crossed)
        else:
            assert set(admit(opened, 2, crossed).sums) == {1, 2}


def test_what_was_refused_leaves_the_account_as_it_was():
    opened = start()
    before = dict(opened.sums)
    with pytest.raises(ValuationError):
        admit(opened, 1, [coalition_sum(opened, TEN[:5]), coalition_sum(opened, TEN[:1])])
    assert opened.sums == before


def test_multiples_and_combinations_of_opened_sums_tell_nothing_new():
    opened = admit(start(), 1, [coalition_sum(start(), TEN[:5])])
    assert admit(opened, 1, [(3,) * 5 + (2,) * 5])


def test_only_one_holder_cannot_open_anything_and_nothing_opened_exposes_nobody():
    alone = Opened(holders=("ahus",), colluders=0, lasting=False)
    with pytest.raises(ValuationError, match="give away the update of ahus"):
        admit(alone, 1, [(1,)])
    assert exposed_among([], colluders=3) is None and exposed_among([(0, 0)], colluders=3) is None


def test_two_hundred_holders_are_checked_exactly():
    holders = [f"h{place}" for place in range(200)]
    opened = Opened(holders=tuple(holders), colluders=1, lasting=True)
    blocks = [coalition_sum(opened, holders[start : start + 10]) for start in range(0, 200, 10)]
    opened = admit(opened, 1, [coalition_sum(opened, holders), *blocks])
    with pytest.raises(ValuationError, match="give away the update of h190"):
        admit(opened, 2, [coalition_sum(opened, holders[:191])])


@pytest.mark.parametrize("wrong", [{"holders": ()}, {"holders": ("ahus", "ahus")}, {"colluders": -1}])
def test_an_account_of_nobody_is_refused(wrong):
    with pytest.raises(InvalidValue):
        Opened(**{"holders": ("ahus",), "colluders": 0, "lasting": True, **wrong})


def test_strangers_and_sums_of_another_length_are_refused():
    with pytest.raises(ValuationError, match="'oslo' in a coalition"):
        coalition_sum(start(), ["oslo"])
    with pytest.raises(ValuationError, match="a sum with 2 coefficients; expected 10"):
        admit(start(), 1, [(1, 1)])
