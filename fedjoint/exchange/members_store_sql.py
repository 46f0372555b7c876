"""Who belongs to the exchange: invitations, enrolled parties, their certificates and their registered data."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.errors import DataError, IdentityError
from fedjoint.exchange.tables_store_sql import CERTIFICATES, DATASETS, INVITATIONS, PARTIES
from fedjoint.identity.keys import PublicIdentity
from fedjoint.pool.engine_store_sql import Database

__all__ = ["DatasetEntry", "Invited", "Issue", "Issued", "Member", "Members", "Operator"]

#: State of an operator, from its first certificate on: its id is never a holder's.
_OPERATOR = "operator"


@dataclass(frozen=True, kw_only=True)
class Member:
    """A party: ``invited``, ``member``, ``left`` or ``revoked``; without keys until it has enrolled."""

    id: str
    name: str
    signing_key: str
    sealing_key: str
    state: str
    changed_at: str

    @property
    def identity(self) -> PublicIdentity:
        """What agreements name it by.

        Raises:
            IdentityError: it is no member now.
        """
        if self.state != "member":
            raise IdentityError(f"'{self.id}' is no member of this exchange ({self.state})", remedy="Invite it.")
        return PublicIdentity(id=self.id, name=self.name, signing_key=self.signing_key, sealing_key=self.sealing_key)


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Staff of the exchange; ``good_until`` is when its certificate expires, None if that was revoked."""

    id: str
    name: str
    good_until: str | None


