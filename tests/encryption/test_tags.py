"""A coordinator without the key against the tags: each test makes a false sum as it could, and has a holder open it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.encryption.ciphertext import Ciphertext, add, second_polynomials
from fedjoint.encryption.decryption import decrypt_sum, decrypt_words
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.packing import blocks
from fedjoint.encryption.parameters import CHECK_WORDS, DEGREE, MODULUS, TAG_PRIMES
from fedjoint.encryption.scheme import make_encryptor
from fedjoint.encryption.streams import keystream
from fedjoint.encryption.tags import Contributors, Tagger
from fedjoint.errors import EncryptionError, InvalidValue

SCHEMES = pytest.mark.parametrize("scheme", ["seal", "seeded"])
KINDS = pytest.mark.parametrize(("k", "bits"), [(1, 16), (3, 8)])
FIXED = "the sum does not decrypt to one of these updates under this key"
SIZE = 9_000


@pytest.fixture(scope="module")
def updates(agree, key_of):
    """For scheme and packing: parameters, and updates by (holder's place, round)."""
    made = {}

    def make(scheme, k, bits):
        if (scheme, k) not in made:
            agreed = agree(scheme=scheme, num_parameters=SIZE, values_per_word=k, value_bits=bits)
            rng, by_place = np.random.default_rng(0), {}
            for place in range(4):
                encryptor = make_encryptor(key_of(agreed))
                for number in (1, 2):
                    levels = rng.integers(0, agreed.levels // 4, SIZE, dtype=np.uint64)
                    by_place[place, number] = encryptor.encrypt(levels, round_number=number, place=place)
            made[scheme, k] = agreed, by_place
        return made[scheme, k]

    return make


def combined(parts):
    """Any integer combination of ciphertexts, [(factor, ciphertext)], made up as a sum of as many as ``count``."""
    agreed = parts[0][1].parameters
    c0 = sum(factor * part.c0.astype(object) for factor, part in parts) % MODULUS
    c1, seeds = None, ()
    if agreed.scheme == "seal":
        c1 = (sum(factor * part.c1.astype(object) for factor, part in parts) % MODULUS).astype(np.uint64)
    else:
        seeds = tuple(part.seeds[0] for _, part in parts)
    return c0.astype(np.uint64), c1, seeds


def refused(agreed, key, total, places, round_number=1):
    fresh = SecretKey(key.coefficients(), agreed, key.binding)  # one that has not met false sums
    with pytest.raises(EncryptionError, match=FIXED):
        decrypt_sum(fresh, total, of=Contributors(round_number=round_number, places=places), minimum_holders=2)


@SCHEMES
@KINDS
def test_a_true_sum_of_any_of_the_holders_opens(updates, key_of, scheme, k, bits):
    agreed, made = updates(scheme, k, bits)
    for places in ((0, 1), (2, 0, 3), (0, 1, 2, 3)):
        total = add(made[place, 2] for place in places)
        decrypt_sum(key_of(agreed), total, of=Contributors(round_number=2, places=places), minimum_holders=2)


@SCHEMES
@KINDS
def test_an_omission_a_substitution_and_another_round_are_refused(updates, key_of, scheme, k, bits):
    agreed, made = updates(scheme, k, bits)
    key = key_of(agreed)
    true = [made[place, 1] for place in (0, 1, 2)]
    refused(agreed, key, add(true), (0, 1, 3))
    refused(agreed, key, add(true), (0, 1, 2, 3))
    refused(agreed, key, add(true), (0, 1))
    refused(agreed, key, add(true), (0, 1, 2), round_number=2)
    refused(agreed, key, add([made[0, 1], made[1, 1], made[2, 2]]), (0, 1, 2))


@KINDS
def test_one_holders_update_as_often_as_there_are_holders_is_refused(updates, key_of, k, bits):
    agreed, made = updates("seal", k, bits)
    for parts in ([(3, made[0, 1])], [(2, made[0, 1]), (1, made[1, 1])], [(2, made[0, 1]), (-1, made[1, 1])]):
        c0, c1, _ = combined(parts)
        refused(agreed, key_of(agreed), Ciphertext(parameters=agreed, count=3, c0=c0, c1=c1), (0, 1, 2))


@KINDS
def test_copies_in_one_polynomial_only_are_refused(updates, key_of, k, bits):
    agreed, made = updates("seal", k, bits)
    true = add(made[place, 1] for place in (0, 1, 2))
    c0, c1 = true.c0.copy(), true.c1.copy()
    copied, second, _ = combined([(3, made[0, 1])])
    c0[:DEGREE], c1[0] = copied[:DEGREE], second[0]
    refused(agreed, key_of(agreed), replace(true, c0=c0, c1=c1), (0, 1, 2))


def test_polynomials_in_another_order_are_refused(updates, key_of):
    agreed, made = updates("seal", 1, 16)
    true = add(made[place, 1] for place in (0, 1))
    c0, c1 = true.c0.copy(), true.c1.copy()
    c0[:DEGREE], c0[DEGREE : 2 * DEGREE] = true.c0[DEGREE : 2 * DEGREE], true.c0[:DEGREE]
    c1[[0, 1]] = true.c1[[1, 0]]
    refused(agreed, key_of(agreed), replace(true, c0=c0, c1=c1), (0, 1))


@KINDS
def test_the_key_itself_added_to_a_sum_where_the_canary_does_not_show_it_is_refused(updates, key_of, k, bits):
    # (0, x^a q / t) adds s(x) x^a to the plaintext: a sum would tell the key. The test knows its zeros.
    agreed, made = updates("seal", k, bits)
    key = key_of(agreed)
    true = add(made[place, 1] for place in (0, 1))
    zeros = key.coefficients() == 0
    tried = 0
    for power in range(CHECK_WORDS, DEGREE):
        if all(zeros[(word - power) % DEGREE] for word in range(CHECK_WORDS)):
            c1 = true.c1.copy()
            c1[0, power] = (int(c1[0, power]) + (MODULUS >> agreed.plain_bits)) % MODULUS
            refused(agreed, key, replace(true, c1=c1), (0, 1))
            tried += 1
            if tried == 20:
                return
    raise AssertionError("the key of this test has no such place")


@SCHEMES
@KINDS
@given(data=st.data())
def test_any_number_added_to_any_word_is_refused(updates, key_of, scheme, k, bits, data):
    agreed, made = updates(scheme, k, bits)
    true = add(made[place, 1] for place in (0, 1))
    c0, word = true.c0.copy(), data.draw(st.integers(0, agreed.num_words - 1))
    number = data.draw(st.one_of(st.sampled_from([1, -1, *TAG_PRIMES]), st.integers(1, agreed.plain_modulus - 1)))
    if word % DEGREE in (1, 2) and number % TAG_PRIMES[word % DEGREE - 1] == 0:
        return  # a tag is a tag modulo its prime
    scaled = (2 * number * MODULUS + agreed.plain_modulus) // (2 * agreed.plain_modulus)
    c0[word] = (int(c0[word]) + scaled) % MODULUS
    refused(agreed, key_of(agreed), replace(true, c0=c0), (0, 1))


def test_a_seed_of_nobody_is_refused(updates, key_of):
    agreed, made = updates("seeded", 1, 16)
    true = add(made[place, 1] for place in (0, 1))
    refused(agreed, key_of(agreed), replace(true, seeds=(true.seeds[0], bytes(32))), (0, 1))


@SCHEMES
def test_the_check_words_are_those_of_the_stated_formula(updates, key_of, scheme):
    agreed, made = updates(scheme, 3, 8)
    key = key_of(agreed)
    plain = decrypt_words(key, made[2, 1])
    (block,) = blocks(agreed)
    seed = key.derive("round/1")
    drawn = keystream(seed, purpose="factors", block=0)(block.num_payload).tolist()
    own = keystream(seed, purpose="tag/2", block=0)(2).tolist()
    payload = plain[CHECK_WORDS:].tolist()
    assert agreed.num_polynomials == 1
    for number, prime in enumerate(TAG_PRIMES):
        factors = [(word >> 26 * number) % (1 << 26) for word in drawn]
        products = sum(r * m for r, m in zip(factors, payload, strict=True))
        assert plain[1 + number] == (own[number] + products) % prime
    assert plain[0] == 1


def test_the_primes_are_primes_that_leave_room_for_two_hundred_tags_whatever_is_agreed(agree):
    for prime in TAG_PRIMES:
        assert all(prime % divisor for divisor in range(2, int(prime**0.5) + 1))
        assert prime < 1 << 26
    smallest = agree(max_holders=200, value_bits=8, num_parameters=1, rounds=1)
    assert 200 * max(TAG_PRIMES) < smallest.plain_modulus


def test_largest_words_and_factors_do_not_overflow(agree, key_of, monkeypatch):
    agreed = agree(values_per_word=5, value_bits=8, max_holders=3, num_parameters=5 * 4093)
    (block,) = blocks(agreed)
    ones = np.uint64((1 << 64) - 1)
    monkeypatch.setattr(
        "fedjoint.encryption.tags.keystream", lambda *_, **__: lambda count: np.full(count, ones, dtype=np.uint64)
    )
    payload = np.full((1, 4093), (1 << 50) - 1, dtype=np.uint64)
    words = Tagger(key_of(agreed), Contributors(round_number=1, places=(0,))).words(payload, block)
    for number, prime in enumerate(TAG_PRIMES):
        assert words[0, 1 + number] == ((1 << 64) - 1 + 4093 * ((1 << 26) - 1) * ((1 << 50) - 1)) % prime


@pytest.mark.parametrize(
    "change", [{"places": ()}, {"places": (1, 1)}, {"places": (0, -1)}, {"round_number": -1}, {"round_number": 1 << 32}]
)
def test_contributors_that_cannot_be_are_refused(change):
    with pytest.raises(InvalidValue, match="contributors at places"):
        Contributors(**({"round_number": 1, "places": (0, 1)} | change))


def test_second_polynomials_of_a_sum_of_nobody_else_are_not_needed(updates):
    agreed, made = updates("seeded", 3, 8)
    (block,) = blocks(agreed)
    assert second_polynomials(made[0, 1], block).shape == (agreed.num_polynomials, DEGREE)
