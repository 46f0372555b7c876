"""Certificates for mutual TLS: the exchange's authority, and one certificate for each node it lets in.

TLS keys are ECDSA P-256, because that is what gRPC's TLS accepts everywhere; they prove which node a connection comes
from and nothing else. Agreements, receipts and frames are signed by the party's own Ed25519 key
(:mod:`fedjoint.identity.keys`). A node makes its TLS key itself and sends only a request: the authority never sees it.

Source: RFC 5280 (certificates), RFC 2986 (requests).
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, cast, get_args

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedjoint.errors import FedjointError, IdentityError

__all__ = [
    "Authority",
    "Certificate",
    "NodeKey",
    "Role",
    "check_certificate",
    "fingerprint_of",
    "issue_certificate",
    "make_authority",
    "read_certificate",
    "requested_key_sha256",
    "sha256_of",
]

#: ``invited`` is who holds an invitation and may do nothing but enrol with it; ``operator`` is staff of the exchange.
Role = Literal["exchange", "holder", "invited", "operator"]
_ROLES = get_args(Role)
_URI = "urn:fedjoint:{role}:{party}"
#: A node's clock may be this far behind the authority's.
_CLOCK_SKEW = timedelta(minutes=5)
#: Larger PEM texts are refused before they are parsed.
MAX_PEM_BYTES = 16 << 10


@dataclass(frozen=True)
class NodeKey:
    """A node's TLS key. It stays on the machine that made it.

    Args:
        pem: PKCS #8, unencrypted: keep it in a file of mode 0600.
    """

    pem: bytes

    def __repr__(self) -> str:
        return "NodeKey(…)"

    @classmethod
    def generate(cls) -> NodeKey:
        """A new key from the operating system's generator."""
        return cls(
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def request(self, party: str) -> bytes:
        """A signing request (PEM) for the certificate of ``party``; it proves possession of the key."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, party)])
        built = x509.CertificateSigningRequestBuilder().subject_name(name).sign(self._private(), hashes.SHA256())
        return built.public_bytes(serialization.Encoding.PEM)

    def fits(self, certificate_pem: bytes) -> bool:
        """Whether a certificate is for this key.

        Raises:
            IdentityError: the certificate or the key is malformed.
        """
        return _parse(certificate_pem).public_key() == self._private().public_key()

    def _private(self) -> ec.EllipticCurvePrivateKey:
        try:
            key = serialization.load_pem_private_key(self.pem, None)
        except (ValueError, TypeError):
            raise IdentityError("the TLS key is no PEM key", remedy="Restore the file, or enrol anew.") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise IdentityError("the TLS key is of another kind", expected="ECDSA P-256", remedy="Enrol anew.")
        return key


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a node's certificate says.

    Args:
        party: Id of the party it was issued to.
        role: ``exchange``, ``holder``, ``invited`` or ``operator``.
        serial: 1 to 40 lower-case hex digits; what a revocation names.
        not_before: First moment of validity, UTC.
        not_after: Last moment of validity, UTC.
        fingerprint: Hash to compare by telephone, see :func:`fingerprint_of`.
    """

    party: str
    role: Role
    serial: str
    not_before: datetime
    not_after: datetime
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Authority:
    """The exchange's certificate authority.

    Args:
        key: Signs certificates; it is used for nothing else.
        pem: The authority's own certificate, which every node trusts.
    """

    key: NodeKey
    pem: bytes


def make_authority(name: str, *, now: datetime, days: int = 3650) -> Authority:
    """A new authority, self-signed.

    Args:
        name: For people.
        now: The present, with a time zone.
        days: How long it lasts.
    """
    key = NodeKey.generate()
    private = key._private()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = (
        _builder(subject, subject, private.public_key(), now=now, days=days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .sign(private, hashes.SHA256())
    )
    return Authority(key=key, pem=built.public_bytes(serialization.Encoding.PEM))


def issue_certificate(
    authority: Authority,
    request: bytes,
    *,
    party: str,
    role: Role,
    now: datetime,
    days: int = 365,
    hosts: Sequence[str] = (),
) -> bytes:
    """Sign a node's request.

    Args:
        authority: Who signs.
        request: PEM from :meth:`NodeKey.request`; only its public key is taken from it.
        party: Id of the party, as the exchange knows it, whatever the request says.
        role: What the certificate is good for: a holder's cannot serve as an exchange.
        now: The present, with a time zone.
        days: How long it lasts.
        hosts: DNS names and IP addresses of an exchange.

    Returns:
        The certificate, PEM.

    Raises:
        IdentityError: the request is malformed, or not signed by the key it names.
    """
    public = _requested_key(request)
    issuer = x509.load_pem_x509_certificate(authority.pem)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if role == "exchange" else ExtendedKeyUsageOID.CLIENT_AUTH
    names = [x509.UniformResourceIdentifier(_URI.format(role=role, party=party)), *map(_host, hosts)]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, party)])
    built = (
        _builder(subject, issuer.subject, public, now=now, days=days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority.key._private(), hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


def requested_key_sha256(request: bytes) -> str:
    """What identifies the key that a request is for: a node that asks again signs its request anew.

    Args:
        request: PEM from :meth:`NodeKey.request`.

    Raises:
        IdentityError: the request is malformed, or not signed by the key it names.
    """
    public = _requested_key(request).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(public).hexdigest()


def read_certificate(pem: bytes) -> Certificate:
    """What a certificate says. That the authority signed it is checked by TLS, or by :func:`check_certificate`.

    Raises:
        IdentityError: it is malformed, or none that :func:`issue_certificate` makes.
    """
    parsed = _parse(pem)
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
        urn, namespace, role, party = uri.split(":")
    except (x509.ExtensionNotFound, ValueError):
        raise IdentityError("a certificate that names no party", expected="one that an exchange issued") from None
    if (urn, namespace) != ("urn", "fedjoint") or role not in _ROLES:
        raise IdentityError(f"a certificate for '{uri[:80]}'", expected=f"a role of {', '.join(_ROLES)}")
    return Certificate(
        party=party,
        role=cast(Role, role),
        serial=f"{parsed.serial_number:x}",
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        fingerprint=fingerprint_of(pem),
    )


def check_certificate(pem: bytes, authority_pem: bytes, *, now: datetime) -> Certificate:
    """Read a certificate and make sure that the authority signed it and that it is valid now.

    Raises:
        IdentityError: it was signed by somebody else, has expired or is not valid yet.
    """
    certificate, issuer = read_certificate(pem), _parse(authority_pem)
    try:
        _parse(pem).verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        raise IdentityError(
            f"the certificate of '{certificate.party}' was not signed by this exchange",
            remedy="Compare the exchange's fingerprint by telephone, then enrol anew.",
        ) from None
    if now > certificate.not_after:
        raise IdentityError(
            f"the certificate of '{certificate.party}' expired on {certificate.not_after:%Y-%m-%d}",
            remedy="Renew it while it is valid; an expired one needs a new invitation from the exchange.",
        )
    if now < certificate.not_before:
        raise IdentityError(
            f"the certificate of '{certificate.party}' is valid from {certificate.not_before:%Y-%m-%d %H:%M} UTC on",
            remedy="Set this machine's clock.",
        )
    return certificate


def fingerprint_of(pem: bytes) -> str:
    """Twenty hex digits of a certificate's SHA-256 in groups of four, to compare by telephone."""
    digest = sha256_of(pem)
    return "-".join(digest[i : i + 4] for i in range(0, 20, 4))


def sha256_of(pem: bytes) -> str:
    """SHA-256 of a certificate (its DER form), 64 lower-case hex digits.

    Raises:
        IdentityError: it is none.
    """
    return hashlib.sha256(_parse(pem).public_bytes(serialization.Encoding.DER)).hexdigest()


def _parse(pem: bytes) -> x509.Certificate:
    problem: FedjointError = IdentityError("a certificate that is no PEM certificate", remedy="Restore the file.")
    if len(pem) > MAX_PEM_BYTES:
        raise problem
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise problem from None


def _requested_key(request: bytes) -> ec.EllipticCurvePublicKey:
    try:
        parsed = x509.load_pem_x509_csr(request[:MAX_PEM_BYTES])
        public = parsed.public_key()
    except ValueError:
        raise IdentityError("a certificate request that is no PEM request", remedy="Send what the node made.") from None
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise IdentityError("a certificate request for a key of another kind", expected="ECDSA P-256")
    if not parsed.is_signature_valid:
        raise IdentityError("a certificate request that its own key did not sign")
    return public


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, *, now: datetime, days: int
) -> x509.CertificateBuilder:
    start = now.astimezone(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - _CLOCK_SKEW)
        .not_valid_after(start + timedelta(days=days))
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
