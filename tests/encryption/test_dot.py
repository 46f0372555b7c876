import math
import secrets

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedjoint.encryption.decryption import decrypt_sum, open_sample
from fedjoint.encryption.dot import (
    MaskedSample,
    Sample,
    add_samples,
    dot,
    dots,
    fits,
    largest_factor,
    mask_sample,
    require_room,
    scale_weights,
    unmask,
)
from fedjoint.encryption.fixed_point import quantise
from fedjoint.encryption.parameters import DEGREE, ERROR_VARIANCE, MODULUS, NOISE_DEVIATIONS
from fedjoint.encryption.scheme import make_encryptor
from fedjoint.errors import EncryptionError

SCHEMES = pytest.mark.parametrize("scheme", ["seal", "seeded"])


def opened(key, sample):
    mask = secrets.randbelow(key.parameters.plain_modulus)
    return unmask(open_sample(key, mask_sample(sample, mask)), mask=mask, sample=sample)


def weights_of_norm(rng, size, norm):
    values = rng.normal(size=size)
    return np.trunc(values * (norm / np.linalg.norm(values))).astype(np.int64)


def plain_product(agreed, levels, weights):
    return sum((int(m) - agreed.offset) * int(g) for m, g in zip(levels, weights, strict=True))


@SCHEMES
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_the_opened_inner_product_over_rounds_is_that_of_integers(agree, key_of, scheme, data):
    size, rounds = data.draw(st.integers(1, 20_000)), data.draw(st.integers(1, 4))
    agreed = agree(
        scheme=scheme, num_parameters=size, rounds=rounds, value_bits=data.draw(st.sampled_from([8, 16, 24]))
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    encryptor, samples, expected = make_encryptor(key_of(agreed)), [], 0
    for number in range(rounds):
        levels = rng.integers(0, agreed.levels, size, dtype=np.uint64)
        weights = weights_of_norm(rng, size, agreed.weight_norm_budget / math.sqrt(rounds))
        samples.append(dot(encryptor.encrypt(levels, round_number=number + 1, place=0), weights))
        expected += plain_product(agreed, levels, weights)
    assert opened(key_of(agreed), add_samples(samples)) == expected


@SCHEMES
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_inner_product_that_there_can_be_does_not_wrap(agree, key_of, encrypt_one, scheme, sign):
    agreed = agree(scheme=scheme, num_parameters=5_000, rounds=1)
    weights = np.full(5_000, sign * math.floor(agreed.weight_norm_budget / math.sqrt(5_000)))
    for levels in (np.zeros(5_000), np.full(5_000, agreed.levels - 1)):
        got = opened(key_of(agreed), dot(encrypt_one(levels, agreed), weights))
        assert got == plain_product(agreed, levels, weights)


def test_weights_of_zero_and_updates_of_zero_give_zero(agree, key_of, encrypt_one):
    agreed = agree()
    levels = np.full(10, agreed.offset)
    for weights in (np.zeros(10, dtype=np.int64), np.arange(10)):
        assert opened(key_of(agreed), dot(encrypt_one(levels, agreed), weights)) == 0


def test_the_ciphertext_that_is_valued_still_sums(agree, key_of, by, encrypt_one):
    agreed = agree()
    one = encrypt_one(np.arange(10), agreed)
    dot(one, np.arange(10))
    assert decrypt_sum(key_of(agreed), one, of=by(1), minimum_holders=1).tolist() == list(range(10))


def test_noise_has_the_deviation_that_the_budget_is_made_for(agree, key_of):
    # 60 samples: the mean square is chi-square; a right implementation fails once in 1e6 runs. Drift: 16383 M / t.
    agreed = agree(num_parameters=1_000, rounds=60)
    key = key_of(agreed)
    encryptor = make_encryptor(key)
    rng, squares, t = np.random.default_rng(0), [], agreed.plain_modulus
    for number in range(60):
        weights = weights_of_norm(rng, 1_000, agreed.weight_norm_budget)
        sample = dot(encryptor.encrypt(np.full(1_000, agreed.offset, np.uint64), round_number=number, place=0), weights)
        phase = (sample.b + key.inner(sample.a)) % MODULUS
        noise = phase - MODULUS if phase > MODULUS // 2 else phase
        assert abs(noise) < MODULUS / (2 * t)
        squares.append(noise**2 / (ERROR_VARIANCE * sample.squared_norm))
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], 60) / 60
    assert low < np.mean(squares) < high
    assert NOISE_DEVIATIONS == 8


