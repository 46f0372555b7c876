from __future__ import annotations

import base64
import copy
import hashlib
import json
import os
import pickle
import stat

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import FedjointError, IdentityError, InvalidValue
from fedjoint.identity.keys import MAX_SEALED_BYTES, Identity, PublicIdentity

BASEL = Identity.create("basel", "Basel")
ZURICH = Identity.create("zurich", "Zürich")
#: RFC 8032, section 7.1, test 1.
RFC_8032_SECRET = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
RFC_8032_PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
#: RFC 9180, appendix A.2.1 (X25519, HKDF-SHA256, ChaCha20Poly1305, base mode, sequence number 0).
HPKE = {
    "secret": "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb",
    "public": "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a",
    "info": "4f6465206f6e2061204772656369616e2055726e",
    "enc": "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
    "aad": "436f756e742d30",
    "plain": "4265617574792069732074727574682c20747275746820626561757479",
    "box": "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
}
#: Encodings of y of the points of small order on edwards25519; each with either sign.
Y_OF_SMALL_ORDER = [
    "00" * 32,
    "01" + "00" * 31,
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    *(first + "ff" * 30 + "7f" for first in ("ec", "ed", "ee")),
]
SMALL_ORDER = [y[:-2] + f"{int(y[-2:], 16) | sign:02x}" for y in Y_OF_SMALL_ORDER for sign in (0, 0x80)]


def public(**changes):
    usual = {"id": "basel", "name": "Basel", "signing_key": "ab" * 32, "sealing_key": "cd" * 32}
    return PublicIdentity(**(usual | changes))


def key_file(path, **changes):
    """A key file as written by hand."""
    usual = {"id": "basel", "name": "Basel", "signing": RFC_8032_SECRET, "sealing": HPKE["secret"]}
    path.write_text(json.dumps(usual | changes))
    path.chmod(0o600)
    return path


def hpke_open(box: bytes, secret: X25519PrivateKey, info: bytes, aad: bytes = b"") -> bytes:
    """RFC 9180 written a second time, from its text: DHKEM(X25519), HKDF-SHA256, ChaCha20Poly1305, base mode."""

    def extract(suite, salt, label, key):
        return HKDF.extract(hashes.SHA256(), salt, b"HPKE-v1" + suite + label + key)

    def expand(suite, key, label, context, length):
        labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context
        return HKDFExpand(hashes.SHA256(), length, labelled).derive(key)

    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x03"
    enc, sealed = box[:32], box[32:]
    shared = secret.exchange(X25519PublicKey.from_public_bytes(enc))
    context = enc + secret.public_key().public_bytes_raw()
    shared = expand(kem, extract(kem, b"", b"eae_prk", shared), b"shared_secret", context, 32)
    schedule = b"\x00" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    key = extract(suite, shared, b"secret", b"")
    nonce = expand(suite, key, b"base_nonce", schedule, 12)
    return ChaCha20Poly1305(expand(suite, key, b"key", schedule, 32)).decrypt(nonce, sealed, aad)


def test_the_signing_key_of_rfc_8032_has_the_published_public_key(tmp_path):
    assert Identity.load(key_file(tmp_path / "key")).public.signing_key == RFC_8032_PUBLIC


def test_the_sealing_key_of_rfc_9180_has_the_published_public_key(tmp_path):
    assert Identity.load(key_file(tmp_path / "key")).public.sealing_key == HPKE["public"]


@given(st.binary(max_size=100), st.text("abc-/", max_size=8))
def test_a_signature_is_ed25519_over_purpose_and_hash_as_documented(payload, purpose):
    message = b"fedjoint/1/" + purpose.encode() + b"\x00" + hashlib.sha256(payload).digest()
    secret = Ed25519PrivateKey.from_private_bytes(BASEL._signing.private_bytes_raw())
    assert BASEL.sign(purpose, payload) == secret.sign(message).hex()
    BASEL.public.verify(purpose, payload, BASEL.sign(purpose, payload))


def test_the_oracle_for_boxes_opens_the_one_published_in_rfc_9180():
    secret = X25519PrivateKey.from_private_bytes(bytes.fromhex(HPKE["secret"]))
    info, aad = bytes.fromhex(HPKE["info"]), bytes.fromhex(HPKE["aad"])
    assert hpke_open(bytes.fromhex(HPKE["enc"] + HPKE["box"]), secret, info, aad) == bytes.fromhex(HPKE["plain"])


@given(st.binary(max_size=300), st.text(max_size=10))
def test_a_sealed_box_is_hpke_and_opens_for_its_recipient(secret, purpose):
    box = BASEL.public.seal(purpose, secret)
    assert BASEL.open(purpose, box) == secret
    assert hpke_open(box, BASEL._sealing, b"fedjoint/1/" + purpose.encode()) == secret


def test_two_boxes_of_one_secret_differ():
    assert BASEL.public.seal("key", b"s") != BASEL.public.seal("key", b"s")


