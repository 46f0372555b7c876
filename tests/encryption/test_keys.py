import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from fedjoint.encryption.keys import PACKED_KEY_BYTES, SecretKey
from fedjoint.encryption.parameters import DEGREE
from fedjoint.errors import EncryptionError


def test_a_key_comes_back_from_its_packed_form(agree, key_of, binding):
    key = key_of(agree())
    packed = key.pack()
    again = SecretKey.unpack(packed, agree(), binding)
    assert len(packed) == PACKED_KEY_BYTES
    assert (again.coefficients() == key.coefficients()).all()
    assert again.key_id == key.key_id


@pytest.mark.parametrize("packed", [b"", bytes(1023), bytes(1025), b"\xff" * 1024, b"\xc0" + bytes(1023)])
def test_bytes_that_are_no_key_are_refused(agree, binding, packed):
    with pytest.raises(EncryptionError, match="secret key"):
        SecretKey.unpack(packed, agree(), binding)


@pytest.mark.parametrize(
    "wrong", [np.zeros(DEGREE), np.zeros(5, dtype=np.int8), np.full(DEGREE, 2, np.int8), np.full(DEGREE, -128, np.int8)]
)
def test_coefficients_that_are_not_ternary_are_refused(agree, binding, wrong):
    with pytest.raises(EncryptionError, match="no secret key"):
        SecretKey(wrong, agree(), binding)


def test_the_key_id_tells_keys_and_parameters_apart(agree, key_of):
    ids = {key_of(agree(), 0).key_id, key_of(agree(), 1).key_id, key_of(agree(rounds=9), 0).key_id}
    assert len(ids) == 3
    assert all(len(key_id) == 64 for key_id in ids)


@pytest.mark.parametrize("change", [{"agreement_sha256": "00" * 32}, {"run_id": "00" * 16}])
def test_another_run_and_other_members_who_are_another_agreement_make_another_key(agree, key_of, binding, change):
    key = key_of(agree())
    other = SecretKey(key.coefficients(), agree(), replace(binding, **change))
    assert other.key_id != key.key_id
    assert other.derive("tag/1/0") != key.derive("tag/1/0")


def test_a_round_beyond_those_agreed_is_refused(agree, key_of):
    key = key_of(agree(rounds=8))
    with pytest.raises(EncryptionError, match="a key for 8 rounds"):
        key.begin_round(9)
    key.begin_round(8)


def test_a_key_never_prints_pickles_copies_or_compares_itself(agree, key_of):
    key = key_of(agree())
    assert "hidden" in repr(key)
    assert key.pack().hex()[:16] not in repr(key)
    for attempt in (
        lambda: pickle.dumps(key),
        lambda: copy.copy(key),
        lambda: copy.deepcopy(key),
        lambda: key == key,
        lambda: key != 1,
    ):
        with pytest.raises(EncryptionError, match="not copied, pickled or compared"):
            attempt()
    with pytest.raises(TypeError, match="unhashable"):
        hash(key)


def test_a_closed_key_is_wiped_and_does_nothing_more(agree, key_of):
    key = key_of(agree())
    held = key._coefficients, key._spectrum
    key.close()
    assert not any(array.any() for array in held)
    for attempt in (
        key.pack,
        key.coefficients,
        lambda: key.tag(b""),
        lambda: key.derive(""),
        lambda: key.begin_round(0),
        lambda: key.multiply(np.zeros((1, DEGREE), dtype=np.uint64)),
        lambda: key.inner(np.zeros(DEGREE, dtype=np.uint64)),
    ):
        with pytest.raises(EncryptionError, match="wiped"):
            attempt()


def test_changing_the_array_it_was_made_of_does_not_change_a_key(agree, binding):
    coefficients = np.ones(DEGREE, dtype=np.int8)
    key = SecretKey(coefficients, agree(), binding)
    coefficients[:] = 0
    assert (key.coefficients() == 1).all()


def test_a_round_is_claimed_once_and_in_order(agree, key_of):
    key = key_of(agree())
    key.begin_round(0)
    key.begin_round(3)
    for used in (3, 2, 0, -1):
        with pytest.raises(EncryptionError, match="encrypted under this key already"):
            key.begin_round(used)


def test_tags_differ_by_message_and_by_key(agree, key_of):
    one, other = key_of(agree(), 0), key_of(agree(), 1)
    assert len({one.tag(b"a"), one.tag(b"b"), other.tag(b"a")}) == 3
    assert one.tag(b"a") == key_of(agree(), 0).tag(b"a")