def test_what_a_holder_opens_is_uniform_and_tells_nothing(agree, key_of, encrypt_one):
    # Kolmogorov-Smirnov on 400 fresh masks: a right implementation fails once in 1e6 runs.
    agreed = agree()
    key = key_of(agreed)
    sample = dot(encrypt_one(np.full(10, agreed.levels - 1), agreed), np.full(10, 1_000))
    t = agreed.plain_modulus
    seen = [open_sample(key, mask_sample(sample, secrets.randbelow(t))) / t for _ in range(400)]
    assert stats.kstest(seen, "uniform").pvalue > 1e-6


@pytest.mark.parametrize("mask", [0, 1])
def test_masks_at_the_ends_of_their_range_come_off_exactly(agree, key_of, encrypt_one, mask):
    agreed = agree()
    sample = dot(encrypt_one(np.zeros(10), agreed), np.full(10, 3_000))
    value = plain_product(agreed, np.zeros(10), np.full(10, 3_000))
    at = mask * (agreed.plain_modulus - 1)
    assert unmask(open_sample(key_of(agreed), mask_sample(sample, at)), mask=at, sample=sample) == value


def test_two_holders_open_alike(agree, key_of, encrypt_one):
    agreed = agree()
    masked = mask_sample(dot(encrypt_one(np.arange(10), agreed), np.arange(10)), 12345)
    assert open_sample(key_of(agreed), masked) == open_sample(key_of(agreed), masked)


def test_precision_is_that_of_the_rounding(agree, key_of):
    # Errors of three rounds against the stated deviations; the update and weights are fixed, 8 deviations allowed.
    agreed = agree(num_parameters=20_000, rounds=3, bound=0.1)
    rng = np.random.default_rng(5)
    encryptor, samples, truth, spread = make_encryptor(key_of(agreed)), [], 0.0, 0.0
    weights = rng.normal(size=20_000)
    factor = largest_factor(float(np.linalg.norm(weights)), agreed)
    for number in range(3):
        update = np.clip(rng.normal(scale=0.01, size=20_000), -0.1, 0.1)
        levels = quantise(update, agreed, rounding=rng)
        samples.append(dot(encryptor.encrypt(levels, round_number=number + 1, place=0), scale_weights(weights, factor)))
        truth += update @ weights
        spread += (agreed.step / 2 * np.linalg.norm(weights)) ** 2 + (np.linalg.norm(update) / factor) ** 2 / 12
    got = opened(key_of(agreed), add_samples(samples)) / factor * agreed.step
    assert abs(got - truth) < 8 * math.sqrt(spread)
    assert math.sqrt(spread) < 1e-3 * np.linalg.norm(weights) * 0.01 * math.sqrt(3 * 20_000)


def test_the_largest_factor_fits_every_agreed_round_and_no_more(agree, encrypt_one):
    agreed = agree(num_parameters=500, rounds=6)
    weights = np.random.default_rng(0).normal(size=500)
    scaled = scale_weights(weights, largest_factor(float(np.linalg.norm(weights)), agreed))
    sample = None
    for _ in range(6):
        assert fits(sample, scaled, agreed)
        new = dot(encrypt_one(np.zeros(500), agreed), scaled)
        sample = add_samples([sample, new]) if sample else new
    assert not fits(sample, np.zeros(500, dtype=np.int64), agreed)
    with pytest.raises(EncryptionError, match="beyond"):
        add_samples([sample, new])
    with pytest.raises(EncryptionError, match="beyond"):
        dot(encrypt_one(np.zeros(500), agreed), scaled * 3)


@pytest.mark.parametrize("norm", [0.0, math.nan, math.inf])
def test_there_is_no_factor_for_weights_that_are_zero_or_not_finite(agree, norm):
    with pytest.raises(EncryptionError, match="weights of norm"):
        largest_factor(norm, agree(rounds=8, value_bits=24, num_parameters=10))


def test_parameters_that_leave_no_room_for_weights_are_refused_before_anybody_agrees_on_them(agree):
    agreed = agree(rounds=10_000, value_bits=24, num_parameters=1 << 28)
    with pytest.raises(EncryptionError, match="24 bits of each of 268435456 parameters over 10000 rounds leave no"):
        require_room(agreed)
    with pytest.raises(EncryptionError, match="no room"):
        largest_factor(1.0, agreed)


