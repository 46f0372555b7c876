"""Compression where it pays, and only as far as announced."""

import os

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import TransportError
from fedjoint.transport.link.compression import compress, decompress

WORDS = b"one holder, one vote; " * 400


def test_words_shrink_and_come_back():
    packed = b"".join(compress((WORDS, b"", WORDS)))
    assert len(packed) < len(WORDS) / 10
    assert decompress(bytearray(packed), 2 * len(WORDS)) == WORDS + WORDS


@given(st.lists(st.binary(max_size=3_000), max_size=4))
def test_whatever_is_compressed_comes_back(buffers):
    packed = compress(tuple(buffers))
    whole = b"".join(buffers)
    assert packed is None or decompress(bytearray(b"".join(packed)), len(whole)) == whole


def test_ciphertext_like_bytes_are_left_alone():
    assert compress((b"head", os.urandom(100_000))) is None


def test_a_little_json_before_a_large_ciphertext_is_not_worth_it():
    assert compress((WORDS, os.urandom(1_000_000))) is None


def test_short_messages_are_left_alone():
    assert compress((b"a" * 100,)) is None


def test_a_bomb_is_stopped_at_the_announced_size():
    bomb = zstandard.compress(bytes(200 << 20))
    with pytest.raises(TransportError, match="does not come to 1000 bytes"):
        decompress(bytearray(bomb), 1000)


@pytest.mark.parametrize("size", [len(WORDS) - 1, len(WORDS) + 1])
def test_another_size_than_announced_is_refused(size):
    with pytest.raises(TransportError, match="does not come to"):
        decompress(bytearray(zstandard.compress(WORDS)), size)


def test_junk_is_refused():
    with pytest.raises(TransportError, match="does not come to"):
        decompress(bytearray(b"junk"), 10)
