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
        "5d86bbe6495bfa9d0e09f3f8a6ffb0edefa761ac668abeaaa353a21254bda3fd",
        "40a634678d93867add7703f621ea4498059e64151f7a664bac63e09e72ae9e9c",
    ),
    (
        3,
        20_000,
        "9758341abac39914838c59b362edcab8cb3a8092b9de0707a8f6a8e20e3faf55",
        "ca675c9de2c4077e9da2bb10f8fdef6c7be0f12b570356601d1772b45d7b80ed",
    ),
    (
        1,
        70_000,
        "809885267c18cc9ab742e8edbde9ed1b5a5bdf2683e47d9866182386802ef68e",
        "92763ac3152e5200e0ae726a599dbc1a018a325323b01f3db6d3093b76a410ae",
    ),
]
#: Scheme, k, size, SHA-256 of all plaintext words of a made-up ciphertext, and the first of them.
DECRYPTIONS = [
    (
        "seeded",
        1,
        5_000,
        "3ee832f4838e87c30fa9bab286de83e25f9a57ebb4038e5d6f6a3cacaa6a4fc9",
        [21595273785, 13450963445, 12080853496],
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
    assert key.derive("round/3").hex() == "f6d84e6eecaf24941c177715c7e7c4afa071fb4f9504b503b52b55c6792ea989"


def test_the_header_of_a_frame_is_known(agree, binding):
    agreed = parameters(agree)
    made_up = Ciphertext(parameters=agreed, count=1, c0=np.arange(13, dtype=np.uint64), seeds=(b"\x01" * 32,))
    header = FrameHeader(kind="update", binding=binding, round_number=3, key_id="12" * 32)
    data = pack_frame(made_up, header=header, sender=Identity.create("ahus", "Ahus"))
    assert hashlib.sha256(data[:-64]).hexdigest() == "9d112602304da8aa9c9b6f0a7b437e55b9d2afd616e0f8b2a96f4fda9f6078a4"