@dataclass(frozen=True, kw_only=True)
class Invited:
    """An invitation as the exchange keeps it: never the token itself."""

    serial: str
    party: str
    name: str
    token_sha256: str
    expires_at: str


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A certificate that was just made."""

    serial: str
    pem: str
    expires_at: str


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """What a holder says it has; the schema is canonical JSON."""

    party: str
    name: str
    schema: str
    num_examples: int
    unit: str
    fits: bool
    columns: int
    present: int
    registered_at: str


#: Makes a certificate.
Issue = Callable[[], Issued]


class Members:
    """The parties of an exchange, in its database.

    Args:
        database: The exchange's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def invite(self, invited: Invited, *, at: str) -> None:
        """Note an invitation; earlier ones of the same party that were not used are good for nothing now.

        Raises:
            IdentityError: it is an operator's id.
        """

        def work(connection: sa.Connection) -> None:
            unused = (INVITATIONS.c.party == invited.party) & INVITATIONS.c.used_at.is_(None)
            connection.execute(INVITATIONS.update().where(unused).values(revoked_at=at))
            connection.execute(INVITATIONS.insert().values(**vars(invited)))
            member = self._member(connection, invited.party)
            if member is not None and member.state == _OPERATOR:
                raise IdentityError(f"'{invited.party}' is an operator's id", remedy="Choose another for the holder.")
            if member is None:
                row = {"id": invited.party, "name": invited.name, "signing_key": "", "sealing_key": ""}
                connection.execute(PARTIES.insert().values(**row, state="invited", changed_at=at))

        self._database.write(work)

    def require_invited(self, serial: str, *, at: str) -> None:
        """Let the bearer of an invitation try.

        Raises:
            IdentityError: there is no such invitation, or it was withdrawn or has expired.
        """
        with self._database.read() as connection:
            self._invitation(connection, serial, at=at)

    def enrol(
        self, serial: str, identity: PublicIdentity, *, token: str, key_sha256: str, issue: Issue, at: str
    ) -> str:
        """Take a party in, in one step: its invitation is used, its keys are noted, its certificate is issued.

        Certificates that it had before are revoked: who is invited again has lost them, or the machine they are on.

        Args:
            serial: Of the bootstrap certificate.
            identity: The party's public keys.
            token: Of the invitation.
            key_sha256: Of the key that a certificate is wanted for; asked with the same again, the same comes.
            issue: Makes the certificate.
            at: The present.

        Raises:
            IdentityError: the invitation is another's or has expired, or its token is wrong or was used.
        """
        asked = sha256_hex(f"{key_sha256} {identity.signing_key} {identity.sealing_key}".encode())

        def work(connection: sa.Connection) -> str:
            row = self._invitation(connection, serial, at=at, lock=True)
            if not hmac.compare_digest(row["token_sha256"], sha256_hex(token.encode())):
                raise IdentityError("the token is not that of this invitation", remedy="Ask for a new invitation.")
            if row["party"] != identity.id:
                raise IdentityError(f"an invitation of '{row['party']}' used by '{identity.id}'")
            if row["used_at"] is not None:
                if hmac.compare_digest(row["request_sha256"], asked):
                    return str(row["certificate"])
                raise IdentityError(
                    f"the invitation of '{row['party']}' was used at {row['used_at']}: a replayed join token",
                    expected="each token once",
                    remedy="If it was not you, revoke that holder; then ask for a new invitation.",
                )
            issued = issue()
            used = {"used_at": at, "request_sha256": asked, "certificate": issued.pem}
            connection.execute(INVITATIONS.update().where(INVITATIONS.c.serial == serial).values(**used))
            keys = {"signing_key": identity.signing_key, "sealing_key": identity.sealing_key, "name": identity.name}
            party = PARTIES.update().where(PARTIES.c.id == identity.id)
            connection.execute(party.values(**keys, state="member", changed_at=at))
            self._revoke(connection, identity.id, reason="enrolled anew", at=at)
            self._keep(connection, identity.id, issued, asked, at)
            return issued.pem

        return self._database.write(work)

    def appoint(self, operator: str, name: str, key_sha256: str, *, issue: Issue, at: str) -> Issued:
        """Make somebody an operator; certificates that it had before are revoked.

        Args:
            operator: Its id, which is no holder's.
            name: For people.
            key_sha256: Of the key of its certificate.
            issue: Makes the certificate.
            at: The present.

        Raises:
            IdentityError: the id is a holder's, or of one that was invited.
        """

        def work(connection: sa.Connection) -> Issued:
            member = self._member(connection, operator)
            if member is None:
                row = {"id": operator, "name": name, "signing_key": "", "sealing_key": ""}
                connection.execute(PARTIES.insert().values(**row, state=_OPERATOR, changed_at=at))
            elif member.state != _OPERATOR:
                raise IdentityError(
                    f"'{operator}' is a holder's id ({member.state})", remedy="Choose another for the operator."
                )
            self._revoke(connection, operator, reason="appointed anew", at=at)
            issued = issue()
            self._keep(connection, operator, issued, key_sha256, at)
            return issued

        return self._database.write(work)

    def operators(self) -> tuple[Operator, ...]:
        """Everybody who is or was an operator, by id."""
        good = CERTIFICATES.c.revoked_at.is_(None) & (CERTIFICATES.c.party == PARTIES.c.id)
        until = sa.select(sa.func.max(CERTIFICATES.c.expires_at)).where(good).scalar_subquery().label("good_until")
        query = sa.select(PARTIES.c.id, PARTIES.c.name, until).where(PARTIES.c.state == _OPERATOR).order_by("id")
        with self._database.read() as connection:
            return tuple(Operator(**row) for row in connection.execute(query).mappings())

    def renew(self, party: str, asked: str, *, issue: Issue, at: str) -> str:
        """Issue a certificate for a new key; asked for the same key (its SHA-256) again, give the same.

        Raises:
            IdentityError: it is no member.
        """

        def work(connection: sa.Connection) -> str:
            self._require_member(connection, party)
            same = (CERTIFICATES.c.party == party) & (CERTIFICATES.c.request_sha256 == asked)
            known = connection.execute(sa.select(CERTIFICATES.c.pem).where(same)).scalar()
            if known is not None:
                return str(known)
            issued = issue()
            self._keep(connection, party, issued, asked, at)
            return issued.pem

        return self._database.write(work)

    def require_valid(self, serial: str) -> None:
        """Accept a holder's or an operator's certificate.

        Raises:
            IdentityError: it was not issued here, or was revoked.
        """
        query = sa.select(CERTIFICATES.c.party, CERTIFICATES.c.revoked_at).where(CERTIFICATES.c.serial == serial)
        with self._database.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise IdentityError(
                f"certificate {serial[:16]} is of no registered node", remedy="Enrol with an invitation."
            )
        if row["revoked_at"] is not None:
            raise IdentityError(
                f"the certificate of '{row['party']}' was revoked at {row['revoked_at']}",
                remedy="Ask the exchange for a new invitation; as its operator, for a new file.",
            )

    def revoke(self, party: str, *, state: str, reason: str, at: str) -> int:
        """Revoke every certificate and open invitation of a party.

        Args:
            party: Whose.
            state: What a holder is from now on: ``revoked`` or ``left``; an operator's id stays one.
            reason: For people.
            at: The present.

        Returns:
            How many certificates were good until now.

        Raises:
            IdentityError: there is no such party.
        """

        def work(connection: sa.Connection) -> int:
            member = self._member(connection, party)
            if member is None:
                raise IdentityError(f"there is no party '{party}'", remedy="See: fedjoint exchange status")
            left = _OPERATOR if member.state == _OPERATOR else state
            open_ones = (INVITATIONS.c.party == party) & INVITATIONS.c.revoked_at.is_(None)
            connection.execute(INVITATIONS.update().where(open_ones).values(revoked_at=at))
            count = self._revoke(connection, party, reason=reason, at=at)
            connection.execute(PARTIES.update().where(PARTIES.c.id == party).values(state=left, changed_at=at))
            return count

        return self._database.write(work)

    def revocations(self) -> dict[str, str]:
        """Party to the time of its latest revocation, of those that had one."""
        latest = sa.select(CERTIFICATES.c.party, sa.func.max(CERTIFICATES.c.revoked_at)).group_by(CERTIFICATES.c.party)
        with self._database.read() as connection:
            rows = connection.execute(latest.where(CERTIFICATES.c.revoked_at.is_not(None))).all()
            return {str(party): str(at) for party, at in rows}

    def all(self) -> tuple[Member, ...]:
        """Every party but operators, by id."""
        query = sa.select(PARTIES).where(PARTIES.c.state != _OPERATOR).order_by("id")
        with self._database.read() as connection:
            return tuple(Member(**row) for row in connection.execute(query).mappings())

    def get(self, party: str) -> Member:
        """One member.

        Raises:
            IdentityError: it is none.
        """
        with self._database.read() as connection:
            return self._require_member(connection, party)

    def certificate(self, party: str) -> bytes:
        """The newest certificate of a member that is good, PEM.

        Raises:
            IdentityError: it is no member, or has none.
        """
        good = (CERTIFICATES.c.party == party) & CERTIFICATES.c.revoked_at.is_(None)
        newest = sa.select(CERTIFICATES.c.pem).where(good).order_by(CERTIFICATES.c.issued_at.desc()).limit(1)
        with self._database.read() as connection:
            self._require_member(connection, party)
            pem = connection.execute(newest).scalar()
        if pem is None:
            raise IdentityError(f"'{party}' has no certificate that is good", remedy="Invite it again.")
        return str(pem).encode()

    def register(self, entry: DatasetEntry) -> None:
        """Note what records a member has; the same name again replaces it.

        Raises:
            IdentityError: it is no member.
        """

        def work(connection: sa.Connection) -> None:
            self._require_member(connection, entry.party)
            same = (DATASETS.c.party == entry.party) & (DATASETS.c.name == entry.name)
            connection.execute(DATASETS.delete().where(same))
            connection.execute(DATASETS.insert().values(**vars(entry)))

        self._database.write(work)

    def datasets(self) -> tuple[DatasetEntry, ...]:
        """Everything registered, by name and party."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(DATASETS).order_by("name", "party")).mappings()
            return tuple(DatasetEntry(**row) for row in rows)

    def dataset(self, party: str, name: str) -> DatasetEntry:
        """One of them.

        Raises:
            DataError: it was not registered.
        """
        for entry in self.datasets():
            if (entry.party, entry.name) == (party, name):
                return entry
        raise DataError(f"'{party}' has registered no dataset '{name}'", remedy="See: fedjoint exchange status")

    def _invitation(self, connection: sa.Connection, serial: str, *, at: str, lock: bool = False) -> Mapping[str, str]:
        query = sa.select(INVITATIONS).where(INVITATIONS.c.serial == serial)
        row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
        if row is None or row["revoked_at"] is not None:
            raise IdentityError("this invitation was withdrawn", remedy="Ask the exchange for a new one.")
        if row["expires_at"] < at:
            raise IdentityError(
                f"the invitation of '{row['party']}' expired at {row['expires_at']}",
                remedy="Ask the exchange for a new one.",
            )
        return dict(row)

    @staticmethod
    def _member(connection: sa.Connection, party: str) -> Member | None:
        row = connection.execute(sa.select(PARTIES).where(PARTIES.c.id == party)).mappings().one_or_none()
        return None if row is None else Member(**row)

    def _require_member(self, connection: sa.Connection, party: str) -> Member:
        member = self._member(connection, party)
        if member is None or member.state != "member":
            raise IdentityError(f"'{party}' is no member of this exchange", remedy="See: fedjoint exchange status")
        return member

    @staticmethod
    def _revoke(connection: sa.Connection, party: str, *, reason: str, at: str) -> int:
        good = (CERTIFICATES.c.party == party) & CERTIFICATES.c.revoked_at.is_(None)
        values = {"revoked_at": at, "reason": reason[:500]}
        return int(connection.execute(CERTIFICATES.update().where(good).values(**values)).rowcount)

    @staticmethod
    def _keep(connection: sa.Connection, party: str, issued: Issued, asked: str, at: str) -> None:
        connection.execute(
            CERTIFICATES.insert().values(party=party, issued_at=at, request_sha256=asked, **vars(issued))
        )