def test_a_budget_by_squares_is_exact_at_its_edge(agree):
    agreed = agree()
    budget = agreed.weight_norm_budget
    edge, beyond = np.zeros(10, dtype=np.int64), np.zeros(10, dtype=np.int64)
    edge[3], beyond[3:5] = budget, (budget, 1)
    assert fits(None, edge, agreed)
    assert not fits(None, beyond, agreed)
    assert not fits(None, np.full(10, np.iinfo(np.int64).min), agreed)
    assert not fits(None, np.full(10, np.iinfo(np.int64).max), agreed)
    spent = Sample(parameters=agreed, b=0, a=np.zeros(DEGREE, np.uint64), squared_norm=budget**2)
    assert not fits(spent, np.eye(10, dtype=np.int64)[0], agreed)


def test_weights_of_another_shape_or_type_are_refused(agree, encrypt_one):
    agreed = agree()
    for wrong in (np.zeros(9, dtype=np.int64), np.zeros(10), np.zeros((10, 1), dtype=np.int64)):
        with pytest.raises(EncryptionError, match="weights"):
            dot(encrypt_one(np.zeros(10), agreed), wrong)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 1e300])
def test_a_weight_that_is_not_finite_or_too_large_is_refused_by_index(wrong):
    with pytest.raises(EncryptionError, match="weight 1 times"):
        scale_weights(np.array([0.0, wrong]), 2.0)


def test_an_inner_product_with_a_sum_or_packed_words_is_refused(agree, encrypted_sum, encrypt_one):
    with pytest.raises(EncryptionError, match="that of one holder"):
        dot(encrypted_sum(np.zeros((2, 10)), agree()), np.zeros(10, dtype=np.int64))
    with pytest.raises(EncryptionError, match="values a word"):
        dot(encrypt_one(np.zeros(10), agree(values_per_word=2)), np.zeros(10, dtype=np.int64))


def test_samples_of_other_parameters_or_none_do_not_add(agree, encrypt_one):
    one, other = (dot(encrypt_one(np.zeros(10), a), np.zeros(10, np.int64)) for a in (agree(), agree(rounds=9)))
    for wrong in ([], [one, other]):
        with pytest.raises(EncryptionError, match="at least one"):
            add_samples(wrong)


def test_masks_and_opened_numbers_out_of_range_are_refused(agree, encrypt_one):
    agreed = agree()
    sample = dot(encrypt_one(np.zeros(10), agreed), np.zeros(10, dtype=np.int64))
    for wrong in (-1, agreed.plain_modulus):
        with pytest.raises(EncryptionError, match="no mask"):
            mask_sample(sample, wrong)
        with pytest.raises(EncryptionError, match="out of range"):
            unmask(wrong, mask=0, sample=sample)


def test_a_masked_sample_of_numbers_that_are_not_below_q_is_refused(agree):
    agreed, a = agree(), np.zeros(DEGREE, dtype=np.uint64)
    for b, vector in ((MODULUS, a), (-1, a), (0, a[:5]), (0, a + np.uint64(MODULUS)), (0, a.astype(np.int64))):
        with pytest.raises(EncryptionError, match="no masked sample"):
            MaskedSample(parameters=agreed, b=b, a=vector)


@SCHEMES
def test_several_holders_at_once_are_weighed_as_each_alone(agree, key_of, scheme):
    agreed = agree(scheme=scheme, num_parameters=70_000)
    rng, encryptor = np.random.default_rng(2), make_encryptor(key_of(agreed))
    drawn = [rng.integers(0, agreed.levels, 70_000, dtype=np.uint64) for _ in range(3)]
    ciphertexts = [encryptor.encrypt(levels, round_number=place + 1, place=place) for place, levels in enumerate(drawn)]
    weights = weights_of_norm(rng, 70_000, agreed.weight_norm_budget)
    for alone, together in zip((dot(one, weights) for one in ciphertexts), dots(ciphertexts, weights), strict=True):
        assert (alone.b, alone.a.tolist()) == (together.b, together.a.tolist())


def test_inner_products_with_nobody_or_under_other_parameters_are_refused(agree, key_of):
    one, other = (agree(num_parameters=size) for size in (10, 11))
    with pytest.raises(EncryptionError, match="inner products with 0 updates"):
        dots([], np.ones(10, np.int64))
    mixed = [
        make_encryptor(key_of(agreed)).encrypt(np.zeros(size, np.uint64), round_number=1, place=0)
        for agreed, size in ((one, 10), (other, 11))
    ]
    with pytest.raises(EncryptionError, match="inner products with 2 updates"):
        dots(mixed, np.ones(10, np.int64))
