"""How an exchange stands, for its operator: of its database, and of what the process that serves says."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from typing import Any

from fedjoint.exchange.home import ExchangeHome
from fedjoint.exchange.store_sql import ExchangeStore
from fedjoint.pool.claim_file import ClaimFile

__all__ = ["serving_of", "status_of"]


def status_of(home: ExchangeHome, store: ExchangeStore, claims: Sequence[ClaimFile] = ()) -> dict[str, Any]:
    """What there is to say, as plain JSON values: ``serving``, ``parties``, ``operators``, ``agreements``, and so on.

    Args:
        home: The exchange's folder.
        store: Its database.
        claims: Against its pool, if it keeps one.
    """
    serving = serving_of(home)
    links = serving.pop("holders") if serving else {}
    return {
        "serving": serving,
        "parties": _parties(store, links),
        "operators": [vars(operator) for operator in store.members.operators()],
        "agreements": _agreements(store),
        "runs": [{**vars(run), "stragglers": json.loads(run.stragglers)} for run in store.runs.all()],
        "claims": [
            {
                "id": found.claim.filing.id,
                "kind": found.claim.filing.kind,
                "state": found.claim.state,
                "next": list(found.next),
                "waiting": [{"verb": one.signed.step.verb, "missing": one.missing} for one in found.waiting],
            }
            for found in claims
        ],
    }


def _parties(store: ExchangeStore, links: dict[str, Any]) -> list[dict[str, Any]]:
    """Everybody who was ever invited, whether they are connected, and what they registered."""
    datasets = store.members.datasets()
    return [
        {
            "id": member.id,
            "name": member.name,
            "state": member.state,
            "connected": bool(links.get(member.id, {}).get("connected")),
            "link": links.get(member.id),
            "datasets": [
                {"name": one.name, "num_examples": one.num_examples, "unit": one.unit, "fits": one.fits}
                for one in datasets
                if one.party == member.id
            ],
        }
        for member in store.members.all()
    ]


def _agreements(store: ExchangeStore) -> list[dict[str, Any]]:
    """Agreements, oldest first; then those that this release cannot read."""
    readable = [
        {
            "sha256": found.agreement.sha256,
            "purpose": found.agreement.terms.purpose,
            "state": found.state,
            "unsigned_by": list(found.agreement.unsigned),
            "declined_by": found.declined,
            "proposed_at": found.proposed_at,
        }
        for found in store.agreements.all()
    ]
    nobody: dict[str, Any] = {"unsigned_by": [], "declined_by": {}, "proposed_at": None}
    foreign = {"purpose": "made by another release of fedjoint", "state": "unreadable", **nobody}
    return [*readable, *({"sha256": sha256, **foreign} for sha256 in store.agreements.unreadable())]


def serving_of(home: ExchangeHome) -> dict[str, Any] | None:
    """What the process that serves said last; None if there is none: it would hold the lock."""
    try:
        handle = os.open(home.process, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        try:
            said: dict[str, Any] = json.loads(home.status.read_bytes())
        except (OSError, ValueError):
            said = {"at": None, "pid": None, "port": None, "holders": {}}  # it has just started
        return said
    finally:
        os.close(handle)
    return None
