import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedjoint.valuation.guards import late_joiners, share_known, split_known

VECTORS = arrays(np.float64, 4, elements=st.floats(-10, 10, allow_subnormal=False))


@given(gradient=VECTORS, step=VECTORS, last=VECTORS)
def test_the_parts_of_a_gradient_add_up_and_the_first_is_blind_to_the_last_step(gradient, step, last):
    last = np.round(last, 3)
    novel, known = split_known(gradient, step, last)
    assert novel @ step + known == pytest.approx(gradient @ step, abs=1e-9)
    assert novel @ last == pytest.approx(0.0, abs=1e-9) or not last.any()


@given(updates=arrays(np.float64, (3, 4), elements=st.floats(-5, 5, allow_subnormal=False)), times=st.floats(-3, 3))
def test_whatever_multiple_of_the_last_step_is_sent_is_worth_nothing_beside_the_size(updates, times):
    last = np.array([1.0, -2.0, 0.5, 3.0])
    sent = np.vstack([updates, times * last])
    novel, _ = split_known(np.array([0.3, 0.1, -2.0, 1.0]), sent.sum(axis=0), last)
    assert novel @ sent[-1] == pytest.approx(0.0, abs=1e-9)


@given(
    known=st.lists(st.floats(-5, 5), min_size=1, max_size=6),
    present=st.lists(st.sets(st.sampled_from("abc"), min_size=1), min_size=6, max_size=6),
)
def test_all_that_is_known_is_shared_and_only_among_those_who_took_part(known, present):
    rounds = [tuple(sorted(one)) for one in present[: len(known)]]
    shares = share_known(known, rounds, {"a": 0.5, "b": 0.3, "c": 0.2})
    assert sum(shares.values()) == pytest.approx(sum(known), abs=1e-9)
    assert all(shares[holder] == 0 for holder in "abc" if not any(holder in one for one in rounds))


def test_who_starts_after_the_agreed_round_is_late_and_who_only_missed_later_ones_is_not():
    rounds = [("a",), ("a", "b"), ("c",)]
    assert late_joiners(rounds, 2) == {"c"}
    assert late_joiners(rounds, 1) == {"b", "c"}
    assert late_joiners(rounds, 3) == late_joiners(rounds, None) == frozenset()
