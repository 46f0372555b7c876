"""Keys of a party: Ed25519 to sign, X25519 to receive what only it may read.

The secret half and the public half are different types: a function that needs only the public half cannot be handed a
secret. Every signature names what it is for, so that a signature made for one purpose is worth nothing for another.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from fedjoint.errors import IdentityError, InvalidValue
from fedjoint.files import read_secret, write_new_secret
from fedjoint.strict import strict

__all__ = ["MAX_SEALED_BYTES", "Identity", "PublicIdentity"]

#: RFC 9180, base mode.
_HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_HEX_KEY = re.compile(r"[0-9a-f]{64}")
_SIGNATURE = re.compile(r"[0-9a-f]{128}")
#: y-coordinates of the points of small order, sign bit cleared: anybody can sign for such a key (RFC 8032 lets it be).
_SMALL_ORDER = {
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    *(first + b"\xff" * 30 + b"\x7f" for first in (b"\xec", b"\xed", b"\xee")),
}
MAX_SEALED_BYTES = 1 << 20
_MAX_FILE_BYTES = 64 << 10


def _message(purpose: str, payload: bytes) -> bytes:
    """What is really signed: the purpose, a separator, the payload's hash."""
    return b"fedjoint/1/" + purpose.encode() + b"\x00" + hashlib.sha256(payload).digest()


def _has_small_order(key: bytes) -> bool:
    """Whether an Ed25519 public key verifies signatures that nobody's secret key made."""
    return key[:-1] + bytes([key[-1] & 0x7F]) in _SMALL_ORDER


@strict
@dataclass(frozen=True, kw_only=True)
class PublicIdentity:
    """What everybody may know of a party.

    Args:
        id: 1 to 63 of a-z, 0-9, ``_``, ``-``.
        name: For people.
        signing_key: Ed25519 public key, 64 lower-case hex digits.
        sealing_key: X25519 public key, 64 lower-case hex digits.
    """

    id: str
    name: str
    signing_key: str
    sealing_key: str

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise InvalidValue(
                f"party id '{self.id}'", expected="1 to 63 of a-z, 0-9, _ and -, starting with a letter or digit"
            )
        for name, value in (("signing_key", self.signing_key), ("sealing_key", self.sealing_key)):
            if not _HEX_KEY.fullmatch(value):
                raise InvalidValue(f"{name} of '{self.id}' is '{value[:16]}…'", expected="64 lower-case hex digits")

    def verify(self, purpose: str, payload: bytes, signature: str) -> None:
        """Accept a signature of this party, or refuse it.

        Args:
            purpose: What the signature must have been made for.
            payload: The bytes signed.
            signature: 128 lower-case hex digits.

        Raises:
            IdentityError: the signature is not this party's for that purpose and payload.
        """
        try:
            key = bytes.fromhex(self.signing_key)
            if not _SIGNATURE.fullmatch(signature) or _has_small_order(key):
                raise InvalidSignature
            Ed25519PublicKey.from_public_bytes(key).verify(bytes.fromhex(signature), _message(purpose, payload))
        except (InvalidSignature, ValueError):
            raise IdentityError(
                f"the signature for '{purpose}' is not that of '{self.id}'",
                remedy="Ask that party to sign again, and compare key fingerprints by telephone.",
            ) from None

    def seal(self, purpose: str, secret: bytes) -> bytes:
        """Encrypt bytes so that only this party can read them (HPKE, RFC 9180: X25519, HKDF-SHA256, ChaCha20-Poly1305).

        HPKE's base mode does not say who sealed: whoever must know signs the box too.

        Raises:
            IdentityError: the sealing key is one that everybody can open boxes of (a point of small order).
        """
        key = X25519PublicKey.from_public_bytes(bytes.fromhex(self.sealing_key))
        try:
            return _HPKE.encrypt(secret, key, b"fedjoint/1/" + purpose.encode())
        except ValueError:
            raise IdentityError(
                f"nothing can be sealed to '{self.id}'", remedy="Its sealing key is none: ask that party for another."
            ) from None

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits of the keys' hash in groups of four, to compare by telephone."""
        digest = hashlib.sha256(bytes.fromhex(self.signing_key + self.sealing_key)).hexdigest()
        return " ".join(digest[i : i + 4] for i in range(0, 16, 4))


