import numpy as np
import pytest
from scipy.stats import chi2

from fedjoint.errors import InvalidValue
from fedjoint.privacy.discrete_gaussian import MAX_SD, discrete_gaussian
from fedjoint.privacy.noise import NoiseSource


def probabilities(values, sd):
    every = np.arange(-40 * sd, 40 * sd + 1)
    return np.exp(-(values**2) / (2 * sd**2)) / np.exp(-(every**2) / (2 * sd**2)).sum()


@pytest.mark.parametrize("sd", [1, 2, 7])
def test_frequencies_are_those_of_the_exact_distribution(sd):
    draws = discrete_gaussian(200_000, sd=sd, noise=NoiseSource.secure())
    values = np.arange(-3 * sd, 3 * sd + 1)
    expected = probabilities(values, sd) * len(draws)
    counts = np.array([(draws == value).sum() for value in values])
    rest = len(draws) - expected.sum()
    statistic = ((counts - expected) ** 2 / expected).sum() + (len(draws) - counts.sum() - rest) ** 2 / rest
    assert statistic < chi2.isf(1e-9, df=len(values))  # a false alarm in 1e9 runs


@pytest.mark.parametrize("sd", [50, 12_345, MAX_SD])
def test_large_noise_has_the_right_mean_and_variance(sd):
    count = 100_000
    draws = discrete_gaussian(count, sd=sd, noise=NoiseSource.secure()) / sd
    assert abs(draws.mean()) < 6.5 / count**0.5  # false alarms in 1e10 runs
    assert abs(draws.var() - 1) < 6.5 * (2 / count) ** 0.5


@pytest.mark.parametrize("count", [0, 1, 100_001])
def test_as_many_integers_are_drawn_as_were_asked_for(count):
    draws = discrete_gaussian(count, sd=3, noise=NoiseSource.secure())
    assert (draws.dtype, draws.shape) == (np.int64, (count,))


@pytest.mark.parametrize(("count", "sd"), [(-1, 3), (3, 0), (3, MAX_SD + 1)])
def test_a_count_or_deviation_out_of_range_is_refused(count, sd):
    with pytest.raises(InvalidValue):
        discrete_gaussian(count, sd=sd, noise=NoiseSource.secure())
