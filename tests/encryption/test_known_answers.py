"""Known answers: with everything fixed, these bytes and numbers, on every machine and in every later version.

A change of any of them is a change of the format: raise the frame's version, and say so.
"""

import hashlib

import numpy as np
import pytest

from fedjoint.encryption.ciphertext import Ciphertext, add
from fedjoint.encryption.decryption import decrypt_sum, decrypt_words
from fedjoint.encryption.frames import FrameHeader, pack_frame
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.parameters import DEGREE, MODULUS
from fedjoint.encryption.scheme import make_encryptor
from fedjoint.encryption.tags import Contributors
from fedjoint.identity.keys import Identity

#: k, size, and SHA-256 of the ciphertext words of holders 0 and 1 in round 3.
ENCRYPTIONS = [
    (
        1,
        10,
        "3bf4ee5fda8c865cc89cc74f8a182d15db6d8f5096a9a246b1f415f35bb799af",
        "dd185acac1061a28e327f9983fa025005011c55ca2063741728aceb2ee72bf35",
    ),
    (
        3,
        20_000,
        "9bf2d6b8b0102c7cc499346fd7ddd0b92396d9f50506bf2bbddae3ebb62ec8fb",
        "590a9c90fdada579bf963d09d844dd8028467f4c00922e564560268842e192e6",
    ),
    (
        1,
        70_000,
        "886d8cbf4920e12add8a83126b09c373ff21c4cf517ba55b09e358227c4c9e09",
        "86e7378f3bc670e2e92d1be4e486469c1af42e4555c278ef6be34f8ef01c7642",
    ),
]
#: Scheme, k, size, SHA-256 of all plaintext words of a made-up ciphertext, and the first of them.
DECRYPTIONS = [
    (
        "seeded",
        1,
        5_000,
        "578596e8085201c496e130a6e5b9e7e838f1033a7b1fe6761cc86c8d6784e865",
        [3395539024, 18455183984, 32812034965],
    ),
    (
        "seal",
        3,
        70_000,
        "df09d38e8bab39a8f06944eed59dc362af4ee2639a9717dc5ecaaac0e00419b1",
        [987903989863386, 727645923058711, 669456820455126],
    ),
]


def sha256(words):
    return hashlib.sha256(words.astype("<u8").tobytes()).hexdigest()


def parameters(agree, **changes):
    return agree(max_holders=3, value_bits=8, **changes)


def fixed_key(agreed, binding):
    """A ternary polynomial that anybody can write down."""
    return SecretKey(((np.arange(DEGREE) * 7 + np.arange(DEGREE) // 5) % 3 - 1).astype(np.int8), agreed, binding)


def fixed_entropy():
    numbers = iter(range(1, 100))
    return lambda count: bytes([next(numbers)]) * count


@pytest.mark.parametrize(("k", "size", "first", "second"), ENCRYPTIONS)
def test_a_seeded_encryption_of_fixed_randomness_has_known_words(agree, binding, k, size, first, second):
    agreed = parameters(agree, values_per_word=k, num_parameters=size)
    levels = (np.arange(size, dtype=np.uint64) * np.uint64(37)) % np.uint64(agreed.levels)
    encryptions = []
    for place, expected in ((0, first), (1, second)):
        key = fixed_key(agreed, binding)
        entropy = fixed_entropy()
        for _ in range(2 * place):
            entropy(32)
        one = make_encryptor(key, entropy=entropy).encrypt(levels, round_number=3, place=place)
        assert one.seeds == (bytes([1 + 2 * place]) * 32,)
        assert sha256(one.c0) == expected
        encryptions.append(one)
    of = Contributors(round_number=3, places=(0, 1))
    sums = decrypt_sum(fixed_key(agreed, binding), add(encryptions), of=of, minimum_holders=2)
    assert (sums == 2 * levels).all()


@pytest.mark.parametrize(("scheme", "k", "size", "expected", "start"), DECRYPTIONS)
def test_a_made_up_ciphertext_decrypts_to_known_words(agree, binding, scheme, k, size, expected, start):
    agreed = parameters(agree, scheme=scheme, values_per_word=k, num_parameters=size)
    words = np.random.Generator(np.random.PCG64(5)).bytes(8 * (agreed.num_words + agreed.num_polynomials * DEGREE))
    uniform = np.frombuffer(words, dtype="<u8") % np.uint64(MODULUS)
    c1 = uniform[agreed.num_words :].reshape(-1, DEGREE) if scheme == "seal" else None
    seeds = () if scheme == "seal" else (b"\x01" * 32,)
    made_up = Ciphertext(parameters=agreed, count=1, c0=uniform[: agreed.num_words], c1=c1, seeds=seeds)
    plain = decrypt_words(fixed_key(agreed, binding), made_up)
    assert plain[:3].tolist() == start
    assert sha256(plain) == expected


def test_the_key_id_and_what_is_derived_from_a_key_are_known(agree, binding):
    key = fixed_key(parameters(agree), binding)
    assert key.key_id == "05f8473d39192461b716222cd8cb44de4eb5b1ac0645315d1a6011381378ea5a"
    assert key.derive("tag/3/0").hex() == "a24889fc42b3817d2d02fda7b3791e25ffb3b4e1407809356df79ec9e4bd11f9"


def test_the_header_of_a_frame_is_known(agree, binding):
    agreed = parameters(agree)
    made_up = Ciphertext(parameters=agreed, count=1, c0=np.arange(13, dtype=np.uint64), seeds=(b"\x01" * 32,))
    header = FrameHeader(kind="update", binding=binding, round_number=3, key_id="12" * 32)
    data = pack_frame(made_up, header=header, sender=Identity.create("ahus", "Ahus"))
    assert hashlib.sha256(data[:-64]).hexdigest() == "9d112602304da8aa9c9b6f0a7b437e55b9d2afd616e0f8b2a96f4fda9f6078a4"
