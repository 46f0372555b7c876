"""Claims over the network: parties and panels sign a claim's steps on machines of their own.

A step is signed where its signer is, and judged here by the rules that anyone judges it by who verifies the pool's
record. What needs several signatures waits for them; nothing of it is in the record before.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from fedjoint.agreement.canonical import canonical_bytes
from fedjoint.errors import IdentityError, PoolError
from fedjoint.exchange.certification import Now, timestamp
from fedjoint.exchange.claims_store_sql import ClaimSignatures
from fedjoint.pool.claim import Claim
from fedjoint.pool.claim_file import ClaimFile, Waiting, file_of, is_shown_to
from fedjoint.pool.claim_rules import check_step, may_sign
from fedjoint.pool.claim_step import SIGNED_AS, SignedStep, Step, moment_of
from fedjoint.pool.desk import move_claim
from fedjoint.pool.facts import ClaimMoved
from fedjoint.pool.record_store_sql import PoolStore
from fedjoint.pool.state import PoolState, docket_of
from fedjoint.strict import build

__all__ = ["ClaimDesk", "Taken"]

#: A step bears the time of its signer's clock; what is further from ours is refused, so that no appeal is back-dated.
_TOLERANCE = timedelta(minutes=5)
#: So many claims are shown at once, the newest.
_MOST = 100


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What became of a signature.

    Args:
        claim: As it stands now.
        missing: Signatures that the step still lacks; 0: it was taken.
    """

    claim: ClaimFile
    missing: int


class ClaimDesk:
    """Where holders' signatures of claim steps come in; it may be used by several threads.

    Args:
        pool: The exchange's, open.
        signatures: Those that wait.
        now: The present.
    """

    def __init__(self, pool: PoolStore, signatures: ClaimSignatures, *, now: Now) -> None:
        self._pool, self._signatures, self._now = pool, signatures, now
        self._one_at_a_time = threading.Lock()

    def claims(self, party: str | None, claim_id: str = "") -> tuple[ClaimFile, ...]:
        """The claims that a party may see, oldest first: the newest 100, or the one asked for.

        Args:
            party: Who asks; None: the exchange itself, which sees all.
            claim_id: Of one claim; empty: all.

        Raises:
            PoolError: there is no such claim, or the party may not see it: the two are not told apart.
        """
        with self._one_at_a_time:
            state = self._pool.state()
            shown = [
                one
                for one in state.claims.values()
                if claim_id in ("", one.filing.id) and (party is None or is_shown_to(one, party, docket_of(state, one)))
            ]
            if claim_id and not shown:
                raise PoolError(
                    f"there is no claim '{claim_id[:80]}'" + (f" that names '{party}'" if party else ""),
                    remedy="List them: claim show, without an id",
                )
            return self._files(state, shown[-_MOST:])

    def sign(self, party: str, step: Step, signature: str) -> Taken:
        """Add a party's signature to a step, and take the step if there are enough.

        Args:
            party: Who calls, by its certificate.
            step: What it signed.
            signature: Of the step's canonical bytes.

        Raises:
            PoolError: the step does not follow, is not this party's to sign, is signed falsely or at another time.

        Guarantees:
            The same call again, as after a lost reply, changes nothing and gives the same answer.
        """
        with self._one_at_a_time:
            state = self._pool.state()
            before = state.claims.get(step.claim)
            if before is not None and not is_shown_to(before, party, docket_of(state, before)):
                raise PoolError(f"the claim id '{step.claim}' is taken", remedy="Choose another.")
            if before is not None and self._was_taken(before, step, party, signature):
                return self._taken(state, step.claim, missing=0)
            known = [] if before is None else [one for one in self._waiting(before) if one.step == step]
            if not known:
                self._require_present(step)
            signatures = {**(known[0].signatures if known else {}), party: signature}
            missing = self._missing(state, before, SignedStep(step=step, signatures=signatures), party)
            if missing:
                self._signatures.add(step, party, signature, at=timestamp(self._now()))
                return self._taken(state, step.claim, missing=missing)
            signed = SignedStep(step=step, signatures=signatures)
            self._pool.act(lambda inside: move_claim(inside.state(), signed, books=inside)[0])
            self._signatures.forget(step.claim)
            return self._taken(self._pool.state(), step.claim, missing=0)

    def _missing(self, state: PoolState, before: Claim | None, signed: SignedStep, party: str) -> int:
        """How many signatures a step lacks, once it is found right, and this party's signature of it too."""
        step = signed.step
        docket = docket_of(state, before)
        claim = check_step(before, step, docket)
        allowed, minimum = may_sign(claim, step.verb, docket)
        if party not in allowed or party not in docket.parties:
            raise PoolError(
                f"'{step.verb}' of claim '{step.claim}' is not for '{party}' to sign",
                expected=f"one of: {', '.join(sorted(allowed)) or 'a panel, which is not named yet'}",
            )
        try:
            docket.parties[party].verify(SIGNED_AS, canonical_bytes(step), signed.signatures[party])
        except IdentityError:
            raise PoolError(
                f"the signature of '{party}' is not by the keys that the pool's registry has of it",
                remedy="Ask the exchange's operator to register the keys that you enrolled with.",
            ) from None
        return max(minimum - len(signed.signatures), 0)

    def _require_present(self, step: Step) -> None:
        now = self._now()
        if abs(moment_of(step.at) - now) > _TOLERANCE:
            raise PoolError(
                f"'{step.verb}' was signed at {step.at}, and it is {timestamp(now)} at the exchange",
                expected=f"within {_TOLERANCE.seconds // 60} minutes of each other",
                remedy="Set this machine's clock, then repeat the command.",
            )

    def _was_taken(self, claim: Claim, step: Step, party: str, signature: str) -> bool:
        steps = self._steps([claim])[claim.filing.id]
        return any(one.step == step and one.signatures.get(party) == signature for one in steps)

    def _waiting(self, claim: Claim) -> tuple[SignedStep, ...]:
        return self._signatures.waiting(claim.filing.id, claim.head)

    def _steps(self, claims: Sequence[Claim]) -> dict[str, list[SignedStep]]:
        """Every step that was taken, by claim, in order."""
        found: dict[str, list[SignedStep]] = {claim.filing.id: [] for claim in claims}
        for event in self._pool.events_of("claim.moved"):
            moved = build(ClaimMoved, event.body, error=PoolError, where=f"event {event.seq}")
            if moved.signed.step.claim in found:
                found[moved.signed.step.claim].append(moved.signed)
        return found

    def _taken(self, state: PoolState, claim_id: str, *, missing: int) -> Taken:
        return Taken(claim=self._files(state, [state.claims[claim_id]])[0], missing=missing)

    def _files(self, state: PoolState, claims: Sequence[Claim]) -> tuple[ClaimFile, ...]:
        steps = self._steps(claims)
        return tuple(file_of(claim, steps[claim.filing.id], self._lacking(state, claim)) for claim in claims)

    def _lacking(self, state: PoolState, claim: Claim) -> Iterator[Waiting]:
        """What waits, with the number of signatures that each step lacks."""
        for signed in self._waiting(claim):
            _, minimum = may_sign(claim, signed.step.verb, docket_of(state, claim))
            yield Waiting(signed=signed, missing=max(minimum - len(signed.signatures), 0))
