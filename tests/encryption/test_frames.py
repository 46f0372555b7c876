from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.encryption.binding import Binding
from fedjoint.encryption.ciphertext import Ciphertext
from fedjoint.encryption.decryption import decrypt_sum
from fedjoint.encryption.dot import MaskedSample
from fedjoint.encryption.frames import (
    HEADER_BYTES,
    FrameHeader,
    FrameWriter,
    frame_bytes,
    pack_frame,
    parse_frame,
    parse_sample_frame,
)
from fedjoint.encryption.parameters import DEGREE, MODULUS
from fedjoint.encryption.scheme import make_encryptor
from fedjoint.errors import FrameRefused, InvalidValue
from fedjoint.identity.keys import Identity

SENDER, STRANGER = Identity.create("cleveland", "Cleveland"), Identity.create("stranger", "Stranger")
SCHEMES = pytest.mark.parametrize("scheme", ["seal", "seeded"])


@pytest.fixture
def header(binding):
    return FrameHeader(kind="update", binding=binding, round_number=3, key_id="12" * 32)


def parse(data, header, agreed, sender=SENDER):
    return parse_frame(data, expected=header, sender=sender.public, parameters=agreed)


@SCHEMES
@pytest.mark.parametrize("size", [1, 5_000])
def test_an_update_comes_back_from_its_frame(agree, encrypt_one, header, scheme, size):
    agreed = agree(scheme=scheme, num_parameters=size)
    sent = encrypt_one(np.arange(size) % 100, agreed)
    data = pack_frame(sent, header=header, sender=SENDER)
    got = parse(data, header, agreed)
    assert len(data) == frame_bytes(agreed, kind="update")
    assert (got.c0 == sent.c0).all()
    assert (got.count, got.seeds) == (1, sent.seeds)
    assert got.c1 is sent.c1 is None or (got.c1 == sent.c1).all()


@SCHEMES
def test_a_sum_comes_back_from_its_frame(agree, encrypted_sum, header, scheme):
    agreed = agree(scheme=scheme)
    header = replace(header, kind="sum")
    sent = encrypted_sum(np.zeros((3, 10)), agreed)
    data = pack_frame(sent, header=header, sender=SENDER)
    got = parse(data, header, agreed)
    assert len(data) == frame_bytes(agreed, kind="sum", count=3)
    assert (got.c0 == sent.c0).all()
    assert (got.count, got.seeds) == (3, sent.seeds)


def test_a_masked_sample_comes_back_from_its_frame(agree, header):
    agreed, header = agree(), replace(header, kind="sample")
    a = np.random.default_rng(0).integers(0, MODULUS, DEGREE, dtype=np.uint64)
    data = pack_frame(MaskedSample(parameters=agreed, b=MODULUS - 1, a=a), header=header, sender=SENDER)
    got = parse_sample_frame(data, expected=header, sender=SENDER.public, parameters=agreed)
    assert len(data) == frame_bytes(agreed, kind="sample")
    assert got.b == MODULUS - 1
    assert (got.a == a).all()


def test_the_words_are_a_read_only_view_of_the_bytes(agree, encrypt_one, header):
    agreed = agree()
    got = parse(pack_frame(encrypt_one(np.zeros(10), agreed), header=header, sender=SENDER), header, agreed)
    assert not got.c0.flags.writeable
    assert not got.c0.flags.owndata


def test_a_seeded_update_of_one_value_a_word_takes_eight_bytes_a_parameter(agree):
    assert frame_bytes(agree(num_parameters=100_000), kind="update") / 100_000 < 8.01
    assert frame_bytes(agree(num_parameters=100_000, scheme="seal"), kind="update") / 100_000 < 16.3
    packed = {"num_parameters": 100_000, "values_per_word": 3, "value_bits": 8}
    assert frame_bytes(agree(**packed), kind="update") / 100_000 < 2.68


def test_every_single_byte_that_is_changed_is_noticed(agree, encrypt_one, header):
    agreed = agree(num_parameters=1)
    data = pack_frame(encrypt_one(np.zeros(1), agreed), header=header, sender=SENDER)
    for position in range(len(data)):
        altered = bytearray(data)
        altered[position] ^= 1 << position % 8
        with pytest.raises(FrameRefused, match=r"a .* frame|a frame with"):
            parse(bytes(altered), header, agreed)


@SCHEMES
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_other_bytes_are_refused_in_words(agree, encrypt_one, scheme, data):
    agreed = agree(scheme=scheme, num_parameters=2)
    binding = Binding(agreement_sha256="ab" * 32, run_id="cd" * 16)
    header = FrameHeader(kind="update", binding=binding, round_number=3, key_id="12" * 32)
    frame = pack_frame(encrypt_one(np.zeros(2), agreed), header=header, sender=SENDER)
    altered = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.one_of(st.integers(0, HEADER_BYTES), st.integers(0, len(altered))))
        stop = start + data.draw(st.integers(0, 16))
        altered[start:stop] = data.draw(st.binary(max_size=16))
    if bytes(altered) != frame:
        with pytest.raises(FrameRefused):
            parse(bytes(altered), header, agreed)


def changed(data, offset, value):
    return data[:offset] + value + data[offset + len(value) :]


