"""What a holder is told about a period: every movement of its money, the settlements and claims behind them.

Its document carries the coordinator's signature (JWS, alg ``Ed25519``), the event of the pool's record that commits to
it, the proof that the record has this event, and the signed checkpoint. Public keys alone verify it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fedjoint.agreement.canonical import canonical_bytes, sha256_hex
from fedjoint.errors import PoolError, RecordError
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.pool import accounts
from fedjoint.pool.ledger import Entry
from fedjoint.pool.money import check_minor, minor_digits
from fedjoint.pool.registered import day_named
from fedjoint.pool.signed_document import signed_payload
from fedjoint.pool.state import PoolState
from fedjoint.record.checkpoint import InclusionProof, SignedCheckpoint, require_included, require_signed
from fedjoint.record.log import Event
from fedjoint.record.merkle import MerkleTree, leaf_hash
from fedjoint.strict import build, plain, strict

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "ClaimLine",
    "HolderStatement",
    "MoneyLine",
    "SettlementLine",
    "holder_statement",
    "issued",
    "signed_document_of",
    "verify_document",
]

#: A year of ten thousand movements stays below this.
MAX_DOCUMENT_BYTES = 8 << 20
TYPE = "fedjoint-holder-statement+json"
_ISSUED = "statement.issued"


@strict
@dataclass(frozen=True, kw_only=True)
class MoneyLine:
    """One movement of the holder's payable or holdback, in minor units."""

    at: str
    entry: str
    kind: str
    account: Literal["payable", "holdback"]
    amount_minor: int


@strict
@dataclass(frozen=True, kw_only=True)
class SettlementLine:
    """One settlement that the holder had a part in.

    Args:
        contribution: In units of the utility; negative is paid nothing for it.
        error: Half width of its 95 % interval, and ``method`` how it was measured; None if the run stated none.
        premium_minor: The holder's part of the reserve premium, already taken from gross.
    """

    id: str
    at: str
    dataset: str
    gross_minor: int
    contribution: float
    error: float | None = None
    method: str | None = None
    payout_minor: int
    premium_minor: int


@strict
@dataclass(frozen=True, kw_only=True)
class ClaimLine:
    """A claim that the holder makes or answers, as it stands at the period's end."""

    id: str
    kind: str
    role: Literal["claimant", "respondent"]
    state: str
    claimed_minor: int
    paid_minor: int
    owed_minor: int


@strict
@dataclass(frozen=True, kw_only=True)
class HolderStatement:
    """One holder's money in one period, amounts in minor units of one currency.

    Raises:
        PoolError: malformed, or figures that do not add up.

    Guarantees:
        Brought and the lines make what is carried, for payable and holdback each.
    """

    format: Literal["fedjoint-holder-statement-1"] = "fedjoint-holder-statement-1"
    pool_id: str
    holder: str
    first_day: str
    last_day: str
    currency: str
    payable_brought_minor: int
    holdback_brought_minor: int
    settlements: tuple[SettlementLine, ...]
    claims: tuple[ClaimLine, ...]
    lines: tuple[MoneyLine, ...]
    payable_carried_minor: int
    holdback_carried_minor: int

    def __post_init__(self) -> None:
        accounts.payable(self.holder)
        minor_digits(self.currency)
        if day_named("last_day", self.last_day) < day_named("first_day", self.first_day):
            raise PoolError("a statement's period ends before it begins")
        for account, brought, carried in (
            ("payable", self.payable_brought_minor, self.payable_carried_minor),
            ("holdback", self.holdback_brought_minor, self.holdback_carried_minor),
        ):
            moved = sum(check_minor("line", x.amount_minor) for x in self.lines if x.account == account)
            if brought + moved != carried:
                raise PoolError(
                    f"the {account} of '{self.holder}' is carried as {carried}", expected=f"{brought} plus {moved}"
                )


def holder_statement(
    state: PoolState, entries: Iterable[Entry], holder: str, *, first_day: str, last_day: str
) -> HolderStatement:
    """Put a holder's period together.

    Args:
        state: The pool at the period's end.
        entries: Of the books, in order; those after the period are left out.
        holder: Party id.
        first_day: ``YYYY-MM-DD``.
        last_day: The same.

    Raises:
        PoolError: no such party, or a malformed period.
    """
    if holder not in state.registry.parties:
        raise PoolError(f"'{holder}' is no registered party")
    currency = state.rules.money.currency
    names: dict[str, Literal["payable", "holdback"]] = {
        accounts.payable(holder): "payable",
        accounts.holdback(holder): "holdback",
    }
    brought = dict.fromkeys(names.values(), 0)
    lines: list[MoneyLine] = []
    for entry in entries:
        if entry.currency != currency or entry.phase != "posted" or entry.at[:10] > last_day:
            continue
        for posting in entry.postings:
            account = names.get(posting.account)
            if account is None:
                continue
            if entry.at[:10] < first_day:
                brought[account] += posting.amount_minor
            else:
                lines.append(
                    MoneyLine(
                        at=entry.at, entry=entry.id, kind=entry.kind, account=account, amount_minor=posting.amount_minor
                    )
                )
    carried = {a: brought[a] + sum(x.amount_minor for x in lines if x.account == a) for a in brought}
    return HolderStatement(
        pool_id=state.rules.pool_id,
        holder=holder,
        first_day=first_day,
        last_day=last_day,
        currency=currency,
        payable_brought_minor=brought["payable"],
        holdback_brought_minor=brought["holdback"],
        settlements=_settlements(state, holder, first_day, last_day),
        claims=_claims(state, holder),
        lines=tuple(lines),
        payable_carried_minor=carried["payable"],
        holdback_carried_minor=carried["holdback"],
    )


