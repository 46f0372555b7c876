import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.encryption.packing import blocks, decode, encode, pack_block, unpack_block
from fedjoint.encryption.parameters import DEGREE, ERROR_BOUND, MODULUS

KINDS = [(1, 16, 4), (1, 24, 200), (2, 20, 10), (3, 11, 20), (3, 8, 24), (4, 8, 10), (5, 8, 3)]


def kinds():
    return pytest.mark.parametrize(("k", "bits", "holders"), KINDS)


@kinds()
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 4095, 4096, 12_287, 12_288, 20_001, 200_000])
def test_packing_comes_back_with_the_canary_after_the_last_value(agree, k, bits, holders, size):
    agreed = agree(values_per_word=k, value_bits=bits, max_holders=holders, num_parameters=size)
    levels = np.random.default_rng(size).integers(0, agreed.levels, size, dtype=np.uint64)
    got = []
    for _, words, _ in blocks(agreed):
        packed = pack_block(levels, agreed, words=words)
        assert packed.max() < agreed.plain_modulus
        got += unpack_block(packed, agreed).tolist()
    assert got[:size] == levels.tolist()
    assert got[size] == 1
    assert not any(got[size + 1 :])


@kinds()
def test_blocks_cover_all_words_once(agree, k, bits, holders):
    agreed = agree(values_per_word=k, value_bits=bits, max_holders=holders, num_parameters=300_000)
    stops = [0]
    for number, words, polynomials in blocks(agreed):
        assert number == len(stops) - 1
        assert words.start == stops[-1] == polynomials.start * DEGREE
        assert words.stop <= polynomials.stop * DEGREE
        stops.append(words.stop)
    assert stops[-1] == agreed.num_words
    assert polynomials.stop == agreed.num_polynomials


@kinds()
@given(data=st.data())
@settings(max_examples=30)
def test_encoding_is_the_nearest_integer_to_q_m_over_t(agree, k, bits, holders, data):
    agreed = agree(values_per_word=k, value_bits=bits, max_holders=holders)
    t = agreed.plain_modulus
    word = data.draw(st.integers(0, t - 1))
    got = int(encode(np.array([word], dtype=np.uint64), agreed)[0])
    assert abs(2 * (got * t - MODULUS * word)) <= t


@kinds()
def test_a_single_value_is_encoded_by_a_shift(agree, k, bits, holders):
    if k == 1:
        agreed = agree(values_per_word=k, value_bits=bits, max_holders=holders)
        top = np.array([1, agreed.levels - 1], dtype=np.uint64)
        assert encode(top, agreed).tolist() == [int(m) << (60 - agreed.plain_bits) for m in top]


@kinds()
@given(data=st.data())
@settings(max_examples=30)
def test_decoding_tolerates_the_worst_noise_of_all_holders(agree, k, bits, holders, data):
    agreed = agree(values_per_word=k, value_bits=bits, max_holders=holders)
    t = agreed.plain_modulus
    word = data.draw(st.one_of(st.sampled_from([0, 1, t - 1, t // 2]), st.integers(0, t - 1)))
    worst = ERROR_BOUND * holders + -(-holders // 2)
    noise = data.draw(st.sampled_from([-worst, worst, 0]))
    phase = (MODULUS * word // t + noise) % MODULUS
    assert int(decode(np.array([phase], dtype=np.uint64), agreed)[0]) == word
