"""Whom the exchange lets in: invitations, certificates for nodes, and who may connect at this moment."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.errors import IdentityError
from fedjoint.exchange.members_store_sql import Invited, Issued, Members
from fedjoint.exchange.settings import ExchangeSettings
from fedjoint.identity.certificates import (
    Authority,
    Certificate,
    NodeKey,
    Role,
    check_certificate,
    issue_certificate,
    read_certificate,
    requested_key_sha256,
)
from fedjoint.identity.invitation import ENROL, Invitation
from fedjoint.identity.keys import PublicIdentity
from fedjoint.identity.operator_file import OperatorFile

__all__ = ["Gate", "Now", "timestamp"]

#: The present, with its time zone.
Now = Callable[[], datetime]
_TOKEN_BYTES = 32
#: Roles whose certificates are in the books by serial number and last as the settings say.
_LASTING: tuple[Role, ...] = ("holder", "operator")


def timestamp(moment: datetime) -> str:
    """A moment in UTC as the exchange writes it, so that text sorts as time does.

    Example:
        >>> timestamp(datetime(2026, 11, 22, 8, 5, tzinfo=UTC))
        '2026-11-22T08:05:00.000Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Gate:
    """Issues certificates and decides at every connection and call whether one is good.

    Args:
        authority: Signs certificates.
        members: Who belongs here.
        settings: How long certificates last.
        now: The present.
    """

    def __init__(self, authority: Authority, members: Members, *, settings: ExchangeSettings, now: Now) -> None:
        self._authority, self._members, self._settings, self._now = authority, members, settings, now

    def admit(self, pem: bytes) -> Certificate:
        """Who a certificate is; asked at every call, so that a revocation works at once.

        Raises:
            IdentityError: signed by somebody else, expired, revoked, of no registered node, or a used-up invitation.
        """
        now = self._now()
        certificate = check_certificate(pem, self._authority.pem, now=now)
        if certificate.role in _LASTING:
            self._members.require_valid(certificate.serial)
        elif certificate.role == "invited":
            self._members.require_invited(certificate.serial, at=timestamp(now))
        return certificate

    def admit_link(self, pem: bytes) -> str:
        """Which holder a certificate is; nobody else has a link.

        Raises:
            IdentityError: see :meth:`admit`; or it is no holder's.
        """
        certificate = self.admit(pem)
        if certificate.role != "holder":
            raise IdentityError(
                f"a certificate of role '{certificate.role}' may not connect as a holder", remedy="Enrol first."
            )
        return certificate.party

    def issue(self, party: str, role: Role, request: bytes) -> Issued:
        """Sign a node's request for a certificate.

        Raises:
            IdentityError: the request is malformed.
        """
        days_long = timedelta(days=self._settings.certificate_days)
        lasting = days_long if role in _LASTING else self._invitation_lasts
        days = max(1, -(-lasting // timedelta(days=1)))
        pem = issue_certificate(self._authority, request, party=party, role=role, now=self._now(), days=days)
        certificate = read_certificate(pem)
        return Issued(serial=certificate.serial, pem=pem.decode(), expires_at=timestamp(certificate.not_after))

    def enrol(self, serial: str, identity: PublicIdentity, *, token: str, request: bytes, signature: str) -> bytes:
        """Make a party a member by its invitation, once.

        Args:
            serial: Of the bootstrap certificate.
            identity: Its public keys, for which it signed.
            token: Of the invitation.
            request: For its certificate.
            signature: Of the party over the request, for the purpose ``enrol``.

        Returns:
            The certificate, PEM; asked again with the same, the same.

        Raises:
            IdentityError: a false signature, or the invitation is not good for this.
        """
        identity.verify(ENROL, request, signature)
        pem = self._members.enrol(
            serial,
            identity,
            token=token,
            key_sha256=requested_key_sha256(request),
            issue=lambda: self.issue(identity.id, "holder", request),
            at=timestamp(self._now()),
        )
        return pem.encode()

    def renew(self, party: str, request: bytes) -> bytes:
        """Issue a member a certificate for a new key, PEM; the old one is good until it expires.

        Raises:
            IdentityError: it is no member, or the request is malformed.
        """
        at = timestamp(self._now())
        return self._members.renew(
            party, requested_key_sha256(request), issue=lambda: self.issue(party, "holder", request), at=at
        ).encode()

    @property
    def _invitation_lasts(self) -> timedelta:
        return timedelta(hours=self._settings.invitation_hours)

    def invite(self, party: str, name: str, *, exchange_name: str) -> Invitation:
        """Make an invitation; only its token's hash is kept.

        Args:
            party: Id that the holder will have.
            name: Of the holder, for people.
            exchange_name: Of the exchange, for people.

        Raises:
            InvalidValue: a malformed id.
            IdentityError: it is an operator's.
        """
        _require_well_formed(party, name)
        key, token, now = NodeKey.generate(), secrets.token_urlsafe(_TOKEN_BYTES), self._now()
        issued = self.issue(party, "invited", key.request(party))
        expires_at = timestamp(now + self._invitation_lasts)
        invited = Invited(
            serial=issued.serial,
            party=party,
            name=name,
            token_sha256=sha256_hex(token.encode()),
            expires_at=expires_at,
        )
        self._members.invite(invited, at=timestamp(now))
        return Invitation(
            party=party,
            exchange=self._settings.address,
            exchange_name=exchange_name,
            expires_at=expires_at,
            token=token,
            key=key.pem.decode(),
            certificate=issued.pem,
            authority=self._authority.pem.decode(),
        )

    def appoint(self, operator: str, name: str) -> OperatorFile:
        """Make somebody an operator, or give one a new key; the one before is revoked, and the exchange keeps none.

        Args:
            operator: Its id, which is no holder's.
            name: For people.

        Raises:
            InvalidValue: a malformed id.
            IdentityError: it is a holder's.
        """
        _require_well_formed(operator, name)
        key = NodeKey.generate()
        request = key.request(operator)
        issued = self._members.appoint(
            operator,
            name,
            requested_key_sha256(request),
            issue=lambda: self.issue(operator, "operator", request),
            at=timestamp(self._now()),
        )
        return OperatorFile(
            operator=operator,
            exchange=self._settings.address,
            expires_at=issued.expires_at,
            key=key.pem.decode(),
            certificate=issued.pem,
            authority=self._authority.pem.decode(),
        )


def _require_well_formed(party: str, name: str) -> None:
    PublicIdentity(id=party, name=name, signing_key="0" * 64, sealing_key="0" * 64)  # refuses a malformed id
