import itertools
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fedjoint.agreement.weights import most_counted
from fedjoint.errors import InvalidValue

sizes = st.lists(st.integers(1, 1000), min_size=2, max_size=8)


def weights(found, cap):
    most = most_counted(found, cap)
    counted = [min(size, most) for size in found]
    return [size / sum(counted) for size in counted]


@given(sizes, st.floats(0.01, 1))
def test_nobody_weighs_more_than_the_cap_and_the_order_stays(found, cap):
    assume(cap >= 1 / len(found))
    capped = weights(found, cap)
    assert sum(capped) == pytest.approx(1)
    assert max(capped) <= cap * (1 + 1e-9)
    ranked = sorted(range(len(found)), key=lambda place: found[place])
    assert all(capped[low] <= capped[high] + 1e-12 for low, high in itertools.pairwise(ranked))


@given(sizes, st.floats(0.01, 1))
def test_no_more_is_cut_off_than_needed(found, cap):
    assume(cap >= 1 / len(found))
    most = most_counted(found, cap)
    if max(found) > most:
        assert max(weights(found, cap)) == pytest.approx(cap, rel=1e-9) or cap <= 1 / len(found) * (1 + 1e-9)
    else:
        assert weights(found, cap) == [size / sum(found) for size in found]


def test_without_a_cap_sizes_count_as_they_are():
    assert most_counted([5, 1], 1.0) == math.inf


def test_a_cap_of_equal_weights_makes_them_equal():
    assert weights([70, 20, 10, 1], 0.25) == pytest.approx([0.25] * 4)


def test_who_declares_three_times_its_size_gains_no_more_than_the_cap():
    assert weights([300, 100, 100, 100, 100], 0.25)[0] == pytest.approx(0.25)


def test_a_cap_that_equal_weights_exceed_is_refused():
    with pytest.raises(InvalidValue, match=r"maximum_weight = 0.2 for 4 holders; expected at least 0.25"):
        most_counted([1, 1, 1, 1], 0.2)
