import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.encryption.packing import blocks, decode, encode, pack_block, unpack_block
from fedjoint.encryption.parameters import CHECK_WORDS, DEGREE, ERROR_BOUND, MODULUS, PAYLOAD_WORDS

KINDS = [(1, 16, 4), (1, 24, 200), (2, 20, 10), (3, 11, 20), (3, 8, 24), (4, 8, 10), (5, 8, 3)]


def kinds():
    return pytest.mark.parametrize(("k", "bits", "holders"), KINDS)


@kinds()
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 4092, 4093, 4094, 12_279, 12_280, 20_001, 200_000])
def test_packing_comes_back_and_leaves_room_for_the_words_that_check(agree, k, bits, holders, size):
    agreed = agree(values_per_word=k, value_bits=bits, max_holders=holders, num_parameters=size)
    levels = np.random.default_rng(size).integers(0, agreed.levels, size, dtype=np.uint64)
    got = []
    for block in blocks(agreed):
        packed = pack_block(levels[block.values], agreed, block)
        assert packed.shape == (block.num_polynomials, DEGREE)
        assert packed.max() < agreed.plain_modulus
        assert not packed[:, :CHECK_WORDS].any()
        assert not packed.reshape(-1)[block.words.stop - block.words.start :].any()
        values = np.full(k * block.num_payload, 1 << 60, dtype=np.uint64)
        for where, piece in unpack_block(packed[:, CHECK_WORDS:], agreed, block):
            values[where] = piece
        assert not values[block.values.stop - block.values.start :].any()
        got += values[: block.values.stop - block.values.start].tolist()
    assert got == levels.tolist()


@kinds()
def test_blocks_cover_all_words_and_values_once_and_tell_how_far_they_are(agree, k, bits, holders):
    agreed = agree(values_per_word=k, value_bits=bits, max_holders=holders, num_parameters=300_000)
    heard, words, values, payload = [], 0, 0, 0
    for block in blocks(agreed, progress=lambda done, total: heard.append((done, total))):
        assert (block.words.start, block.values.start) == (words, values)
        assert block.words.start == block.polynomials.start * DEGREE
        assert block.num_payload <= block.num_polynomials * PAYLOAD_WORDS
        words, values, payload = block.words.stop, block.values.stop, payload + block.num_payload
    assert (words, values, payload) == (agreed.num_words, 300_000, agreed.num_payload_words)
    assert block.polynomials.stop == agreed.num_polynomials
    assert heard[-1] == (300_000, 300_000)
    assert heard == sorted(heard)


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
