from dataclasses import replace

import numpy as np
import pytest

from fedjoint.encryption.decryption import decrypt_sum, open_sample
from fedjoint.encryption.dot import MaskedSample
from fedjoint.encryption.fixed_point import dequantise_sum
from fedjoint.encryption.keys import MAX_FALSE_SUMS
from fedjoint.encryption.parameters import CHECK_WORDS, DEGREE, MODULUS
from fedjoint.encryption.tags import Contributors
from fedjoint.errors import EncryptionError

SCHEMES = pytest.mark.parametrize("scheme", ["seal", "seeded"])
FIXED = "the sum does not decrypt to one of these updates under this key"


def shifted(ciphertext, word, plain_value):
    """The ciphertext with a number added to one plaintext word, as anybody can."""
    c0 = ciphertext.c0.copy()
    c0[word] = (int(c0[word]) + plain_value * (MODULUS >> ciphertext.parameters.plain_bits)) % MODULUS
    return replace(ciphertext, c0=c0)


@SCHEMES
def test_a_sum_of_too_few_updates_is_not_opened(agree, key_of, encrypt_one, by, scheme):
    agreed = agree(scheme=scheme)
    with pytest.raises(EncryptionError, match="at least 2 as agreed"):
        decrypt_sum(key_of(agreed), encrypt_one(np.zeros(10), agreed), of=by(1), minimum_holders=2)


@SCHEMES
def test_a_wrong_key_a_wrong_count_a_false_word_all_meet_one_message(agree, key_of, encrypted_sum, by, scheme):
    agreed = agree(scheme=scheme, values_per_word=3, value_bits=8)
    total = encrypted_sum(np.full((3, 10), agreed.levels - 1), agreed)
    more = (*total.seeds, bytes(32)) if scheme == "seeded" else ()
    last = CHECK_WORDS + 3
    cases = [
        (key_of(agreed, 1), total, by(3)),
        (key_of(agreed), replace(total, count=4, seeds=more), by(4)),
        (key_of(agreed), total, by(4)),
        (key_of(agreed), total, by(2)),
        (key_of(agreed), total, Contributors(round_number=1, places=(0, 1, 4))),
        *((key_of(agreed), shifted(total, word, 1), by(3)) for word in range(CHECK_WORDS + 4)),
        (key_of(agreed), shifted(total, last, 1 << agreed.field_bits), by(3)),  # what follows the last value
        (key_of(agreed), shifted(total, last, 1 << 49), by(3)),
    ]
    for key, wrong, of in cases:
        with pytest.raises(EncryptionError, match=FIXED):
            decrypt_sum(key, wrong, of=of, minimum_holders=2)
    decrypt_sum(key_of(agreed), total, of=by(3), minimum_holders=3)


def test_a_key_opens_nothing_more_after_a_number_of_false_sums(agree, key_of, encrypted_sum, by):
    agreed = agree()
    key, total = key_of(agreed), encrypted_sum(np.zeros((2, 10)), agreed)
    for _ in range(MAX_FALSE_SUMS - 1):
        with pytest.raises(EncryptionError, match=FIXED):
            decrypt_sum(key, shifted(total, 5, 1), of=by(2), minimum_holders=2)
    decrypt_sum(key, total, of=by(2), minimum_holders=2)
    with pytest.raises(EncryptionError, match=FIXED):
        decrypt_sum(key, shifted(total, 5, 1), of=by(2), minimum_holders=2)
    with pytest.raises(EncryptionError, match="8 false sums"):
        decrypt_sum(key, total, of=by(2), minimum_holders=2)


@SCHEMES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sum_is_opened_into_floats_that_are_given(agree, key_of, encrypted_sum, by, scheme, dtype):
    agreed = agree(scheme=scheme, num_parameters=70_000)
    rows = np.random.default_rng(0).integers(0, agreed.levels, (2, 70_000), dtype=np.uint64)
    room, heard = np.empty(70_000, dtype=dtype), []
    got = decrypt_sum(
        key_of(agreed),
        encrypted_sum(rows, agreed),
        of=by(2),
        minimum_holders=2,
        into=room,
        progress=lambda done, total: heard.append((done, total)),
    )
    assert got is room
    assert (room == dequantise_sum(rows.sum(axis=0), 2, agreed).astype(dtype)).all()
    assert heard == [(65_488, 70_000), (70_000, 70_000)]


@pytest.mark.parametrize("room", [np.empty(9), np.empty(10, dtype=np.int64), np.empty((10, 1))])
def test_room_of_another_type_or_length_is_refused(agree, key_of, encrypted_sum, by, room):
    total = encrypted_sum(np.zeros((2, 10)), agree())
    with pytest.raises(EncryptionError, match="for a sum"):
        decrypt_sum(key_of(agree()), total, of=by(2), minimum_holders=2, into=room)


def test_a_sum_or_sample_of_other_parameters_is_refused(agree, key_of, encrypted_sum, by):
    agreed = agree()
    total = encrypted_sum(np.zeros((2, 10)), agreed)
    sample = MaskedSample(parameters=agreed, b=0, a=np.zeros(DEGREE, dtype=np.uint64))
    other = key_of(agree(rounds=9))
    with pytest.raises(EncryptionError, match="other parameters"):
        decrypt_sum(other, total, of=by(2), minimum_holders=2)
    with pytest.raises(EncryptionError, match="other parameters"):
        open_sample(other, sample)