@given(payload=st.binary(max_size=50), other=st.binary(max_size=50))
def test_a_signature_of_another_payload_is_refused(payload, other):
    if payload != other:
        with pytest.raises(IdentityError, match="the signature for 'record' is not that of 'basel'"):
            BASEL.public.verify("record", other, BASEL.sign("record", payload))


@given(made_for=st.text("ab\x00/", max_size=4), used_for=st.text("ab\x00/", max_size=4), payload=st.binary(max_size=4))
def test_a_signature_made_for_another_purpose_is_refused(made_for, used_for, payload):
    signature = BASEL.sign(made_for, payload)
    if made_for != used_for:
        with pytest.raises(IdentityError):
            BASEL.public.verify(used_for, payload, signature)


def test_a_signature_without_a_purpose_or_of_a_jws_is_refused():
    raw = BASEL._signing.sign(b"hello").hex()
    jws = base64.urlsafe_b64decode(BASEL.sign_jws("record", b"hello").split(".")[2] + "==")
    for signature in (raw, jws.hex()):
        with pytest.raises(IdentityError):
            BASEL.public.verify("record", b"hello", signature)


def test_a_signature_of_another_party_is_refused():
    with pytest.raises(IdentityError, match="not that of 'zurich'"):
        ZURICH.public.verify("record", b"hello", BASEL.sign("record", b"hello"))


def test_every_flipped_bit_of_a_signature_is_refused():
    signature = bytes.fromhex(BASEL.sign("record", b"hello"))
    for place in range(512):
        altered = bytearray(signature)
        altered[place // 8] ^= 1 << place % 8
        with pytest.raises(IdentityError):
            BASEL.public.verify("record", b"hello", altered.hex())


def test_a_signature_plus_the_group_order_is_refused():
    signature = bytes.fromhex(BASEL.sign("record", b"hello"))
    order = 2**252 + 27742317777372353535851937790883648493
    larger = (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    with pytest.raises(IdentityError):
        BASEL.public.verify("record", b"hello", (signature[:32] + larger).hex())


@pytest.mark.parametrize("spoil", [str.upper, lambda s: s + "\n", lambda s: " " + s, lambda s: s[:-2], lambda s: ""])
def test_another_spelling_of_a_signature_is_refused(spoil):
    with pytest.raises(IdentityError):
        BASEL.public.verify("record", b"hello", spoil(BASEL.sign("record", b"hello")))


@pytest.mark.parametrize("key", SMALL_ORDER)
def test_a_key_that_anybody_can_sign_for_verifies_nothing(key):
    party = public(signing_key=key)

    def forged(number):
        """A signature without any secret, if the library takes one: S = 0 and R one of the points of small order."""
        message = b"fedjoint/1/record\x00" + hashlib.sha256(b"%d" % number).digest()
        for first in SMALL_ORDER:
            try:
                Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(first) + bytes(32), message)
            except Exception:  # the library says no in several ways
                continue
            return first + "00" * 32
        return None

    found = [(number, signature) for number in range(40) if (signature := forged(number))]
    assert found, "the library refuses such keys itself: our own check is needed no longer"
    for number, signature in found:
        with pytest.raises(IdentityError):
            party.verify("record", b"%d" % number, signature)


def test_a_signing_key_that_is_no_point_verifies_nothing():
    with pytest.raises(IdentityError):
        public(signing_key="02" + "00" * 31).verify("record", b"", "00" * 64)


@pytest.mark.parametrize("key", ["00" * 32, "01" + "00" * 31])
def test_nothing_is_sealed_to_a_key_that_everybody_can_open(key):
    with pytest.raises(IdentityError, match="nothing can be sealed to 'basel'"):
        public(sealing_key=key).seal("key", b"secret")


def test_a_box_is_opened_by_nobody_else_and_for_no_other_purpose():
    box = BASEL.public.seal("key", b"secret")
    with pytest.raises(IdentityError, match="'zurich' cannot open the box sealed for 'key'"):
        ZURICH.open("key", box)
    with pytest.raises(IdentityError, match="'basel' cannot open the box sealed for 'record'"):
        BASEL.open("record", box)


def test_every_flipped_byte_and_every_length_of_a_box_is_refused():
    box = BASEL.public.seal("key", b"secret")
    for place in range(len(box)):
        with pytest.raises(IdentityError):
            BASEL.open("key", box[:place] + bytes([box[place] ^ 1]) + box[place + 1 :])
        with pytest.raises(IdentityError):
            BASEL.open("key", box[:place])
    with pytest.raises(IdentityError):
        BASEL.open("key", box + b"\x00")


def test_a_box_above_the_limit_is_refused_unopened():
    box = BASEL.public.seal("key", bytes(MAX_SEALED_BYTES))
    with pytest.raises(IdentityError, match="cannot open"):
        BASEL.open("key", box)
    overhead = len(box) - MAX_SEALED_BYTES
    largest = BASEL.public.seal("key", bytes(MAX_SEALED_BYTES - overhead))
    assert len(BASEL.open("key", largest)) == MAX_SEALED_BYTES - overhead


@pytest.mark.parametrize("party_id", ["", "-a", "_a", "A", "ä", "a b", "a/b", "..", "a\n", "a" * 64])
def test_a_malformed_id_is_refused(party_id):
    with pytest.raises(InvalidValue, match="party id"):
        public(id=party_id)
    with pytest.raises(InvalidValue, match="party id"):
        Identity.create(party_id, "X")


@pytest.mark.parametrize("party_id", ["a", "0", "a-b_c", "a" * 63])
def test_a_well_formed_id_is_taken(party_id):
    assert public(id=party_id).id == party_id


@pytest.mark.parametrize("field", ["signing_key", "sealing_key"])
@pytest.mark.parametrize("key", ["", "ab" * 31, "ab" * 33, "AB" * 32, "zz" * 32, "ab" * 32 + "\n"])
def test_a_malformed_key_is_refused_by_name(field, key):
    with pytest.raises(InvalidValue, match=f"{field} of 'basel'"):
        public(**{field: key})


def test_a_fingerprint_is_that_of_both_keys_and_fits_a_telephone_call():
    digest = hashlib.sha256(bytes.fromhex("ab" * 32 + "cd" * 32)).hexdigest()
    assert public().fingerprint == f"{digest[:4]} {digest[4:8]} {digest[8:12]} {digest[12:16]}"
    assert (
        public(signing_key="ac" * 32).fingerprint != public().fingerprint != public(sealing_key="ce" * 32).fingerprint
    )


def test_saved_keys_are_loaded_again(tmp_path):
    ZURICH.save(tmp_path / "zurich.key")
    loaded = Identity.load(tmp_path / "zurich.key")
    assert (loaded.public, loaded.id) == (ZURICH.public, "zurich")
    assert loaded.open("key", ZURICH.public.seal("key", b"secret")) == b"secret"
    assert loaded.sign("record", b"hello") == ZURICH.sign("record", b"hello")


def test_a_key_file_is_for_its_owner_only_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        BASEL.save(tmp_path / "basel.key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "basel.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o660, 0o777])
def test_a_key_file_that_others_can_use_is_refused(tmp_path, mode):
    path = key_file(tmp_path / "key")
    path.chmod(mode)
    with pytest.raises(IdentityError, match=r"can be read by others\. Run: chmod 600"):
        Identity.load(path)


