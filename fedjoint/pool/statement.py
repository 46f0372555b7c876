"""What a holder is told about its money: complete, signed, and verified offline with the coordinator's public key.

A signed statement is ``{"statement": ..., "jws": ...}``: the facts in plain JSON, and a compact JWS (RFC 7515, alg
``Ed25519`` of RFC 9864) whose payload is their canonical JSON (RFC 8785), so that any JOSE library can check it too.
Its file holds the canonical JSON of that document (:func:`fedjoint.agreement.canonical.canonical_bytes`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.errors import PoolError
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.pool.accounts import payable
from fedjoint.pool.money import check_minor, minor_digits
from fedjoint.pool.signed_document import signed_payload
from fedjoint.pool.waterfall import Settlement, Step, check_steps
from fedjoint.strict import build, plain, strict

__all__ = [
    "MAX_STATEMENT_BYTES",
    "RunFacts",
    "StatedError",
    "Statement",
    "read_statement",
    "sign_statement",
    "statement_of",
    "verify_statement",
]

MAX_STATEMENT_BYTES = 1 << 20
_MAX_UTILITY = 1e15
#: In the signed header: a signature of anything else is none of a statement.
_TYPE = "fedjoint-statement+json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: A share of floats is exact: the widest has some 640 digits above and below.
_SHARE = re.compile(r"(0|[1-9][0-9]{0,699})/([1-9][0-9]{0,699})")


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What the statements of all holders of a run have in common; the fields are those of :class:`Statement`."""

    run_id: str
    agreement_sha256: str
    period: str
    utility_gain: float
    method: str
    privacy: str
    record_head: str | None = None


@strict
@dataclass(frozen=True, kw_only=True)
class StatedError:
    """How far a holder's contribution could be off, and what the agreement made of that.

    Args:
        by_noise: Standard error by privacy noise, in units of the utility, at least 0.
        by_sampling: The same by the choice of reference records; None where it was not measured.
        numbers: From how many opened numbers of each holder that is estimated; None: from every update in the clear.
        by_sampling_at_most: Where only that is known, a bound of it.
        paid_alike_with: The holders whose contributions cannot be told from this one's, and who share alike with it.
        rule: How they are paid (:class:`fedjoint.agreement.terms.MoneyTerms`).
        z: How many standard errors of a difference count as error.

    Raises:
        PoolError: a standard error that is negative or not finite.
    """

    by_noise: float
    by_sampling: float | None
    paid_alike_with: tuple[str, ...]
    rule: Literal["equal", "by_size", "off"]
    z: float
    numbers: int | None = None
    by_sampling_at_most: float | None = None

    def __post_init__(self) -> None:
        for value in (self.by_noise, self.by_sampling or 0.0, self.by_sampling_at_most or 0.0):
            if not 0 <= value <= _MAX_UTILITY:
                raise PoolError(f"a standard error of {value}", expected=f"a number from 0 to {_MAX_UTILITY:g}")


