import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import ValuationError
from fedjoint.valuation.uncertainty import ErrorBars, sampling_covariance

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