def test_a_key_file_is_never_overwritten(tmp_path):
    path = tmp_path / "key"
    BASEL.save(path)
    written = path.read_bytes()
    with pytest.raises(IdentityError, match="secrets are never overwritten"):
        ZURICH.save(path)
    assert path.read_bytes() == written


def test_keys_are_not_written_through_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IdentityError, match="exists"):
        BASEL.save(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"signing": "ab" * 31},
        {"sealing": "no hex"},
        {"signing": 5},
        {"id": "Not an id"},
        {"id": 5},
    ],
)
def test_a_key_file_with_a_malformed_part_is_refused(tmp_path, changes):
    with pytest.raises(IdentityError, match="is no key file"):
        Identity.load(key_file(tmp_path / "key", **changes))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "no json", '{"id": "basel", "name": "x", "signing": "ab"}'])
def test_a_file_that_is_no_key_file_is_refused(tmp_path, text):
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(IdentityError, match="is no key file of a party"):
        Identity.load(path)


def test_a_missing_key_file_and_one_of_bytes_are_refused(tmp_path):
    with pytest.raises(IdentityError, match="cannot be read"):
        Identity.load(tmp_path / "nothing")
    path = tmp_path / "bytes"
    path.write_bytes(b"\xff\xfe")
    path.chmod(0o600)
    with pytest.raises(IdentityError, match="is no key file"):
        Identity.load(path)


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy, lambda party: pickle.dumps([party])])
def test_secret_keys_are_neither_pickled_nor_copied(take):
    with pytest.raises(IdentityError, match="not copied or pickled"):
        take(BASEL)


def test_secret_keys_are_in_no_text_about_a_party():
    secrets = [key.private_bytes_raw().hex() for key in (BASEL._signing, BASEL._sealing)]
    texts = [repr(BASEL), str(BASEL), f"{BASEL}", repr([BASEL]), repr(vars(BASEL)), repr(BASEL.public)]
    with pytest.raises(FedjointError) as refused:
        BASEL.open("key", b"")
    texts.append(str(refused.value))
    assert not [text for text in texts for secret in secrets if secret in text]
    assert repr(BASEL) == "Identity('basel', secret keys hidden)"


def test_two_parties_of_one_id_have_different_keys():
    twin = Identity.create("basel", "Basel").public
    assert twin.signing_key != BASEL.public.signing_key
    assert twin.sealing_key != BASEL.public.sealing_key