@strict
@dataclass(frozen=True, kw_only=True)
class Statement:
    """What one run and one revenue meant for one holder.

    Args:
        holder: Its party id.
        run_id: Of the run.
        agreement_sha256: Of the agreement it ran under.
        period: What time it is for, in words.
        currency: ISO 4217 code; all amounts in its minor units.
        contribution: The holder's, in units of the utility, within ±1e15; negative is paid zero.
        utility_gain: Of the whole run: what the contributions add up to.
        share: The holder's exact fraction of what is shared by contribution, ``numerator/denominator`` in lowest terms.
        base_share: Its fraction of the base part, written so too.
        base_bp: The base part, in basis points of what is shared; 0 if the agreement has none.
        steps: The waterfall: gross, then what it was divided into.
        payout_minor: The holder's part.
        held_minor: What of it is held back until the dispute window has ended.
        compute_minor: What it is paid for compute costs.
        balance_brought_minor: What it was owed before.
        balance_carried_minor: What it is owed now: brought plus payout plus compute costs; what is held back included.
        method: How contributions were measured.
        privacy: What the measurement revealed, and how the records were protected.
        record_head: SHA-256 of the run record's last line when this was made, if it had one.
        contribution_error: How far the contribution could be off; None where it was not measured.

    Raises:
        PoolError: a field is malformed, or the figures contradict each other.

    Guarantees:
        The steps add up to gross, the payout is what the share gives (within the units that rounding carries), and
        brought plus payout plus compute costs is carried.
    """

    format: Literal["fedjoint-statement-1"] = "fedjoint-statement-1"
    holder: str
    run_id: str
    agreement_sha256: str
    period: str
    currency: str
    contribution: float
    utility_gain: float
    share: str
    base_share: str
    base_bp: int
    steps: tuple[Step, ...]
    payout_minor: int
    held_minor: int
    compute_minor: int
    balance_brought_minor: int
    balance_carried_minor: int
    method: str
    privacy: str
    record_head: str | None = None
    contribution_error: StatedError | None = None

    def __post_init__(self) -> None:
        payable(self.holder)
        minor_digits(self.currency)
        for name, text, longest in (
            ("run_id", self.run_id, 127),
            ("period", self.period, 80),
            ("method", self.method, 500),
            ("privacy", self.privacy, 2_000),
        ):
            if not 1 <= len(text) <= longest:
                raise PoolError(f"a statement's {name} has {len(text)} characters", expected=f"1 to {longest}")
        for name, digest in (("agreement_sha256", self.agreement_sha256), ("record_head", self.record_head)):
            if digest is not None and not _SHA256.fullmatch(digest):
                raise PoolError(f"a statement's {name} is '{digest[:80]}'", expected="64 lower-case hex digits")
        for name, value in (("contribution", self.contribution), ("utility_gain", self.utility_gain)):
            # Larger floats look like integers beyond 2^53 in JSON, which have no canonical form.
            if not abs(value) <= _MAX_UTILITY:
                raise PoolError(f"a statement's {name} is {value}", expected=f"a number within ±{_MAX_UTILITY:g}")
        for name in ("payout_minor", "balance_brought_minor", "balance_carried_minor"):
            check_minor(name, getattr(self, name))
        check_minor("base_bp", self.base_bp, low=0, high=10_000)
        check_minor("held_minor", self.held_minor, low=0, high=max(0, self.payout_minor))
        check_minor("compute_minor", self.compute_minor, low=0)
        self._check_figures()

    def _check_figures(self) -> None:
        """Refuse a statement that does not add up."""
        if self.balance_brought_minor + self.payout_minor + self.compute_minor != self.balance_carried_minor:
            raise PoolError(
                f"the statement of '{self.holder}' carries {self.balance_carried_minor}",
                expected=f"brought {self.balance_brought_minor} plus payout {self.payout_minor} plus compute costs",
            )
        share, distributed = _fraction(self.share), check_steps(self.steps)
        if (share > 0) != (self.contribution > 0):
            raise PoolError(
                f"the share of '{self.holder}' does not fit its contribution",
                expected="above zero for a positive contribution, zero for any other",
            )
        # What is distributed differs from its exact amount by what rounding carried in and out: less than two units
        # for each of the four other parts, and two for the payout itself.
        if abs(self.payout_minor - self._entitled(share) * distributed) >= 10:
            raise PoolError(f"the payout of '{self.holder}' is not its share of {distributed} minor units")

    def _entitled(self, share: Fraction) -> Fraction:
        """The holder's fraction of all that is shared; where nobody contributed, that is the base part only."""
        base = Fraction(self.base_bp, 10_000) if self.steps[-1].amount_minor == 0 else Fraction(1)
        return base * _fraction(self.base_share) + (1 - base) * share


def _fraction(share: str) -> Fraction:
    """Read ``numerator/denominator`` in lowest terms, from 0/1 to 1/1."""
    found = _SHARE.fullmatch(share)
    value = Fraction(int(found[1]), int(found[2])) if found else None
    if value is None or value > 1 or _written(value) != share:
        raise PoolError(f"share '{share[:80]}'", expected="numerator/denominator in lowest terms, at most 1/1")
    return value


