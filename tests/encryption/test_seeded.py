import numpy as np
import pytest

from fedjoint.encryption.scheme import make_encryptor
from fedjoint.errors import EncryptionError


def test_seeds_never_repeat(agree, key_of):
    encryptor = make_encryptor(key_of(agree(rounds=200)))
    levels = np.zeros(10, dtype=np.uint64)
    seeds = {encryptor.encrypt(levels, round_number=number, place=0).seeds for number in range(200)}
    assert len(seeds) == 200


@pytest.mark.parametrize("entropy", [bytes, lambda count: bytes(count - 1), lambda count: bytes(31) + b"ab"])
def test_a_randomness_that_repeats_itself_or_falls_short_is_refused(agree, key_of, entropy):
    encryptor = make_encryptor(key_of(agree()), entropy=entropy)
    with pytest.raises(EncryptionError, match="randomness"):
        encryptor.encrypt(np.zeros(10, dtype=np.uint64), round_number=0, place=0)


def test_a_seed_that_comes_back_in_a_later_round_is_refused(agree, key_of):
    drawn = iter([b"a" * 32, b"b" * 32, b"a" * 32, b"c" * 32])
    encryptor = make_encryptor(key_of(agree()), entropy=lambda count: next(drawn))
    encryptor.encrypt(np.zeros(10, dtype=np.uint64), round_number=0, place=0)
    with pytest.raises(EncryptionError, match="repeated itself"):
        encryptor.encrypt(np.zeros(10, dtype=np.uint64), round_number=1, place=0)
