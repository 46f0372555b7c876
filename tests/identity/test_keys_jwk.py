from __future__ import annotations

import base64
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.identity.keys import Identity

CLEVELAND = Identity.create("cleveland", "Cleveland Clinic")


def decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@given(st.binary(max_size=200))
def test_a_jws_is_what_rfc_7515_and_rfc_9864_say(payload):
    header, body, signature = CLEVELAND.sign_jws("greeting", payload).split(".")
    assert json.loads(decode(header)) == {"alg": "Ed25519", "typ": "greeting", "kid": "cleveland"}
    assert decode(body) == payload
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(CLEVELAND.public.signing_key))
    key.verify(decode(signature), f"{header}.{body}".encode())
    with pytest.raises(InvalidSignature):
        key.verify(decode(signature), f"{header}.{body}x".encode())


def test_a_jws_holds_no_secret_key():
    secret = CLEVELAND._signing.private_bytes_raw()
    jws = CLEVELAND.sign_jws("greeting", b"hello")
    assert all(secret not in decode(part) and secret.hex().encode() not in decode(part) for part in jws.split("."))
