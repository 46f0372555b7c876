import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.encryption.parameters import DEGREE, MAX_WEIGHT_NORM, MODULUS
from fedjoint.encryption.words import (
    LAZY_TERMS,
    add_into,
    correlate,
    inner,
    multiply_small,
    prepare_weights,
    reduce_signed,
    reduce_words,
    small_spectrum,
)


def exact_product(first, second):
    """A product modulo (x^4096 + 1, q) of a polynomial in [0, q) and a small signed one, by products of big integers.

    Kronecker's substitution: a coefficient of the product is below 4096 * 2^60 * 2^20, so slots of 128 bits do.
    """

    def whole(values):
        return int.from_bytes(np.stack([values.astype("<u8"), np.zeros(DEGREE, "<u8")], axis=1).tobytes(), "little")

    def parts(number):
        halves = np.frombuffer(number.to_bytes(2 * DEGREE * 16, "little"), dtype="<u8").astype(object)
        return halves[::2] + (halves[1::2] << 64)

    signed = second.astype(np.int64)
    full = parts(whole(first) * whole(np.maximum(signed, 0))) - parts(whole(first) * whole(np.maximum(-signed, 0)))
    return ((full[:DEGREE] - full[DEGREE:]) % MODULUS).tolist()


def extremes(rng):
    """Polynomials whose limbs are as large as can be, next to uniform ones."""
    sign = rng.integers(0, 2, DEGREE, dtype=np.uint64)
    half = np.uint64(MODULUS // 2)
    return {
        "uniform": rng.integers(0, MODULUS, DEGREE, dtype=np.uint64),
        "largest": np.full(DEGREE, MODULUS - 1, dtype=np.uint64),
        "half": np.full(DEGREE, half),
        "half either side": half + sign,
        "large limbs": np.full(DEGREE, (1 << 59) - (1 << 29) - 1, dtype=np.uint64),
        "zero": np.zeros(DEGREE, dtype=np.uint64),
    }


@pytest.mark.parametrize("kind", list(extremes(np.random.default_rng(0))))
@pytest.mark.parametrize("small", ["ternary", "ones", "alternating"])
def test_the_product_with_a_ternary_polynomial_is_that_of_big_integers(kind, small):
    rng = np.random.default_rng(1)
    big = extremes(rng)[kind]
    ternary = {
        "ternary": rng.integers(-1, 2, DEGREE, dtype=np.int8),
        "ones": np.ones(DEGREE, dtype=np.int8),
        "alternating": (1 - 2 * (np.arange(DEGREE) % 2)).astype(np.int8),
    }[small]
    stacked = np.stack([big, np.roll(big, 1)])
    products = multiply_small(stacked, small_spectrum(ternary))
    assert products[0].tolist() == exact_product(big, ternary)
    assert products[1].tolist() == exact_product(stacked[1], ternary)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("uniform", "uniform"), ("largest", "equal"), ("large limbs", "equal"), ("half", "one"), ("uniform", "one")],
)
def test_a_correlation_at_the_largest_norm_is_that_of_big_integers(kind, shape):
    rng = np.random.default_rng(2)
    polynomials = np.stack([np.roll(extremes(rng)[kind], i) for i in range(16)])
    weights = {
        "uniform": rng.normal(size=(16, DEGREE)),
        "equal": np.ones((16, DEGREE)),
        "one": np.eye(16, DEGREE, 5) * (np.arange(16)[:, None] == 3),
    }[shape]
    weights = np.trunc(weights * MAX_WEIGHT_NORM / np.linalg.norm(weights)).astype(np.int64)
    expected = np.zeros(DEGREE, dtype=object)
    for c, g in zip(polynomials, weights, strict=True):
        if g.any():
            reflected = np.concatenate([c[:1], (np.uint64(MODULUS) - c[:0:-1]) % np.uint64(MODULUS)])
            expected += np.array(exact_product(reflected, g), dtype=object)
    assert correlate(polynomials, [prepare_weights(weights)])[0].tolist() == (expected % MODULUS).tolist()


def test_a_correlation_has_the_inner_product_that_it_is_for():
    rng = np.random.default_rng(3)
    c, s = rng.integers(0, MODULUS, (2, DEGREE), dtype=np.uint64), rng.integers(-1, 2, DEGREE, dtype=np.int8)
    g = rng.integers(-500, 500, (2, DEGREE))
    product = multiply_small(c, small_spectrum(s))
    assert inner(product.reshape(-1), g.reshape(-1)) == inner(correlate(c, [prepare_weights(g)])[0], s.astype(np.int64))


@given(st.integers(1, 40_000), st.integers(0, 9))
@settings(max_examples=20)
def test_an_inner_product_is_that_of_big_integers(size, seed):
    rng = np.random.default_rng(seed)
    words = rng.integers(0, MODULUS, size, dtype=np.uint64)
    values = rng.integers(-MAX_WEIGHT_NORM, MAX_WEIGHT_NORM + 1, size)
    words[: size // 2], values[: size // 2] = MODULUS - 1, MAX_WEIGHT_NORM
    assert inner(words, values) == sum(a * b for a, b in zip(words.tolist(), values.tolist(), strict=True)) % MODULUS


@given(st.lists(st.tuples(st.integers(0, MODULUS - 1), st.integers(0, MODULUS - 1)), min_size=1, max_size=9))
def test_adding_is_modulo_q(pairs):
    first, second = (np.array(column, dtype=np.uint64) for column in zip(*pairs, strict=True))
    expected = [(a + b) % MODULUS for a, b in pairs]
    add_into(first, second)
    assert first.tolist() == expected


def test_adding_works_on_more_than_a_block_and_in_two_dimensions():
    total = np.full((33, DEGREE), MODULUS - 1, dtype=np.uint64)
    add_into(total, np.full((33, DEGREE), 2, dtype=np.uint64))
    assert (total == 1).all()


@given(st.one_of(st.integers(0, (1 << 64) - 1), st.integers(0, 15).map(lambda times: times * MODULUS)))
def test_reduction_brings_any_word_to_its_residue(value):
    words = np.array([value], dtype=np.uint64)
    reduce_words(words)
    assert words.tolist() == [value % MODULUS]


def test_as_many_words_as_are_added_before_a_reduction_do_not_overflow():
    assert LAZY_TERMS * (MODULUS - 1) < 1 << 64


@given(st.integers(1 - MODULUS, 2 * MODULUS - 1))
def test_reduction_brings_signed_values_to_their_residue(value):
    assert reduce_signed(np.array([value], dtype=np.int64)).tolist() == [value % MODULUS]
