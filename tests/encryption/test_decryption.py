from dataclasses import replace

import numpy as np
import pytest

from fedjoint.encryption.decryption import decrypt_sum, open_sample
from fedjoint.encryption.dot import MaskedSample
from fedjoint.encryption.parameters import DEGREE, MODULUS
from fedjoint.errors import EncryptionError

SCHEMES = pytest.mark.parametrize("scheme", ["seal", "seeded"])
FIXED = "the sum does not decrypt to one of this many updates under this key"


def shifted(ciphertext, word, plain_value):
    """The ciphertext with a number added to one plaintext word, as anybody can."""
    c0 = ciphertext.c0.copy()
    c0[word] = (int(c0[word]) + plain_value * (MODULUS >> ciphertext.parameters.plain_bits)) % MODULUS
    return replace(ciphertext, c0=c0)


@SCHEMES
def test_a_sum_of_too_few_updates_is_not_opened(agree, key_of, encrypt_one, scheme):
    agreed = agree(scheme=scheme)
    with pytest.raises(EncryptionError, match="at least 2 as agreed"):
        decrypt_sum(key_of(agreed), encrypt_one(np.zeros(10), agreed), minimum_holders=2)


@SCHEMES
def test_a_wrong_key_a_wrong_count_a_false_word_all_meet_one_message(agree, key_of, encrypted_sum, scheme):
    agreed = agree(scheme=scheme, values_per_word=2)
    total = encrypted_sum(np.full((3, 10), agreed.levels - 1), agreed)
    more = (*total.seeds, bytes(32)) if scheme == "seeded" else ()
    cases = [
        (key_of(agreed, 1), total),
        (key_of(agreed), replace(total, count=4, seeds=more)),
        (key_of(agreed), shifted(total, 0, 1)),
        (key_of(agreed), shifted(total, 4, 1 << agreed.field_bits)),  # the canary
        (key_of(agreed), shifted(total, 5, 1 << agreed.field_bits)),  # what follows it
    ]
    for key, wrong in cases:
        with pytest.raises(EncryptionError, match=FIXED):
            decrypt_sum(key, wrong, minimum_holders=2)
    decrypt_sum(key_of(agreed), total, minimum_holders=3)


def test_a_sum_or_sample_of_other_parameters_is_refused(agree, key_of, encrypted_sum):
    agreed = agree()
    total = encrypted_sum(np.zeros((2, 10)), agreed)
    sample = MaskedSample(parameters=agreed, b=0, a=np.zeros(DEGREE, dtype=np.uint64))
    other = key_of(agree(rounds=9))
    with pytest.raises(EncryptionError, match="other parameters"):
        decrypt_sum(other, total, minimum_holders=2)
    with pytest.raises(EncryptionError, match="other parameters"):
        open_sample(other, sample)
