import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedjoint.encryption.ciphertext import add, second_polynomials
from fedjoint.encryption.decryption import decrypt_sum
from fedjoint.encryption.packing import blocks, encode, pack_block
from fedjoint.encryption.parameters import ERROR_BOUND, MODULUS
from fedjoint.encryption.scheme import make_encryptor
from fedjoint.errors import EncryptionError

SCHEMES = pytest.mark.parametrize("scheme", ["seal", "seeded"])


def errors_of(key, ciphertext, levels):
    """The noise of one holder's encryption, read with the key."""
    found = []
    for number, words, polynomials in blocks(key.parameters):
        masks = key.multiply(second_polynomials(ciphertext, block=number, polynomials=polynomials)).reshape(-1)
        plain = encode(pack_block(levels, key.parameters, words=words), key.parameters)
        phase = ciphertext.c0[words].astype(object) + masks[: plain.size].astype(object) - plain.astype(object)
        found.append(np.where(phase % MODULUS > MODULUS // 2, phase % MODULUS - MODULUS, phase % MODULUS))
    return np.concatenate(found).astype(np.int64)


@SCHEMES
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_decrypted_sum_is_the_plain_sum_of_levels(agree, key_of, encrypted_sum, scheme, data):
    k, bits = data.draw(st.sampled_from([(1, 8), (1, 16), (1, 24), (2, 16), (3, 12)]))
    size, holders = data.draw(st.integers(1, 9_000)), data.draw(st.integers(2, 5))
    agreed = agree(scheme=scheme, values_per_word=k, value_bits=bits, num_parameters=size, max_holders=holders)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    rows = rng.integers(0, agreed.levels, (holders, size), dtype=np.uint64)
    if data.draw(st.booleans()):
        rows[:] = agreed.levels - 1  # every field as full as it can be
    got = decrypt_sum(key_of(agreed), encrypted_sum(rows, agreed), minimum_holders=2)
    assert got.tolist() == rows.sum(axis=0).tolist()


@SCHEMES
def test_errors_are_centred_binomial(agree, key_of, scheme):
    # Chi-square on fresh randomness: a right implementation fails once in 1e9 runs.
    size = 20_000 if scheme == "seal" else 100_000
    agreed = agree(scheme=scheme, num_parameters=size)
    levels = np.random.default_rng(0).integers(0, agreed.levels, size, dtype=np.uint64)
    key = key_of(agreed)
    errors = errors_of(key, make_encryptor(key).encrypt(levels, round_number=0), levels)
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
    first, second = (encryptor.encrypt(levels, round_number=number) for number in range(2))
    assert not (first.c0 == second.c0).any()


@SCHEMES
def test_a_holder_encrypts_once_a_round_under_a_key_whatever_encryptor_it_uses(agree, key_of, scheme):
    agreed = agree(scheme=scheme)
    key = key_of(agreed)
    levels = np.zeros(10, dtype=np.uint64)
    make_encryptor(key).encrypt(levels, round_number=4)
    for used in (4, 3):
        with pytest.raises(EncryptionError, match="encrypted under this key already"):
            make_encryptor(key).encrypt(levels, round_number=used)
    make_encryptor(key).encrypt(levels, round_number=5)


def test_levels_that_no_quantiser_made_are_refused_before_the_key_is_touched(agree, key_of):
    agreed = agree()
    key = key_of(agreed)
    encryptor = make_encryptor(key)
    right = np.zeros(10, dtype=np.uint64)
    for wrong in (right[:9], right.astype(np.int64), right + np.uint64(agreed.levels), np.zeros((10, 1), np.uint64)):
        with pytest.raises(EncryptionError, match="not of an update"):
            encryptor.encrypt(wrong, round_number=0)
    encryptor.encrypt(right, round_number=0)


def test_a_sum_of_two_hundred_holders_at_the_largest_level_decrypts(agree, key_of, encrypt_one):
    agreed = agree(max_holders=200, value_bits=24, num_parameters=3)
    top = np.full(3, agreed.levels - 1, dtype=np.uint64)
    total = add(encrypt_one(top, agreed) for _ in range(200))
    assert decrypt_sum(key_of(agreed), total, minimum_holders=200).tolist() == [200 * (agreed.levels - 1)] * 3
