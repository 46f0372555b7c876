"""A pool's statement as a document that its receiver keeps, and verifies with the exchange's public keys alone.

It carries the exchange's signature (JWS, alg ``Ed25519``), the event of the pool's record that commits to it, the proof
that the record has this event, and the signed checkpoint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from fedjoint.agreement.canonical import canonical_bytes, sha256_hex
from fedjoint.errors import PoolError, RecordError
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.pool import accounts
from fedjoint.pool.dataset_statement import DatasetStatement, dataset_statement
from fedjoint.pool.exported import sign_pool
from fedjoint.pool.record_change import Change
from fedjoint.pool.record_store_sql import PoolStore
from fedjoint.pool.signed_document import signed_payload
from fedjoint.pool.year_statement import HolderStatement, holder_statement
from fedjoint.record.checkpoint import InclusionProof, SignedCheckpoint, require_included, require_signed
from fedjoint.record.log import Event
from fedjoint.record.merkle import inclusion_path, leaf_hash
from fedjoint.strict import build, plain

__all__ = ["MAX_DOCUMENT_BYTES", "AnyStatement", "issue", "state_of_dataset", "state_of_holder", "verify_document"]

#: A year of ten thousand movements stays below this.
MAX_DOCUMENT_BYTES = 8 << 20
_ISSUED = "statement.issued"
AnyStatement = HolderStatement | DatasetStatement
#: By what the statement says it is: its class, and the type that its signed header names.
_KINDS: dict[str, tuple[type[AnyStatement], str]] = {
    "fedjoint-holder-statement-2": (HolderStatement, "fedjoint-holder-statement+json"),
    "fedjoint-dataset-statement-1": (DatasetStatement, "fedjoint-dataset-statement+json"),
}


def state_of_holder(store: PoolStore, holder: str, *, first_day: str, last_day: str) -> HolderStatement:
    """A holder's statement from a pool's database; only the entries of its own accounts are read.

    Raises:
        PoolError: no such party, or a malformed period.
    """
    state = store.state()
    entries = store.ledger.entries(accounts.payable(holder), accounts.holdback(holder))
    return holder_statement(state, entries, holder, first_day=first_day, last_day=last_day)


def state_of_dataset(store: PoolStore, dataset: str, *, first_day: str, last_day: str) -> DatasetStatement:
    """A dataset's statement from a pool's database.

    Raises:
        PoolError: no such dataset, or a malformed period.
    """
    return dataset_statement(store.state(), dataset, first_day=first_day, last_day=last_day)


def _issued(statement: AnyStatement) -> tuple[str, dict[str, Any]]:
    """The event by which the pool's record commits to a statement: its type and body."""
    of = ("dataset", statement.dataset) if isinstance(statement, DatasetStatement) else ("holder", statement.holder)
    body = {
        of[0]: of[1],
        "first_day": statement.first_day,
        "last_day": statement.last_day,
        "sha256": sha256_hex(canonical_bytes(statement)),
    }
    return _ISSUED, body


def issue(
    store: PoolStore, statements: Sequence[AnyStatement], coordinator: Identity, *, at: str
) -> list[dict[str, Any]]:
    """Record statements, sign a checkpoint over them, and make their documents.

    Args:
        store: The pool's database.
        statements: What is to be issued; one that was issued before is not recorded again.
        coordinator: Who signs.
        at: ISO 8601 in UTC.

    Returns:
        A document for each, plain JSON.

    Raises:
        PoolError: the pool is another coordinator's, or was never opened.
    """
    wanted = [_issued(statement) for statement in statements]
    bodies = [event.body for event in store.events_of(_ISSUED)]
    new = tuple(event for event in wanted if event[1] not in bodies)
    if new:
        store.act(lambda _: Change(at=at, events=new))
    checkpoint = sign_pool(store, coordinator, at=at)
    places = [event for event in store.events_of(_ISSUED) if event.seq < checkpoint.checkpoint.size]
    documents = []
    for statement, (_, body) in zip(statements, wanted, strict=True):
        event = next(event for event in reversed(places) if event.body == body)
        leaves = (leaf_hash(canonical_bytes(one)) for one in store.events())
        path = inclusion_path(leaves, event.seq, checkpoint.checkpoint.size)
        documents.append(_document(statement, event, path, checkpoint, coordinator))
    return documents


def _document(
    statement: AnyStatement, event: Event, path: Sequence[bytes], checkpoint: SignedCheckpoint, coordinator: Identity
) -> dict[str, Any]:
    return {
        "statement": plain(statement),
        "jws": coordinator.sign_jws(_KINDS[statement.format][1], canonical_bytes(statement)),
        "event": plain(event),
        "inclusion": plain(InclusionProof(place=event.seq, path=tuple(node.hex() for node in path))),
        # without countersignatures: whoever verifies a statement has the exchange's keys and no witness's
        "checkpoint": plain(dataclasses.replace(checkpoint, witnesses={})),
    }


def verify_document(document: Any, coordinator: PublicIdentity) -> AnyStatement:
    """Check a statement's document with nothing but the coordinator's public keys.

    Raises:
        PoolError: not such a document, figures that do not add up, or a signature of another statement.
        IdentityError: the signature is not the coordinator's.
        RecordError: the record that the coordinator signed does not commit to it.
    """
    if not isinstance(document, dict) or set(document) != {"statement", "jws", "event", "inclusion", "checkpoint"}:
        raise PoolError("this is no pool's statement", expected="statement, jws, event, inclusion and checkpoint")
    told = document["statement"]
    named = told.get("format") if isinstance(told, dict) else None
    if not isinstance(named, str) or named not in _KINDS:
        raise PoolError("this is a statement of an unknown kind", expected=" or ".join(_KINDS))
    kind, typ = _KINDS[named]
    statement = build(kind, told, error=PoolError, where="statement")
    if signed_payload(document["jws"], coordinator, typ=typ) != canonical_bytes(statement):
        raise PoolError(f"the statement of '{statement.holder}' is not the one that was signed")
    event = build(Event, document["event"], error=RecordError, where="event")
    inclusion = build(InclusionProof, document["inclusion"], error=RecordError, where="inclusion")
    checkpoint = build(SignedCheckpoint, document["checkpoint"], error=RecordError, where="checkpoint")
    if (event.type, event.body) != _issued(statement):
        raise RecordError("the event is not the one by which the record commits to this statement")
    if checkpoint.checkpoint.origin != f"pool/{statement.pool_id}" or event.seq != inclusion.place:
        raise RecordError("the proof is of another pool or another event")
    require_signed(checkpoint, coordinator)
    require_included(canonical_bytes(event), inclusion, checkpoint.checkpoint)
    return statement
