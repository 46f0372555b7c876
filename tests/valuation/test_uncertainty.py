import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import ValuationError
from fedjoint.valuation.record_groups import RecordGroups
from fedjoint.valuation.uncertainty import ErrorBars, covariance_of_contrasts, sampling_covariance

numbers = st.floats(-1e3, 1e3)


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=12))
def test_of_a_mean_it_is_the_textbook_error_of_the_mean(pairs):
    """The derivative of the mean of x by a record's weight is (x - mean) / n."""
    values = np.array(pairs).T
    count = values.shape[1]
    (a, ab), (_, b) = sampling_covariance(
        {name: (row - row.mean()) / count for name, row in zip("ab", values, strict=True)}
    )
    assert [[a, ab], [ab, b]] == pytest.approx(np.cov(values, bias=True) / count, abs=1e-6)


def test_both_errors_add_in_squares():
    bars = ErrorBars(noise={"ahus": 3.0, "bern": 0.0}, sampling=((16.0, 0.0), (0.0, 9.0)))
    assert [bars.standard_error(holder) for holder in bars.noise] == [5.0, 3.0]
    assert bars.of_difference("ahus", "bern") == math.sqrt(9 + 16 + 9)


def test_without_sampling_the_noise_alone_counts():
    bars = ErrorBars(noise={"ahus": 3.0, "bern": 4.0})
    assert bars.sampling_error("ahus") is None
    assert bars.standard_error("ahus") == 3.0 and bars.of_difference("ahus", "bern") == 5.0


@given(st.lists(st.lists(numbers, min_size=5, max_size=5), min_size=2, max_size=2))
def test_the_error_of_a_difference_is_that_of_the_differences(rows):
    influences = {name: np.array(row) for name, row in zip("ab", rows, strict=True)}
    bars = ErrorBars(noise={"a": 0.0, "b": 0.0}, sampling=sampling_covariance(influences))
    apart = float(np.linalg.norm(influences["a"] - influences["b"]))
    assert bars.of_difference("a", "b") == pytest.approx(apart, rel=1e-5, abs=1e-2)
    assert bars.of_difference("a", "b") == bars.of_difference("b", "a")


@pytest.mark.parametrize(
    ("noise", "sampling"),
    [
        ({"a": -1.0}, None),
        ({"a": math.nan}, None),
        ({"a": math.inf}, None),
        ({"a": 1.0}, ((1.0,), (1.0,))),
        ({"a": 1.0, "b": 1.0}, ((1.0, 0.0), (1.0,))),
        ({"a": 1.0}, ((-1.0,),)),
        ({"a": 1.0}, ((math.nan,),)),
    ],
)
def test_what_is_no_error_is_refused(noise, sampling):
    with pytest.raises(ValuationError):
        ErrorBars(noise=noise, sampling=sampling)


def influences_of(count, seed=0):
    """Of two holders that err alike in part; they sum to zero."""
    rows = np.random.default_rng(seed).normal(size=(2, count))
    rows[1] += 0.7 * rows[0]
    return dict(zip("ab", rows - rows.mean(axis=1, keepdims=True), strict=True))


def estimated(influences, found):
    multipliers = math.sqrt(found.contrasts.shape[1]) * found.contrasts[:, found.groups]
    return np.array(covariance_of_contrasts({name: multipliers @ row for name, row in influences.items()}))


@pytest.mark.parametrize(("count", "numbers"), [(6, 2), (6, 1), (5, 1), (7, 2)])
def test_over_all_groupings_the_mean_of_contrasts_is_the_covariance_as_if_it_divided_by_one_record_less(count, numbers):
    influences, base = influences_of(count), RecordGroups.drawn(count, error_numbers=numbers, seed=0)
    groupings = set(itertools.permutations(base.groups.tolist()))
    found = [
        estimated(influences, RecordGroups(groups=np.array(groups), contrasts=base.contrasts)) for groups in groupings
    ]
    alike = float(np.sum((np.bincount(base.groups) / count) ** 2))
    factor = count * (1 - alike) / (count - 1) * (numbers + 1) / numbers
    assert np.mean(found, axis=0) == pytest.approx(factor * np.array(sampling_covariance(influences)), rel=1e-9)
    if count % (numbers + 1) == 0:
        assert factor == pytest.approx(count / (count - 1))


def test_over_400_random_groupings_they_find_the_covariance_and_err_as_stated():
    influences, numbers = influences_of(200), 8
    groupings = [RecordGroups.drawn(200, error_numbers=numbers, seed=[seed, 3]) for seed in range(400)]
    found = np.array([estimated(influences, groups) for groups in groupings])
    truth = np.array(sampling_covariance(influences))
    # a variance with J degrees of freedom errs by sqrt(2 / J) of it: 2.5 % in the mean of 400
    assert found.mean(axis=0) == pytest.approx(truth, rel=0.1)
    errors = np.sqrt(found[:, 0, 0])
    assert np.std(errors) / np.mean(errors) == pytest.approx(1 / math.sqrt(2 * numbers), rel=0.15)
    apart = found[:, 0, 0] + found[:, 1, 1] - 2 * found[:, 0, 1]
    assert (apart >= 0).all()


@pytest.mark.parametrize("numbers", [{"a": [1.0], "b": [1.0, 2.0]}, {"a": []}])
def test_other_numbers_of_contrasts_than_the_first_or_none_are_refused(numbers):
    with pytest.raises(ValuationError, match="contrasts of"):
        covariance_of_contrasts(numbers)