class Identity:
    """A party with its secret keys. It never prints, pickles or compares them.

    Example:
        >>> cleveland = Identity.create("cleveland", "Cleveland Clinic")
        >>> signature = cleveland.sign("greeting", b"hello")
        >>> cleveland.public.verify("greeting", b"hello", signature)
        >>> cleveland.open("key", cleveland.public.seal("key", b"secret"))
        b'secret'
    """

    def __init__(self, public: PublicIdentity, signing: Ed25519PrivateKey, sealing: X25519PrivateKey) -> None:
        self.public = public
        self._signing, self._sealing = signing, sealing

    @classmethod
    def create(cls, party_id: str, name: str) -> Identity:
        """Make a party with fresh keys.

        Raises:
            InvalidValue: the id is malformed.
        """
        return cls._of(party_id, name, Ed25519PrivateKey.generate(), X25519PrivateKey.generate())

    @classmethod
    def _of(cls, party_id: str, name: str, signing: Ed25519PrivateKey, sealing: X25519PrivateKey) -> Identity:
        public = PublicIdentity(
            id=party_id,
            name=name,
            signing_key=signing.public_key().public_bytes_raw().hex(),
            sealing_key=sealing.public_key().public_bytes_raw().hex(),
        )
        return cls(public, signing, sealing)

    @property
    def id(self) -> str:
        """The party's id."""
        return self.public.id

    def sign(self, purpose: str, payload: bytes) -> str:
        """Sign bytes for one purpose: 128 lower-case hex digits."""
        return self._signing.sign(_message(purpose, payload)).hex()

    def sign_jws(self, typ: str, payload: bytes) -> str:
        """Sign bytes as a compact JWS (RFC 7515), for readers who have any JOSE library and not ours.

        Args:
            typ: What is signed, written in the signed header beside the party's id (``kid``): it keeps a signature
                made for one purpose worthless for another, as the purpose does in :meth:`sign`.
            payload: The bytes signed, which the JWS contains.

        Returns:
            ``header.payload.signature`` in base64url, alg ``Ed25519`` (RFC 9864).
        """
        from joserfc import jwk, jws

        secret, public = (
            base64.urlsafe_b64encode(half).rstrip(b"=").decode()
            for half in (self._signing.private_bytes_raw(), bytes.fromhex(self.public.signing_key))
        )
        key = jwk.OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": public, "d": secret})
        header = {"alg": "Ed25519", "typ": typ, "kid": self.id}
        return str(jws.serialize_compact(header, payload, key, algorithms=["Ed25519"]))

    def open(self, purpose: str, box: bytes) -> bytes:
        """Read what was sealed to this party for that purpose.

        Raises:
            IdentityError: the box is too large, altered, sealed to somebody else or for another purpose.
        """
        try:
            if len(box) > MAX_SEALED_BYTES:
                raise InvalidTag
            return _HPKE.decrypt(box, self._sealing, b"fedjoint/1/" + purpose.encode())
        except (InvalidTag, ValueError):
            raise IdentityError(
                f"'{self.id}' cannot open the box sealed for '{purpose}'",
                remedy="It was altered, or sealed to another key: ask the sender to seal it again.",
            ) from None

    def save(self, path: Path) -> None:
        """Write the secret keys to a new file of mode 0600.

        Raises:
            IdentityError: the file exists already.
        """
        text = json.dumps(
            {
                "id": self.id,
                "name": self.public.name,
                "signing": self._signing.private_bytes_raw().hex(),
                "sealing": self._sealing.private_bytes_raw().hex(),
            }
        )
        write_new_secret(path, text.encode())

    @classmethod
    def load(cls, path: Path) -> Identity:
        """Read what :meth:`save` wrote.

        Raises:
            IdentityError: the file is missing, readable by others, or not a key file.
        """
        try:
            fields = json.loads(read_secret(path, most_bytes=_MAX_FILE_BYTES))
            signing = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(fields["signing"]))
            sealing = X25519PrivateKey.from_private_bytes(bytes.fromhex(fields["sealing"]))
            return cls._of(fields["id"], fields["name"], signing, sealing)
        except (ValueError, KeyError, TypeError, InvalidValue):
            raise IdentityError(
                f"{path} is no key file of a party", remedy="Name the file that holds the party's keys."
            ) from None

    def __repr__(self) -> str:
        return f"Identity({self.id!r}, secret keys hidden)"

    def __reduce__(self) -> str:
        raise IdentityError(f"the secret keys of '{self.id}' are not copied or pickled", remedy="Use Identity.save.")
