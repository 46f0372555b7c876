"""Reads what :meth:`fedjoint.identity.keys.Identity.sign_jws` signed, in the one spelling that was written."""

from __future__ import annotations

import base64

from fedjoint.errors import IdentityError
from fedjoint.identity.keys import PublicIdentity

__all__ = ["signed_payload"]


def signed_payload(jws: object, signer: PublicIdentity, *, typ: str) -> bytes:
    """The payload of a compact JWS that a party made for one purpose.

    Args:
        jws: ``header.payload.signature`` in base64url.
        signer: Whose signature it must be.
        typ: What the signed header must say is signed.

    Raises:
        IdentityError: altered, signed by another party, or for another purpose.
    """
    from joserfc import errors, jwk
    from joserfc.jws import deserialize_compact

    key = jwk.OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": _base64url(bytes.fromhex(signer.signing_key))})
    try:
        if not isinstance(jws, str):
            raise ValueError(jws)
        signed = deserialize_compact(jws, key, algorithms=["Ed25519"])
        # Base64 has spare bits at its end: of the spellings of one signature only the right one is accepted.
        signature = jws.rpartition(".")[2]
        if signed.headers() != {"alg": "Ed25519", "typ": typ, "kid": signer.id} or signature != _base64url(
            base64.urlsafe_b64decode(signature + "==")
        ):
            raise ValueError(jws)
    except (errors.JoseError, ValueError):
        raise IdentityError(
            f"the statement's signature is not that of '{signer.id}'",
            remedy="It was altered or signed by another party: ask the coordinator for it again.",
        ) from None
    return bytes(signed.payload)


def _base64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
