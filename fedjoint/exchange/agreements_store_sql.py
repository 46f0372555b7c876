"""Proposed agreements and what each holder said to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from fedjoint.agreement.signing import SignedAgreement, read_agreement
from fedjoint.errors import AgreementError
from fedjoint.exchange.tables_store_sql import AGREEMENTS, RUNS, SIGNATURES
from fedjoint.pool.engine_store_sql import Database

__all__ = ["Agreements", "Proposal"]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """An agreement as the exchange knows it.

    Args:
        agreement: Terms and signatures so far.
        proposed_at: ISO 8601 in UTC.
        declined: Holder to its reason.
        run_state: Of the latest run under it; None: there was none.
    """

    agreement: SignedAgreement
    proposed_at: str
    declined: dict[str, str]
    run_state: str | None

    @property
    def state(self) -> str:
        """``declined``, ``proposed``, ``signed``, or what its latest run is: ``running``, ``finished``, ``failed``."""
        if self.run_state in ("running", "finished", "failed"):
            return self.run_state
        if self.declined:
            return "declined"
        return "proposed" if self.agreement.unsigned else "signed"


class Agreements:
    """The agreements of an exchange, in its database.

    Args:
        database: The exchange's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def propose(self, agreement: SignedAgreement, *, at: str) -> None:
        """Keep an agreement that holders are to sign; the same again changes nothing."""

        def work(connection: sa.Connection) -> None:
            known = sa.select(AGREEMENTS.c.seq).where(AGREEMENTS.c.sha256 == agreement.sha256)
            if connection.execute(known).scalar() is not None:
                return
            row = {"sha256": agreement.sha256, "document": agreement.to_bytes().decode(), "proposed_at": at}
            connection.execute(AGREEMENTS.insert().values(**row))
            holders = [{"agreement": agreement.sha256, "party": party} for party in agreement.terms.holder_ids]
            connection.execute(SIGNATURES.insert(), holders)

        self._database.write(work)

    def get(self, sha256: str, *, party: str | None = None) -> Proposal:
        """One agreement.

        Args:
            sha256: Its hash, or the first digits of it.
            party: A holder that must be named in it; None: anybody may ask.

        Raises:
            AgreementError: there is none, several begin so, or it does not name that party.
        """
        with self._database.read() as connection:
            return self._get(connection, sha256, party)

    def all(self, *, party: str | None = None) -> tuple[Proposal, ...]:
        """Agreements in the order they were proposed, of one party or all; see also :meth:`unreadable`."""
        return tuple(found for found in self._read(party) if not isinstance(found, str))

    def unreadable(self) -> tuple[str, ...]:
        """Hashes of agreements that this release cannot read: an earlier one, whose terms were others, made them."""
        return tuple(found for found in self._read(None) if isinstance(found, str))

    def _read(self, party: str | None) -> Iterator[Proposal | str]:
        query = sa.select(AGREEMENTS.c.sha256).order_by("seq")
        if party is not None:
            named = sa.select(SIGNATURES.c.agreement).where(SIGNATURES.c.party == party)
            query = query.where(AGREEMENTS.c.sha256.in_(named))
        with self._database.read() as connection:
            for sha256 in connection.execute(query).scalars().all():
                try:
                    yield self._get(connection, sha256, None)
                except AgreementError:
                    yield sha256

    def sign(self, sha256: str, party: str, signature: str, *, at: str) -> tuple[str, ...]:
        """Keep a holder's signature.

        Returns:
            Whose is still missing.

        Raises:
            AgreementError: no such agreement of that holder, a false signature, or somebody declined.
        """

        def work(connection: sa.Connection) -> tuple[str, ...]:
            found = self._get(connection, sha256, party)
            signed = found.agreement.with_signatures({party: signature})
            if found.declined:
                raise AgreementError(
                    f"agreement {sha256[:16]}… was declined by {', '.join(sorted(found.declined))}",
                    remedy="Ask the exchange for another proposal.",
                )
            self._say(connection, sha256, party, {"signature": signature, "said_at": at})
            return signed.unsigned

        return self._database.write(work)

    def decline(self, sha256: str, party: str, reason: str, *, at: str) -> None:
        """Keep that a holder will not sign; nobody can any more.

        Raises:
            AgreementError: no such agreement of that holder, or the holder has signed it.
        """

        def work(connection: sa.Connection) -> None:
            found = self._get(connection, sha256, party)
            if party in found.agreement.signatures:
                raise AgreementError(
                    f"'{party}' has signed agreement {sha256[:16]}…", remedy="A signature cannot be taken back."
                )
            self._say(connection, sha256, party, {"declined": reason[:500] or "no reason given", "said_at": at})

        self._database.write(work)

    @staticmethod
    def _say(connection: sa.Connection, sha256: str, party: str, values: dict[str, str]) -> None:
        own = (SIGNATURES.c.agreement == sha256) & (SIGNATURES.c.party == party)
        connection.execute(SIGNATURES.update().where(own).values(**values))

    @staticmethod
    def _get(connection: sa.Connection, sha256: str, party: str | None) -> Proposal:
        whole = sha256 if len(sha256) == 64 else f"{sha256}%"
        match = AGREEMENTS.c.sha256.like(whole) if sha256.isalnum() else sa.false()
        rows = connection.execute(sa.select(AGREEMENTS).where(match).limit(2)).mappings().all()
        if len(rows) > 1:
            raise AgreementError(f"several agreements begin with {sha256}", remedy="Give more digits.")
        said = []
        if rows:
            of_it = SIGNATURES.c.agreement == rows[0]["sha256"]
            said = list(connection.execute(sa.select(SIGNATURES).where(of_it)).mappings())
        if not rows or (party is not None and party not in {row["party"] for row in said}):
            raise AgreementError(
                f"there is no agreement {sha256[:16]}" + (f" of '{party}'" if party else ""),
                remedy="List them: fedjoint exchange agreements, or fedjoint holder review.",
            )
        signatures = {row["party"]: row["signature"] for row in said if row["signature"] is not None}
        latest = sa.select(RUNS.c.state).where(RUNS.c.agreement == rows[0]["sha256"]).order_by(RUNS.c.seq.desc())
        return Proposal(
            agreement=read_agreement(rows[0]["document"].encode()).with_signatures(signatures),
            proposed_at=rows[0]["proposed_at"],
            declined={row["party"]: row["declined"] for row in said if row["declined"] is not None},
            run_state=connection.execute(latest.limit(1)).scalar(),
        )
