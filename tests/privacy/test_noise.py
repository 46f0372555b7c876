"""Statistical tests state their false-alarm rate; the insecure ones are deterministic and never flicker."""

import copy
import os
import pickle

import numpy as np
import pytest
from scipy import stats

from fedjoint.errors import InvalidValue, PrivacyError
from fedjoint.privacy import noise as noise_module
from fedjoint.privacy.noise import NoiseSource

N = 200_000


def test_gaussian_noise_has_the_moments_of_its_distribution():
    # secure noise, bounds of 6.5 standard errors: a false alarm in 4e9 runs
    draws = NoiseSource.secure().gaussian(N, sd=3.0) / 3.0
    errors = {1: 1.0, 2: 2.0**0.5, 3: 15.0**0.5, 4: 96.0**0.5}  # root of Var(x^k) for a standard normal
    expected = {1: 0.0, 2: 1.0, 3: 0.0, 4: 3.0}
    for power, error in errors.items():
        assert abs((draws**power).mean() - expected[power]) < 6.5 * error / N**0.5


def test_gaussian_noise_follows_the_normal_distribution():
    # Kolmogorov-Smirnov on secure noise: a false alarm in 1e9 runs
    assert stats.kstest(NoiseSource.secure().gaussian(N, sd=2.0), stats.norm(scale=2.0).cdf).pvalue > 1e-9


def test_uniform_numbers_are_uniform_on_a_half_open_interval():
    # Kolmogorov-Smirnov: a false alarm in 1e9 runs
    draws = NoiseSource.secure().uniform(N)
    assert draws.min() >= 0 and draws.max() < 1
    assert stats.kstest(draws, "uniform").pvalue > 1e-9


def test_neighbouring_draws_and_their_signs_are_uncorrelated():
    # 6.5 standard errors: a false alarm in 1e10 runs
    draws = NoiseSource.secure().gaussian(N, sd=1.0)
    for left, right in ((draws[:-1], draws[1:]), (np.sign(draws), np.abs(draws))):
        assert abs(np.corrcoef(left, right)[0, 1]) < 6.5 / N**0.5


def test_the_extreme_words_give_finite_noise_that_is_not_zero():
    words = np.array([0, 1, 2**64 - 2, 2**64 - 1, 2**63, 2**63 + 1], dtype=np.uint64)
    draws = noise_module._standard_normal(words)
    assert np.isfinite(draws).all() and (draws != 0).all()
    assert draws[0] == -draws[1] == pytest.approx(stats.norm.ppf(2.0**-65))
    assert draws[2] == -draws[3] == pytest.approx(0.0, abs=1e-15)


def test_two_secure_sources_differ_and_say_that_they_are_secure():
    left, right = NoiseSource.secure(), NoiseSource.secure()
    assert left.is_secure and right.is_secure
    assert not (left.gaussian(100, sd=1.0) == right.gaussian(100, sd=1.0)).any()


def test_an_insecure_source_is_reproducible_and_says_that_it_is_not_secure():
    left, right = NoiseSource.insecure(3, "cleveland"), NoiseSource.insecure(3, "cleveland")
    assert not left.is_secure
    assert (left.gaussian((2, 5), sd=1.0) == right.gaussian((2, 5), sd=1.0)).all()


@pytest.mark.parametrize("other", [NoiseSource.insecure(4, "a"), NoiseSource.insecure(3, "b")])
def test_another_seed_or_label_gives_another_stream(other):
    assert not (NoiseSource.insecure(3, "a").uniform(50) == other.uniform(50)).any()


def test_the_keystream_is_never_read_twice():
    whole = NoiseSource.insecure(1, "x").words(60_001)
    source = NoiseSource.insecure(1, "x")
    parts = [source.words(1), source.words(40_000), source.words(20_000)]
    assert (np.concatenate(parts) == whole).all()
    assert len(np.unique(whole)) == len(whole)


def test_noise_larger_than_one_piece_has_no_repetition():
    draws = NoiseSource.secure().gaussian(3 * noise_module._PIECE + 5, sd=1.0)
    assert len(np.unique(draws)) == len(draws)  # a false alarm in 1e8 runs


def test_gaussian_noise_has_the_shape_asked_for():
    source = NoiseSource.secure()
    assert [source.gaussian(shape, sd=1.0).shape for shape in (4, (2, 3), (), (0,), (5, 0))] == [
        (4,),
        (2, 3),
        (),
        (0,),
        (5, 0),
    ]


@pytest.mark.parametrize("sd", [0.0, -1.0, float("inf"), float("nan")])
def test_a_standard_deviation_that_hides_nothing_is_refused(sd):
    with pytest.raises(InvalidValue, match="sd"):
        NoiseSource.secure().gaussian(3, sd=sd)


def test_a_key_of_the_wrong_length_is_refused():
    with pytest.raises(InvalidValue, match="32 bytes"):
        NoiseSource(b"short")


def test_a_source_is_neither_printed_copied_nor_pickled():
    source = NoiseSource(bytes(range(32)))
    assert repr(source) == "NoiseSource(secure=False, key hidden)"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(PrivacyError, match="not copied or pickled"):
            leak(source)


def test_a_forked_process_cannot_add_the_same_noise_again():
    source = NoiseSource.secure()
    child = os.fork()
    if child == 0:
        try:
            source.uniform(1)
        except PrivacyError:
            os._exit(42)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    assert source.uniform(1).shape == (1,)