def _written(share: Fraction) -> str:
    return f"{share.numerator}/{share.denominator}"


def statement_of(
    settlement: Settlement,
    holder: str,
    *,
    facts: RunFacts,
    contribution: float,
    error: StatedError | None = None,
    balance_brought_minor: int = 0,
) -> Statement:
    """The statement of one holder of a settlement.

    Args:
        settlement: What became of the revenue.
        holder: One of its holders.
        facts: What is the same for all of them.
        contribution: The holder's, in units of the utility: the one that the settlement was made with.
        error: How far that could be off.
        balance_brought_minor: What the holder was owed before, in minor units.

    Raises:
        PoolError: no such holder, or figures that contradict each other.
    """
    payout = settlement.payouts_minor.get(holder)
    if payout is None:
        expected = f"one of: {', '.join(settlement.payouts_minor)}"
        raise PoolError(f"'{holder}' has no part in the settlement", expected=expected)
    compute = settlement.compute_minor.get(holder, 0)
    return Statement(
        holder=holder,
        run_id=facts.run_id,
        agreement_sha256=facts.agreement_sha256,
        period=facts.period,
        currency=settlement.currency,
        contribution=contribution,
        utility_gain=facts.utility_gain,
        share=_written(settlement.shares.get(holder, Fraction(0))),
        base_share=_written(settlement.base_shares.get(holder, Fraction(0))),
        base_bp=settlement.base_bp,
        steps=settlement.steps,
        payout_minor=payout,
        held_minor=settlement.held_minor[holder],
        compute_minor=compute,
        balance_brought_minor=balance_brought_minor,
        balance_carried_minor=balance_brought_minor + payout + compute,
        method=facts.method,
        privacy=facts.privacy,
        record_head=facts.record_head,
        contribution_error=error,
    )


def sign_statement(statement: Statement, coordinator: Identity) -> dict[str, Any]:
    """Make the document that a holder keeps: the statement and the coordinator's signature.

    Returns:
        ``{"statement": ..., "jws": ...}``, plain JSON.
    """
    jws = coordinator.sign_jws(_TYPE, canonical_bytes(statement))
    return {"statement": plain(statement), "jws": jws}


def verify_statement(document: Mapping[str, Any], coordinator: PublicIdentity) -> Statement:
    """Check a signed statement with nothing but the coordinator's public key.

    Args:
        document: What :func:`sign_statement` made.
        coordinator: Whose signature it must be.

    Raises:
        PoolError: not such a document, figures that contradict each other, or a signature of another statement.
        IdentityError: the signature is not the coordinator's.
    """
    if set(document) != {"statement", "jws"} or not isinstance(document["jws"], str):
        raise PoolError("this is no signed statement", expected="an object with 'statement' and 'jws'")
    statement = build(Statement, document["statement"], error=PoolError, where="statement")
    if signed_payload(document["jws"], coordinator, typ=_TYPE) != canonical_bytes(statement):
        raise PoolError(
            f"the statement of '{statement.holder}' is not the one that was signed",
            remedy="It was altered: ask the coordinator for it again.",
        )
    return statement


def read_statement(data: bytes, coordinator: PublicIdentity) -> Statement:
    """Read a statement's file, in which no byte may differ from what was written.

    Raises:
        PoolError: too large, not canonical JSON, or as :func:`verify_statement`.
        IdentityError: as :func:`verify_statement`.
    """
    if len(data) > MAX_STATEMENT_BYTES:
        raise PoolError(f"the statement has {len(data)} bytes", expected=f"at most {MAX_STATEMENT_BYTES}")
    document = parse_canonical(data, error=PoolError, where="statement")
    if not isinstance(document, dict):
        raise PoolError("this is no signed statement", expected="an object with 'statement' and 'jws'")
    return verify_statement(document, coordinator)
