import numpy as np
import pytest

from fedjoint.encryption import decryption, tenseal_scheme
from fedjoint.encryption.decryption import decrypt_sum
from fedjoint.encryption.parameters import DEGREE
from fedjoint.encryption.scheme import make_encryptor
from fedjoint.encryption.tenseal_scheme import create_key, decrypt_words
from fedjoint.errors import EncryptionError

SCHEMES = pytest.mark.parametrize("scheme", ["seal", "seeded"])


@SCHEMES
@pytest.mark.parametrize(
    ("size", "holders", "k", "bits"),
    [
        (1, 3, 1, 16),
        (1, 200, 1, 24),
        (10, 3, 5, 8),
        (24, 4, 1, 24),
        (4_092, 2, 1, 8),
        (4_093, 24, 1, 12),
        (4_094, 23, 3, 8),
        (5_000, 3, 3, 14),
        (12_279, 3, 3, 14),
        (12_280, 20, 2, 20),
        (20_000, 10, 4, 8),
        (65_488, 3, 1, 16),
        (65_489, 3, 1, 16),
        (200_000, 3, 3, 8),
    ],
)
def test_seals_own_decryptor_opens_a_sum_bit_by_bit_as_we_do(
    agree, key_of, encrypted_sum, by, scheme, size, holders, k, bits
):
    agreed = agree(scheme=scheme, num_parameters=size, max_holders=holders, values_per_word=k, value_bits=bits)
    rows = np.random.default_rng(size).integers(0, agreed.levels, (holders, size), dtype=np.uint64)
    rows[:, 0] = agreed.levels - 1
    total, key = encrypted_sum(rows, agreed), key_of(agreed)
    assert decrypt_words(key, total).tolist() == decryption.decrypt_words(key, total).tolist()
    assert decrypt_sum(key, total, of=by(holders), minimum_holders=2).tolist() == rows.sum(axis=0).tolist()


@SCHEMES
def test_a_key_of_seal_is_a_ternary_key_that_encrypts_and_decrypts(agree, binding, by, scheme):
    agreed = agree(scheme=scheme)
    key = create_key(agreed, binding)
    levels = np.arange(10, dtype=np.uint64)
    counts = np.bincount(key.coefficients() + 1, minlength=3)
    # Each count is binomial(4096, 1/3): 7 deviations are left once in 1e11 keys.
    assert np.abs(counts - DEGREE / 3).max() < 7 * np.sqrt(DEGREE * 2 / 9)
    one = make_encryptor(key).encrypt(levels, round_number=1, place=0)
    assert decrypt_sum(key, one, of=by(1), minimum_holders=1).tolist() == levels.tolist()


def test_two_keys_of_seal_differ(agree, binding):
    assert create_key(agree(), binding).key_id != create_key(agree(), binding).key_id


def test_a_system_without_files_in_memory_is_told_so(agree, binding, monkeypatch):
    monkeypatch.delattr(tenseal_scheme.os, "memfd_create")
    with pytest.raises(EncryptionError, match="expected Linux"):
        create_key(agree(), binding)


def test_a_seal_that_writes_another_format_is_refused(agree, binding, monkeypatch):
    monkeypatch.setattr(tenseal_scheme, "_saved_body", lambda handle: bytes(100))
    with pytest.raises(EncryptionError, match="unknown format"):
        create_key(agree(), binding)


def test_a_seal_whose_keys_are_not_ternary_is_refused(agree, binding, monkeypatch):
    monkeypatch.setattr(tenseal_scheme, "_decrypt", lambda *_: np.full(DEGREE, 2, dtype=np.uint64))
    with pytest.raises(EncryptionError, match="not ternary"):
        create_key(agree(), binding)


def test_a_seal_with_another_prime_is_refused(agree, monkeypatch):
    monkeypatch.setattr(tenseal_scheme, "MODULUS", 7)
    with pytest.raises(EncryptionError, match="other parameters"):
        tenseal_scheme._context.__wrapped__(40)
