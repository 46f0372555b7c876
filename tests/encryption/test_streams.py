import numpy as np
from scipy import stats

from fedjoint.encryption.parameters import ERROR_BOUND, MODULUS
from fedjoint.encryption.streams import binomial_errors, keystream, uniform_words

SEED = bytes(range(32))


def test_a_stream_is_a_known_answer():
    draw = keystream(SEED, purpose="second", block=0)
    assert [f"{word:016x}" for word in uniform_words(draw, 3).tolist()] == [
        "0540548c461352e6",
        "0c9266b6b28618be",
        "092583229fd87224",
    ]


def test_a_stream_does_not_depend_on_how_it_is_drawn():
    whole, parts = (keystream(SEED, purpose="second", block=5) for _ in range(2))
    assert whole(20_000).tolist() == [*parts(1), *parts(9_000), *parts(10_999)]


def test_streams_of_other_seeds_purposes_and_blocks_differ():
    streams = [
        keystream(SEED, purpose="second", block=0),
        keystream(SEED, purpose="second", block=1),
        keystream(SEED, purpose="error", block=0),
        keystream(bytes(32), purpose="second", block=0),
    ]
    assert len({draw(1).tobytes() for draw in streams}) == 4


def test_words_that_are_not_below_q_are_drawn_again():
    offered = iter([[MODULUS, 5, (1 << 60) - 1], [MODULUS + 1, 7], [(9 << 60) + 8]])

    def draw(count):
        words = np.array(next(offered), dtype=np.uint64)
        assert words.size == count
        return words

    assert uniform_words(draw, 3).tolist() == [8, 5, 7]


def test_words_are_uniform():
    # Chi-square over 64 cells; the stream is fixed, so this never fails by chance.
    words = uniform_words(keystream(SEED, purpose="second", block=0), 100_000)
    counts = np.bincount((words >> np.uint64(54)).astype(np.int64), minlength=64)
    assert words.max() < MODULUS
    assert stats.chisquare(counts).pvalue > 1e-3


def test_errors_are_centred_binomial():
    # The stream is fixed, so this never fails by chance.
    errors = binomial_errors(keystream(SEED, purpose="error", block=0), 200_000)
    assert np.abs(errors).max() <= ERROR_BOUND
    inside = np.arange(-12, 13)
    counts = [np.sum(errors == value) for value in inside] + [np.sum(np.abs(errors) > 12)]
    chances = stats.binom.pmf(inside + ERROR_BOUND, 2 * ERROR_BOUND, 0.5)
    expected = np.append(chances, 1 - chances.sum()) * errors.size
    assert stats.chisquare(counts, expected).pvalue > 1e-3
