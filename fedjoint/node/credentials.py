"""A node's TLS key and certificate: made here, signed by the exchange, renewed before they expire."""

from __future__ import annotations

from datetime import datetime

from fedjoint.errors import IdentityError
from fedjoint.files import read_secret, replace_file
from fedjoint.identity.certificates import Certificate, NodeKey, check_certificate, read_certificate
from fedjoint.identity.invitation import ENROL, Invitation
from fedjoint.identity.keys import Identity
from fedjoint.node.home import Home, Membership
from fedjoint.node.settings import NodeSettings
from fedjoint.transport.link.client import ClientCredentials
from fedjoint.transport.services import exchange_pb2 as api
from fedjoint.transport.services.client import ExchangeClient
from fedjoint.transport.services.handler import party_of, to_party

__all__ = ["connect", "credentials_of", "is_due", "join", "own_certificate", "renew"]

_MAX_TLS_BYTES = 64 << 10
_END_OF_KEY, _START_OF_CERTIFICATE = b"-----END PRIVATE KEY-----\n", b"-----BEGIN CERTIFICATE-----"


def join(home: Home, invitation: Invitation, target: str, settings: NodeSettings, *, now: datetime) -> Membership:
    """Enrol with an exchange: a key is made here, and only a request for a certificate leaves.

    Args:
        home: The holder's folder.
        invitation: The exchange's, for this holder.
        target: ``host:port`` to connect to.
        settings: Of the node.
        now: The present.

    Raises:
        IdentityError: the holder has joined already, the invitation is another's or has expired, or the exchange
            refuses it or issues another certificate than asked for.
        TransportError: the exchange cannot be reached.

    Guarantees:
        The TLS key is on the disk before its certificate is asked for; it never leaves.
    """
    identity = home.load_identity()
    if home.joined.exists():
        raise IdentityError(
            f"'{identity.id}' has joined {home.load_membership().target} already", remedy="A folder joins one exchange."
        )
    if invitation.party != identity.id:
        raise IdentityError(f"the invitation is for '{invitation.party}' and this holder is '{identity.id}'")
    if datetime.fromisoformat(invitation.expires_at) < now:
        raise IdentityError(
            f"the invitation expired at {invitation.expires_at}", remedy="Ask the exchange for another."
        )
    authority = invitation.authority.encode()
    check_certificate(invitation.certificate.encode(), authority, now=now)
    key, request = _key_and_request(home, identity.id)
    bootstrap = ClientCredentials(
        key_pem=invitation.key.encode(),
        certificate_pem=invitation.certificate.encode(),
        authority_pem=authority,
        server_name=settings.server_name,
    )
    with ExchangeClient(target, bootstrap, proxy=settings.proxy) as client:
        reply = client.enrol(
            api.EnrolRequest(
                token=invitation.token,
                party=to_party(identity.public),
                request=request,
                signature=identity.sign(ENROL, request),
            )
        )
    membership = Membership(target=target, exchange=party_of(reply.exchange), authority=invitation.authority)
    _save(home, key, reply.certificate, membership, identity, now=now)
    home.save_membership(membership)
    return membership


def credentials_of(home: Home, membership: Membership, settings: NodeSettings) -> ClientCredentials:
    """What the node connects with.

    Raises:
        IdentityError: its key or certificate is missing or damaged.
    """
    key, certificate = _read(home)
    return ClientCredentials(
        key_pem=key.pem,
        certificate_pem=certificate,
        authority_pem=membership.authority.encode(),
        server_name=settings.server_name,
    )


def connect(home: Home, settings: NodeSettings) -> ExchangeClient:
    """A client of the exchange that the holder joined.

    Raises:
        IdentityError: it has joined none.
    """
    membership = home.load_membership()
    return ExchangeClient(membership.target, credentials_of(home, membership, settings), proxy=settings.proxy)


def own_certificate(home: Home) -> Certificate:
    """What the node's certificate says."""
    return read_certificate(_read(home)[1])


def is_due(certificate: Certificate, settings: NodeSettings, *, now: datetime) -> bool:
    """Whether a certificate is to be renewed."""
    life = certificate.not_after - certificate.not_before
    return certificate.not_after - now < life * settings.renew_at


def renew(home: Home, settings: NodeSettings, *, now: datetime) -> Certificate:
    """Have a certificate for a new key, and keep both.

    Raises:
        IdentityError: the exchange refuses, or issues another certificate than asked for.
        TransportError: the exchange cannot be reached.
    """
    identity, membership, key = home.load_identity(), home.load_membership(), NodeKey.generate()
    with connect(home, settings) as client:
        reply = client.renew(api.RenewRequest(request=key.request(identity.id)))
    return _save(home, key, reply.certificate, membership, identity, now=now)


def _key_and_request(home: Home, party: str) -> tuple[NodeKey, bytes]:
    """A new key and its request; those of an enrolment that was cut off again, as the exchange may have signed it."""
    if not home.tls.exists():
        key = NodeKey.generate()
        replace_file(home.tls, key.pem + key.request(party), mode=0o600)
    key, kept = _parts(home)
    return key, key.request(party) if kept.startswith(_START_OF_CERTIFICATE) else kept


def _save(
    home: Home, key: NodeKey, pem: bytes, membership: Membership, identity: Identity, *, now: datetime
) -> Certificate:
    certificate = check_certificate(pem, membership.authority.encode(), now=now)
    if (certificate.party, certificate.role) != (identity.id, "holder"):
        raise IdentityError(f"the exchange issued a certificate of {certificate.role} '{certificate.party}'")
    if not key.fits(pem):
        raise IdentityError("the exchange issued a certificate for another key", remedy="Tell its operator.")
    replace_file(home.tls, key.pem + pem, mode=0o600)
    return certificate


def _read(home: Home) -> tuple[NodeKey, bytes]:
    key, certificate = _parts(home)
    if not certificate.startswith(_START_OF_CERTIFICATE):
        raise IdentityError(
            f"{home.tls} holds no certificate", remedy="Run: fedjoint holder join HOST:PORT --invite FILE"
        )
    return key, certificate


def _parts(home: Home) -> tuple[NodeKey, bytes]:
    """The key, and what is kept behind it: a certificate, or the request for one."""
    key, mark, rest = read_secret(home.tls, most_bytes=_MAX_TLS_BYTES).partition(_END_OF_KEY)
    return NodeKey(key + mark), rest
