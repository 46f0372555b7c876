import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.encryption.parameters import (
    ERROR_BOUND,
    ERROR_VARIANCE,
    MAX_WEIGHT_NORM,
    MODULUS,
    NOISE_DEVIATIONS,
    SECURITY,
    SHORTFALL,
    Parameters,
)
from fedjoint.errors import EncryptionError, InvalidValue
from fedjoint.strict import build, plain


@st.composite
def any_parameters(draw):
    k = draw(st.integers(1, 5))
    make = {
        "scheme": draw(st.sampled_from(["seal", "seeded"])),
        "num_parameters": draw(st.integers(1, 1 << 28)),
        "max_holders": draw(st.integers(2, 200)),
        "bound": draw(st.floats(1e-9, 1e6)),
        "value_bits": draw(st.integers(8, 24)),
        "rounds": draw(st.integers(1, 10_000)),
        "values_per_word": k,
    }
    try:
        return Parameters(**make)
    except InvalidValue:
        return Parameters(**make | {"values_per_word": 1})


@given(any_parameters())
def test_a_sum_of_all_holders_fits_its_field_and_zero_is_a_level(agreed):
    assert agreed.max_holders * (agreed.levels - 1) < 1 << agreed.field_bits
    assert agreed.values_per_word * agreed.field_bits <= agreed.plain_bits
    assert agreed.levels % 2 == 1
    assert agreed.offset * 2 == agreed.levels - 1
    assert agreed.levels >= (1 << agreed.value_bits) - 1


@given(any_parameters())
def test_the_worst_noise_of_a_sum_is_less_than_decryption_tolerates(agreed):
    worst = agreed.max_holders * (ERROR_BOUND + 0.5) + 1
    assert worst <= (MODULUS + SHORTFALL) / (2 * agreed.plain_modulus)


@given(any_parameters())
def test_an_inner_product_within_budget_can_neither_wrap_nor_drown_in_noise(agreed):
    if agreed.values_per_word > 1:
        return
    budget, t = agreed.weight_norm_budget, agreed.plain_modulus
    most_squared = agreed.offset**2 * agreed.num_parameters * agreed.rounds * budget**2
    assert most_squared < (t // 2) ** 2
    noise = NOISE_DEVIATIONS * math.sqrt(ERROR_VARIANCE) * budget + SHORTFALL / 2 + 0.5
    assert budget == 0 or noise < MODULUS / (2 * t)
    assert SHORTFALL * (agreed.levels - 1) < t // 2  # encoding a value is a shift, hence linear
    assert budget <= MAX_WEIGHT_NORM


def test_the_balance_allows_larger_weights_than_one_bit_more_or_less(agree):
    agreed = agree(num_parameters=100_000, rounds=20)
    best = agreed._weight_norm(agreed.plain_bits)
    assert agreed.plain_bits == 40
    assert best > max(agreed._weight_norm(39), agreed._weight_norm(41))


@pytest.mark.parametrize(
    ("holders", "k", "plain_bits", "precision"),
    [(3, 2, 50, 23.4), (10, 2, 50, 21.7), (20, 3, 50, 11.7), (3, 4, 50, 10.4), (10, 4, 50, 8.7), (24, 3, 49, 11.4)],
)
def test_packing_uses_the_room_that_the_noise_leaves(agree, holders, k, plain_bits, precision):
    agreed = agree(max_holders=holders, values_per_word=k, value_bits=8)
    assert agreed.plain_bits == plain_bits
    assert math.log2(agreed.levels) == pytest.approx(precision, abs=0.06)


def test_every_polynomial_leaves_room_for_the_words_that_check_it(agree):
    assert (agree(num_parameters=4093).num_words, agree(num_parameters=4093).num_polynomials) == (4096, 1)
    assert (agree(num_parameters=4094).num_words, agree(num_parameters=4094).num_polynomials) == (4100, 2)
    packed = agree(num_parameters=8, values_per_word=3, value_bits=8)
    assert packed.num_words == 6


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"scheme": "ckks"}, "ckks"),
        ({"num_parameters": 0}, "num_parameters"),
        ({"num_parameters": 1 << 29}, "num_parameters"),
        ({"num_parameters": 2.5}, "whole number"),
        ({"max_holders": 1}, "max_holders"),
        ({"max_holders": 201}, "max_holders"),
        ({"bound": 0.0}, "bound"),
        ({"bound": math.nan}, "bound"),
        ({"value_bits": 7}, "value_bits"),
        ({"value_bits": 25}, "value_bits"),
        ({"rounds": 0}, "rounds"),
        ({"values_per_word": 0}, "values_per_word"),
        ({"values_per_word": 6}, "values_per_word"),
        ({"values_per_word": 3, "max_holders": 20, "value_bits": 12}, "at most 11 bits"),
    ],
)
def test_parameters_outside_their_range_are_refused_by_name(agree, change, word):
    with pytest.raises(InvalidValue, match=word):
        agree(**change)


def test_packed_parameters_have_no_budget_for_inner_products(agree):
    with pytest.raises(EncryptionError, match="values a word"):
        _ = agree(values_per_word=2).weight_norm_budget


def test_the_fingerprint_changes_with_every_parameter_and_survives_json(agree):
    agreed = agree()
    others = [
        {"scheme": "seal"},
        {"num_parameters": 11},
        {"max_holders": 5},
        {"bound": 2.0},
        {"value_bits": 12},
        {"rounds": 9},
        {"values_per_word": 2},
    ]
    assert {f.name for f in dataclasses.fields(Parameters)} == {name for change in others for name in change}
    assert len({agree(**change).fingerprint for change in [*others, {}]}) == len(others) + 1
    assert build(Parameters, plain(agreed)).fingerprint == agreed.fingerprint


def test_the_fingerprint_is_a_known_answer(agree):
    assert agree().fingerprint == "f58f6404b2ae44a26b88254bfd4f414ef623d555b920a280058eb39e149cb8fa"


def test_the_security_statement_names_table_and_size():
    assert "log2 q = 60" in SECURITY
    assert MODULUS.bit_length() == 60 <= 75
