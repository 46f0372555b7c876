import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.encryption.fixed_point import dequantise_sum, quantise
from fedjoint.encryption.parameters import Parameters
from fedjoint.encryption.precision import ROUNDING_OF_NOISE, Precision, most_values_per_word
from fedjoint.errors import EncryptionError, InvalidValue

AGREED = Parameters(scheme="seeded", num_parameters=1_000, max_holders=10, bound=1.0, value_bits=16, rounds=3)


def test_rounding_adds_the_variance_that_is_stated():
    noise, rng = 0.01, np.random.default_rng(1)
    packed = dataclasses.replace(AGREED, num_parameters=200_000, values_per_word=3, value_bits=8)
    values = rng.uniform(-0.9, 0.9, packed.num_parameters)
    errors = dequantise_sum(quantise(values, packed, rounding=rng), 1, packed) - values
    stated = Precision.of(packed, noise).rounding_of_noise * noise**2
    assert errors.var() == pytest.approx(stated, rel=0.02)


@given(st.floats(1e-4, 1.0), st.integers(2, 60))
def test_the_most_values_whose_rounding_the_noise_hides_are_packed(noise, holders):
    one = dataclasses.replace(AGREED, max_holders=holders)
    chosen = most_values_per_word(one, noise_deviation=noise)
    assert Precision.of(chosen, noise).rounding_of_noise <= ROUNDING_OF_NOISE
    for k in range(chosen.values_per_word + 1, 6):
        try:
            more = dataclasses.replace(one, values_per_word=k, value_bits=8)
        except InvalidValue:
            continue  # there is no room for so many
        assert Precision.of(more, noise).rounding_of_noise > ROUNDING_OF_NOISE


def test_without_noise_values_keep_the_agreed_bits():
    chosen = most_values_per_word(AGREED, noise_deviation=None)
    assert (chosen.values_per_word, chosen.value_bits) == (2, 21)
    assert most_values_per_word(dataclasses.replace(AGREED, value_bits=24), noise_deviation=None).values_per_word == 1
    assert most_values_per_word(dataclasses.replace(AGREED, value_bits=10), noise_deviation=None).values_per_word == 3


def test_bits_too_coarse_for_the_noise_are_refused():
    with pytest.raises(EncryptionError, match="too coarse"):
        most_values_per_word(AGREED, noise_deviation=1e-9)


def test_precision_is_told_in_bits_and_steps():
    told = Precision.of(AGREED, None)
    assert (told.values_per_word, told.rounding_of_noise) == (1, None)
    assert told.bits == math.log2(AGREED.levels)
    assert told.step == AGREED.step
