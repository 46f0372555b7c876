"""Steps of claims that some parties have signed and others have yet to; what was taken is in the pool's record."""

from __future__ import annotations

import sqlalchemy as sa

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical, sha256_hex
from fedjoint.errors import PoolError
from fedjoint.exchange.tables_store_sql import CLAIM_SIGNATURES
from fedjoint.pool.claim_step import SignedStep, Step
from fedjoint.pool.engine_store_sql import Database
from fedjoint.strict import build

__all__ = ["ClaimSignatures"]


class ClaimSignatures:
    """Signatures of steps that are not taken yet, in an exchange's database.

    Args:
        database: The exchange's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, step: Step, party: str, signature: str, *, at: str) -> SignedStep:
        """Keep a checked signature; it takes the place of one that the party gave to another step of the same claim.

        Returns:
            The step with every signature of it so far.
        """
        line = canonical_bytes(step).decode()
        key = sha256_hex(line.encode())

        def work(connection: sa.Connection) -> SignedStep:
            of_step = CLAIM_SIGNATURES.c.step_sha256 == key
            own = (CLAIM_SIGNATURES.c.claim == step.claim) & (CLAIM_SIGNATURES.c.party == party)
            connection.execute(CLAIM_SIGNATURES.delete().where(own & ~of_step))  # so that there are few of them
            known = connection.execute(sa.select(CLAIM_SIGNATURES.c.party, CLAIM_SIGNATURES.c.signature).where(of_step))
            found: dict[str, str] = {str(row.party): str(row.signature) for row in known}
            if party not in found:
                row = {"step_sha256": key, "party": party, "claim": step.claim, "after": step.after, "step": line}
                connection.execute(CLAIM_SIGNATURES.insert().values(**row, signature=signature, at=at))
            return SignedStep(step=step, signatures={**found, party: signature})

        return self._database.write(work)

    def waiting(self, claim: str, head: str) -> tuple[SignedStep, ...]:
        """The steps that would follow a claim's last one, the first that was signed first."""
        query = sa.select(CLAIM_SIGNATURES).where(CLAIM_SIGNATURES.c.claim == claim, CLAIM_SIGNATURES.c.after == head)
        found: dict[str, SignedStep] = {}
        with self._database.read() as connection:
            for row in connection.execute(query.order_by("at", "party")):
                before = found.get(row.step_sha256)
                step = before.step if before is not None else _step(row.step)
                signatures = {**(before.signatures if before is not None else {}), row.party: row.signature}
                found[row.step_sha256] = SignedStep(step=step, signatures=signatures)
        return tuple(found.values())

    def forget(self, claim: str) -> None:
        """Drop what waited for a claim: it has moved on."""
        self._database.write(
            lambda connection: connection.execute(CLAIM_SIGNATURES.delete().where(CLAIM_SIGNATURES.c.claim == claim))
        )


def _step(line: str) -> Step:
    value = parse_canonical(line.encode(), error=PoolError, where="a step that waits")
    return build(Step, value, error=PoolError, where="a step that waits")