def test_each_kind_of_wrong_frame_is_refused_by_name(agree, encrypt_one, header):
    agreed = agree()
    data = pack_frame(encrypt_one(np.zeros(10), agreed), header=header, sender=SENDER)
    other_run = Binding(agreement_sha256="ab" * 32, run_id="00" * 16)
    other_agreement = Binding(agreement_sha256="00" * 32, run_id="cd" * 16)
    for expected, word in (
        (replace(header, binding=other_agreement), "wrong agreement"),
        (replace(header, binding=other_run), "wrong run"),
        (replace(header, round_number=4), "wrong round"),
        (replace(header, key_id="34" * 32), "wrong key"),
        (replace(header, kind="sum"), "wrong kind"),
    ):
        with pytest.raises(FrameRefused, match=word):
            parse(data, expected, agreed)
    for bad, word in (
        (b"", "truncated"),
        (data[:100], "truncated"),
        (data[:-1], "truncated"),
        (data + b"\x00", "oversized"),
        (b"X" + data[1:], "wrong magic"),
        (changed(data, 8, b"\x01"), "wrong version"),
        (changed(data, 16, (2).to_bytes(4, "little")), "wrong count"),
        (changed(data, 16, bytes(4)), "wrong count"),
        (changed(data, 20, (1 << 60).to_bytes(8, "little")), "malformed"),
        (changed(data, 28, b"\x01"), "malformed"),
        (changed(data, len(data) - 1, b"\x00\x00"[:1] if data[-1] else b"\x01"), "bad signature"),
    ):
        with pytest.raises(FrameRefused, match=word):
            parse(bad, header, agreed)
    with pytest.raises(FrameRefused, match="wrong sender"):
        parse(data, header, agreed, STRANGER)
    with pytest.raises(FrameRefused, match="wrong parameters"):
        parse(data, header, agree(rounds=9))


def test_a_frame_that_a_stranger_signed_in_the_senders_name_is_refused(agree, encrypt_one, header):
    agreed = agree()
    impostor = Identity.create("cleveland", "Cleveland")
    data = pack_frame(encrypt_one(np.zeros(10), agreed), header=header, sender=impostor)
    with pytest.raises(FrameRefused, match="bad signature"):
        parse(data, header, agreed)


def test_a_signed_frame_with_a_word_that_is_not_below_q_is_refused(agree, header):
    agreed = agree(scheme="seal")
    c0, c1 = np.zeros(13, dtype=np.uint64), np.zeros((1, DEGREE), dtype=np.uint64)
    for words, row in ((c0 + np.uint64(MODULUS), c1), (c0, c1 + np.uint64(MODULUS))):
        sent = Ciphertext(parameters=agreed, count=1, c0=words, c1=row)
        with pytest.raises(FrameRefused, match="not below q"):
            parse(pack_frame(sent, header=header, sender=SENDER), header, agreed)


def test_a_signed_sum_with_a_repeated_seed_is_refused(agree, encrypted_sum, header):
    agreed, header = agree(), replace(header, kind="sum")
    sent = encrypted_sum(np.zeros((2, 10)), agreed)
    object.__setattr__(sent, "seeds", (sent.seeds[0],) * 2)
    with pytest.raises(FrameRefused, match="repeated seed"):
        parse(pack_frame(sent, header=header, sender=SENDER), header, agreed)


def test_a_sum_of_more_updates_than_agreed_is_refused_before_its_length_is_believed(agree, encrypted_sum, header):
    agreed, header = agree(), replace(header, kind="sum")
    data = pack_frame(encrypted_sum(np.zeros((2, 10)), agreed), header=header, sender=SENDER)
    for count in (0, 5, (1 << 32) - 1):
        with pytest.raises(FrameRefused, match="wrong count"):
            parse(changed(data, 16, count.to_bytes(4, "little")), header, agreed)


def test_content_of_another_kind_than_the_header_is_not_packed(agree, encrypt_one, encrypted_sum, header):
    agreed = agree()
    one, several = encrypt_one(np.zeros(10), agreed), encrypted_sum(np.zeros((2, 10)), agreed)
    sample = MaskedSample(parameters=agreed, b=0, a=np.zeros(DEGREE, dtype=np.uint64))
    for content, kind in ((several, "update"), (one, "sample"), (sample, "update"), (sample, "sum")):
        with pytest.raises(InvalidValue, match="around another"):
            pack_frame(content, header=replace(header, kind=kind), sender=SENDER)


def test_room_of_another_size_and_content_of_another_count_are_refused_by_a_writer(agree, encrypted_sum, header):
    agreed = agree()
    with pytest.raises(InvalidValue, match="room for a frame"):
        FrameWriter(header, sender=SENDER, parameters=agreed, room=np.empty(10, dtype=np.uint8))
    with pytest.raises(InvalidValue, match="around another"):
        FrameWriter(header, sender=SENDER, parameters=agreed).finish(encrypted_sum(np.zeros((2, 10)), agreed))


@SCHEMES
def test_an_update_encrypted_right_into_its_frame_opens(agree, key_of, by, header, scheme):
    agreed = agree(scheme=scheme, num_parameters=5_000)
    frame = FrameWriter(header, sender=SENDER, parameters=agreed)
    levels = np.arange(5_000, dtype=np.uint64)
    data = frame.finish(make_encryptor(key_of(agreed)).encrypt(levels, round_number=1, place=0, into=frame.body))
    got = parse(data.tobytes(), header, agreed)
    assert np.shares_memory(frame.body.c0, data)
    assert decrypt_sum(key_of(agreed), got, of=by(1), minimum_holders=1).tolist() == levels.tolist()


@pytest.mark.parametrize("change", [{"kind": "key"}, {"round_number": -1}, {"round_number": 1 << 32}, {"key_id": "XY"}])
def test_a_header_outside_its_range_is_refused(header, change):
    with pytest.raises(InvalidValue, match="a frame of kind"):
        replace(header, **change)