def _settlements(state: PoolState, holder: str, first_day: str, last_day: str) -> tuple[SettlementLine, ...]:
    return tuple(
        SettlementLine(
            id=settled.id,
            at=at,
            dataset=settled.datasets.get(holder, ""),
            gross_minor=settled.gross_minor,
            contribution=settled.contributions[holder],
            payout_minor=settled.payouts_minor.get(holder, 0),
            premium_minor=settled.premiums_minor.get(holder, 0),
        )
        for at, settled in state.settlements.values()
        if holder in settled.contributions and first_day <= at[:10] <= last_day
    )


def _claims(state: PoolState, holder: str) -> tuple[ClaimLine, ...]:
    return tuple(
        ClaimLine(
            id=claim.filing.id,
            kind=claim.filing.kind,
            role="claimant" if claim.filing.claimant == holder else "respondent",
            state=claim.state,
            claimed_minor=claim.filing.amount_minor,
            paid_minor=claim.paid_minor,
            owed_minor=claim.owed_minor,
        )
        for claim in state.claims.values()
        if holder in (claim.filing.claimant, claim.filing.respondent)
    )


def issued(statement: HolderStatement) -> tuple[str, dict[str, Any]]:
    """The event by which the pool's record commits to a statement: its type and body."""
    body = {
        "holder": statement.holder,
        "first_day": statement.first_day,
        "last_day": statement.last_day,
        "sha256": sha256_hex(canonical_bytes(statement)),
    }
    return _ISSUED, body


def signed_document_of(
    statement: HolderStatement, *, events: Sequence[Event], checkpoint: SignedCheckpoint, coordinator: Identity
) -> dict[str, Any]:
    """The document that the holder keeps.

    Args:
        statement: That was issued.
        events: Of the pool's record, up to the checkpoint.
        checkpoint: After the event that commits to the statement.
        coordinator: Who signs.

    Raises:
        PoolError: the record does not commit to the statement.
    """
    kind, body = issued(statement)
    places = [event.seq for event in events if event.type == kind and event.body == body]
    if not places or places[-1] >= checkpoint.checkpoint.size:
        raise PoolError(
            f"the record does not commit to the statement of '{statement.holder}'", remedy="Issue it first."
        )
    tree = MerkleTree(leaf_hash(canonical_bytes(event)) for event in events)
    path = tree.inclusion(places[-1], checkpoint.checkpoint.size)
    return {
        "statement": plain(statement),
        "jws": coordinator.sign_jws(TYPE, canonical_bytes(statement)),
        "event": plain(events[places[-1]]),
        "inclusion": plain(InclusionProof(place=places[-1], path=tuple(node.hex() for node in path))),
        "checkpoint": plain(checkpoint),
    }


def verify_document(document: Any, coordinator: PublicIdentity) -> HolderStatement:
    """Check a statement's document with nothing but the coordinator's public keys.

    Raises:
        PoolError: not such a document, figures that do not add up, or a signature of another statement.
        IdentityError: the signature is not the coordinator's.
        RecordError: the record that the coordinator signed does not commit to it.
    """
    if not isinstance(document, dict) or set(document) != {"statement", "jws", "event", "inclusion", "checkpoint"}:
        raise PoolError("this is no holder's statement", expected="statement, jws, event, inclusion and checkpoint")
    statement = build(HolderStatement, document["statement"], error=PoolError, where="statement")
    if signed_payload(document["jws"], coordinator, typ=TYPE) != canonical_bytes(statement):
        raise PoolError(f"the statement of '{statement.holder}' is not the one that was signed")
    event = build(Event, document["event"], error=RecordError, where="event")
    inclusion = build(InclusionProof, document["inclusion"], error=RecordError, where="inclusion")
    checkpoint = build(SignedCheckpoint, document["checkpoint"], error=RecordError, where="checkpoint")
    if (event.type, event.body) != issued(statement):
        raise RecordError("the event is not the one by which the record commits to this statement")
    if checkpoint.checkpoint.origin != f"pool/{statement.pool_id}" or event.seq != inclusion.place:
        raise RecordError("the proof is of another pool or another event")
    require_signed(checkpoint, coordinator)
    require_included(canonical_bytes(event), inclusion, checkpoint.checkpoint)
    return statement
