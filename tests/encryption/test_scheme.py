import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedjoint.encryption.ciphertext import second_polynomials
from fedjoint.encryption.decryption import decrypt_sum
from fedjoint.encryption.fixed_point import Update, quantise
from fedjoint.encryption.packing import blocks, encode, pack_block
from fedjoint.encryption.parameters import CHECK_WORDS, ERROR_BOUND, MODULUS
from fedjoint.encryption.scheme import make_encryptor
from fedjoint.encryption.tags import Tagger
from fedjoint.errors import EncryptionError

SCHEMES = pytest.mark.parametrize("scheme", ["seal", "seeded"])


def errors_of(key, ciphertext, levels, of):
    """The noise of one holder's encryption, read with the key."""
    found = []
    for block in blocks(key.parameters):
        masks = key.multiply(second_polynomials(ciphertext, block)).reshape(-1)
        packed = pack_block(levels[block.values], key.parameters, block)
        packed[:, :CHECK_WORDS] = Tagger(key, of).words(packed[:, CHECK_WORDS:], block)
        c0 = ciphertext.c0[block.words].astype(object)
        phase = c0 + (masks.astype(object) - encode(packed, key.parameters).reshape(-1).astype(object))[: c0.size]
        found.append(np.where(phase % MODULUS > MODULUS // 2, phase % MODULUS - MODULUS, phase % MODULUS))
    return np.concatenate(found).astype(np.int64)


@SCHEMES
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_decrypted_sum_is_the_plain_sum_of_levels(agree, key_of, encrypted_sum, by, scheme, data):
    k, bits = data.draw(st.sampled_from([(1, 8), (1, 16), (1, 24), (2, 16), (3, 12)]))
    size, holders = data.draw(st.integers(1, 9_000)), data.draw(st.integers(2, 5))
    agreed = agree(scheme=scheme, values_per_word=k, value_bits=bits, num_parameters=size, max_holders=holders)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    rows = rng.integers(0, agreed.levels, (holders, size), dtype=np.uint64)
    if data.draw(st.booleans()):
        rows[:] = agreed.levels - 1  # every field as full as it can be
    got = decrypt_sum(key_of(agreed), encrypted_sum(rows, agreed), of=by(holders), minimum_holders=2)
    assert got.tolist() == rows.sum(axis=0).tolist()


@SCHEMES
def test_errors_are_centred_binomial(agree, key_of, by, scheme):
    # Chi-square on fresh randomness: a right implementation fails once in 1e9 runs.
    size = 20_000 if scheme == "seal" else 100_000
    agreed = agree(scheme=scheme, num_parameters=size)
    levels = np.random.default_rng(0).integers(0, agreed.levels, size, dtype=np.uint64)
    key = key_of(agreed)
    errors = errors_of(key, make_encryptor(key).encrypt(levels, round_number=1, place=0), levels, by(1))
    assert np.abs(errors).max() <= ERROR_BOUND
    inside = np.arange(-10, 11)
    counts = [np.sum(errors == value) for value in inside] + [np.sum(np.abs(errors) > 10)]
    chances = stats.binom.pmf(inside + ERROR_BOUND, 2 * ERROR_BOUND, 0.5)
    expected = np.append(chances, 1 - chances.sum()) * errors.size
    assert stats.chisquare(counts, expected).pvalue > 1e-9


@SCHEMES
def test_the_same_levels_never_encrypt_alike(agree, key_of, scheme):
    agreed = agree(scheme=scheme)
    encryptor = make_encryptor(key_of(agreed))
    levels = np.zeros(10, dtype=np.uint64)
    first, second = (encryptor.encrypt(levels, round_number=number, place=0) for number in range(2))
    assert not (first.c0 == second.c0).any()


@SCHEMES
def test_a_holder_encrypts_once_a_round_under_a_key_whatever_encryptor_it_uses(agree, key_of, scheme):
    agreed = agree(scheme=scheme)
    key = key_of(agreed)
    levels = np.zeros(10, dtype=np.uint64)
    make_encryptor(key).encrypt(levels, round_number=4, place=0)
    for used in (4, 3):
        with pytest.raises(EncryptionError, match="encrypted under this key already"):
            make_encryptor(key).encrypt(levels, round_number=used, place=0)
    make_encryptor(key).encrypt(levels, round_number=5, place=1)


def test_levels_that_no_quantiser_made_are_refused_before_the_key_is_touched(agree, key_of):
    agreed = agree()
    key = key_of(agreed)
    encryptor = make_encryptor(key)
    right = np.zeros(10, dtype=np.uint64)
    for wrong in (right[:9], right.astype(np.int64), right + np.uint64(agreed.levels), np.zeros((10, 1), np.uint64)):
        with pytest.raises(EncryptionError, match="not of an update"):
            encryptor.encrypt(wrong, round_number=0, place=0)
    encryptor.encrypt(right, round_number=0, place=0)


@pytest.mark.parametrize("place", [-1, 4])
def test_a_place_that_nobody_has_is_refused_before_the_key_is_touched(agree, key_of, place):
    encryptor = make_encryptor(key_of(agree()))
    with pytest.raises(EncryptionError, match="from 0 to 3"):
        encryptor.encrypt(np.zeros(10, dtype=np.uint64), round_number=1, place=place)
    encryptor.encrypt(np.zeros(10, dtype=np.uint64), round_number=1, place=3)


def test_an_update_for_other_parameters_is_refused(agree, key_of):
    update = Update(values=np.zeros(10), parameters=agree(rounds=9), rounding=np.random.default_rng(0))
    with pytest.raises(EncryptionError, match="other parameters"):
        make_encryptor(key_of(agree())).encrypt(update, round_number=1, place=0)


@SCHEMES
def test_an_update_quantised_on_the_way_is_encrypted_as_one_quantised_before(agree, key_of, by, scheme):
    agreed = agree(scheme=scheme, num_parameters=70_000, bound=0.5)
    values = np.random.default_rng(3).uniform(-0.5, 0.5, 70_000).astype(np.float32)
    before = quantise(values, agreed, rounding=np.random.default_rng(4))
    update = Update(values=values, parameters=agreed, rounding=np.random.default_rng(4))
    heard = []
    one = make_encryptor(key_of(agreed)).encrypt(
        update, round_number=1, place=0, progress=lambda done, total: heard.append((done, total))
    )
    assert decrypt_sum(key_of(agreed), one, of=by(1), minimum_holders=1).tolist() == before.tolist()
    assert heard == [(65_488, 70_000), (70_000, 70_000)]


def test_a_wrong_coordinate_in_a_late_block_is_refused_before_the_key_is_touched(agree, key_of):
    agreed = agree(num_parameters=70_000)
    values = np.zeros(70_000, dtype=np.float32)
    values[69_999] = np.nan
    encryptor = make_encryptor(key_of(agreed))
    with pytest.raises(EncryptionError, match="coordinate 69999 of the update is nan"):
        encryptor.encrypt(
            Update(values=values, parameters=agreed, rounding=np.random.default_rng(0), clip=True),
            round_number=1,
            place=0,
        )
    encryptor.encrypt(np.zeros(70_000, dtype=np.uint64), round_number=1, place=0)


def test_a_sum_of_two_hundred_holders_at_the_largest_level_decrypts(agree, key_of, encrypted_sum, by):
    agreed = agree(max_holders=200, value_bits=24, num_parameters=3)
    top = np.full(3, agreed.levels - 1, dtype=np.uint64)
    total = encrypted_sum(np.stack([top] * 200), agreed)
    assert (
        decrypt_sum(key_of(agreed), total, of=by(200), minimum_holders=200).tolist() == [200 * (agreed.levels - 1)] * 3
    )
