import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedjoint.encryption.fixed_point import Steps, Update, dequantise_sum, levels_of, quantise
from fedjoint.errors import EncryptionError


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 1.0000001, -1.0000001])
def test_the_quantiser_refuses_the_whole_update_by_the_index_of_its_first_wrong_coordinate(agree, wrong):
    values = np.zeros(10)
    values[[7, 9]] = wrong
    with pytest.raises(EncryptionError, match="coordinate 7 of the update"):
        quantise(values, agree(), rounding=rng())


def test_the_message_about_a_coordinate_beyond_the_bound_does_not_tell_its_value(agree):
    with pytest.raises(EncryptionError) as refused:
        quantise(np.full(10, 7.25), agree(), rounding=rng())
    assert "7.25" not in str(refused.value)


def test_an_update_of_the_wrong_length_is_refused(agree):
    with pytest.raises(EncryptionError, match="10 coordinates"):
        quantise(np.zeros(11), agree(), rounding=rng())


@given(
    arrays(np.float64, 10, elements=st.floats(-1, 1)),
    st.sampled_from([1e-6, 0.1, 1.0, 3.7, 1e5]),
    st.integers(8, 24),
    st.integers(0, 99),
)
def test_a_level_is_a_neighbour_of_its_value(agree, unit, bound, bits, seed):
    agreed = agree(bound=bound, value_bits=bits)
    values = unit * bound
    levels = quantise(values, agreed, rounding=rng(seed))
    assert levels.max() <= agreed.levels - 1
    back = dequantise_sum(levels, 1, agreed)
    assert np.abs(back - values).max() <= agreed.step * (1 + 1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bounds_themselves_and_zero_are_levels(agree, dtype):
    agreed = agree(num_parameters=3, bound=0.1, value_bits=24)
    bound = np.nextafter(dtype(0.1), dtype(0)) if dtype is np.float32 else 0.1
    for seed in range(50):
        levels = quantise(np.array([-bound, 0, bound], dtype=dtype), agreed, rounding=rng(seed)).astype(np.int64)
        assert levels[1] == agreed.offset
        assert abs(levels[0]) <= 1
        assert abs(levels[2] - (agreed.levels - 1)) <= 1


def test_the_quantiser_is_unbiased(agree):
    # Mean of n independent errors, each within a step: |mean| > 6 sd happens with probability below 2e-9 a value.
    agreed = agree(num_parameters=200_000, bound=1.0, value_bits=8)
    for fraction in (0.0, 0.1, 0.5, 0.9):
        value = (13 + fraction) * agreed.step
        levels = quantise(np.full(200_000, value), agreed, rounding=rng(3))
        error = (dequantise_sum(levels, 1, agreed).mean() - value) / agreed.step
        assert abs(error) <= 6 * math.sqrt(max(fraction * (1 - fraction), 1e-12) / 200_000) + 1e-9


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_an_update_that_clips_is_the_weighted_and_clipped_one_quantised(agree, weight):
    agreed = agree(num_parameters=1_000, bound=0.5)
    values = rng(1).normal(size=1_000).astype(np.float32)
    clipping = Update(values=values, parameters=agreed, rounding=rng(2), weight=weight, clip=True)
    clipped = np.clip(values.astype(np.float64) * weight, -0.5, 0.5)
    assert (np.abs(clipped) == 0.5).any()
    assert levels_of(clipping).tolist() == quantise(clipped, agreed, rounding=rng(2)).tolist()


def test_a_weighted_update_is_refused_where_the_product_is_beyond_the_bound(agree):
    agreed = agree(bound=0.5)
    Update(values=np.full(10, 2.0), parameters=agreed, rounding=rng(), weight=0.25).check()
    with pytest.raises(EncryptionError, match="coordinate 0 of the update is beyond the bound"):
        Update(values=np.full(10, 2.1), parameters=agreed, rounding=rng(), weight=0.25).check()


def test_whole_steps_are_levels_and_those_beyond_the_last_are_moved_onto_it(agree):
    agreed = agree(num_parameters=4)
    steps = np.array([0, -3, 1 << 40, -(1 << 40)])
    levels = levels_of(Steps(values=steps, parameters=agreed))
    assert (levels.astype(np.int64) - agreed.offset).tolist() == [0, -3, agreed.offset, -agreed.offset]


@pytest.mark.parametrize("wrong", [np.zeros(9, dtype=np.int64), np.zeros(10), np.zeros((2, 5), dtype=np.int64)])
def test_steps_of_another_type_or_length_are_refused(agree, wrong):
    with pytest.raises(EncryptionError, match="expected 10 whole numbers as agreed"):
        Steps(values=wrong, parameters=agree()).check()


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_an_update_that_clips_still_refuses_what_is_not_finite(agree, wrong):
    values = np.zeros(10, dtype=np.float32)
    values[3] = wrong
    with pytest.raises(EncryptionError, match="coordinate 3 of the update is"):
        Update(values=values, parameters=agree(), rounding=rng(), clip=True).check()


def test_levels_do_not_depend_on_how_an_update_is_cut(agree):
    agreed = agree(num_parameters=1_000)
    values = rng(1).uniform(-1, 1, 1_000)
    parts = Update(values=values, parameters=agreed, rounding=rng(2))
    cut = [parts.levels(slice(start, min(start + 333, 1_000))) for start in range(0, 1_000, 333)]
    assert np.concatenate(cut).tolist() == quantise(values, agreed, rounding=rng(2)).tolist()


@pytest.mark.parametrize(("size", "count"), [(9, 1), (10, 0), (10, 5)])
def test_a_sum_of_a_wrong_length_or_count_is_not_dequantised(agree, size, count):
    with pytest.raises(EncryptionError, match="updates of shape"):
        dequantise_sum(np.zeros(size, dtype=np.uint64), count, agree())
