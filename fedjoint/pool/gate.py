"""The registry's gate: no run of an agreement that names registered datasets starts, or is paid for, without it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path

from fedjoint.agreement.terms import Terms
from fedjoint.errors import PoolError
from fedjoint.identity.keys import PublicIdentity
from fedjoint.pool.desk import Settling
from fedjoint.pool.engine_store_sql import POOL_FILE
from fedjoint.pool.facts import RunCosts
from fedjoint.pool.record_store_sql import PoolStore
from fedjoint.pool.registry import Registry, require_runnable
from fedjoint.pool.statement import Statement

__all__ = [
    "Gate",
    "ask_gate",
    "read_registry",
    "require_datasets_allowed",
    "require_run_allowed",
    "settling_of_run",
]

#: Raises an error if a run under these terms may not start, or go on, on a day.
Gate = Callable[[Terms, date], None]
_Z95 = 1.96


def ask_gate(gate: Gate | None, terms: Terms, day: date) -> None:
    """Let nothing through that names registered datasets and that no registry was asked about.

    Called before every run, by whoever conducts it.

    Args:
        gate: Asks a registry; None: there is none to ask.
        terms: Of the agreement.
        day: Today.

    Raises:
        PoolError: the registry does not allow the run, or there is none and the agreement names registered datasets.
    """
    if gate is not None:
        gate(terms, day)
    elif any(holder.dataset is not None for holder in terms.holders):
        raise PoolError(
            "the agreement names registered datasets, and there is no registry that could be asked about them",
            remedy="Name the pool that has them: 'pool' in exchange.yaml, or run.registry in a simulation.",
        )


def read_registry(place: str) -> Registry:
    """The registry of a pool, as it is now.

    Args:
        place: The pool's folder, or its SQLAlchemy URL.

    Raises:
        PoolError: there is no pool, or it cannot be read.
    """
    if "://" not in place:
        path = Path(place).expanduser() / POOL_FILE
        if not path.is_file():
            raise PoolError(f"there is no pool in '{place}'", remedy="Open it first: fedjoint pool open.")
        place = f"sqlite:///{path.resolve()}"
    with PoolStore.open(place) as store:
        return store.state().registry


def require_run_allowed(registry: Registry, terms: Terms, *, day: date, exchange: PublicIdentity | None = None) -> None:
    """Refuse a run that a dataset's registration does not allow: not valid, another's, or not for this purpose.

    Called by whoever starts a run, on the day it starts, and by whoever pays for it, for that same day.

    Args:
        registry: As it is known.
        terms: Of the agreement.
        day: Of the run's start.
        exchange: Whose pool it is: then everybody must sign with the keys that they are registered with. Only a
            simulation, which makes its keys up, leaves it out.

    Raises:
        PoolError: names every holder and all reasons.
    """
    reasons = []
    if exchange is not None:
        if terms.coordinator not in (exchange, *_exchanges(registry)):
            reasons.append(f"'{terms.coordinator.id}' with these keys is not registered as an exchange")
        for identity in (holder.identity for holder in terms.holders):
            party = registry.parties.get(identity.id)
            if party is None or party.identity != identity:
                reasons.append(f"'{identity.id}' signs with keys that it is not registered with")
    brought = {holder.identity.id: holder.dataset for holder in terms.holders}
    _refuse([*reasons, *_reasons(registry, brought, purpose=terms.purpose, day=day)])


def require_datasets_allowed(
    registry: Registry, datasets: Mapping[str, str | None], *, purpose: str, day: date
) -> None:
    """As :func:`require_run_allowed`, before there is an agreement: of who brings which dataset alone.

    Args:
        registry: As it is known.
        datasets: By holder; None: none is named, which no run is allowed.
        purpose: Of the run, word by word.
        day: Of the run's start.

    Raises:
        PoolError: names every holder and all reasons.
    """
    _refuse(_reasons(registry, datasets, purpose=purpose, day=day))


def _reasons(registry: Registry, datasets: Mapping[str, str | None], *, purpose: str, day: date) -> list[str]:
    reasons = []
    for holder, dataset in datasets.items():
        if dataset is None:
            reasons.append(f"no dataset of '{holder}' is named")
            continue
        try:
            if registry.dataset(dataset).as_of(day).holder != holder:
                reasons.append(f"dataset '{dataset}' is not that of '{holder}'")
            require_runnable(registry, dataset, purpose=purpose, day=day)
        except PoolError as problem:
            reasons.append(problem.problem)
    return reasons


def _refuse(reasons: Sequence[str]) -> None:
    if reasons:
        raise PoolError(
            "the registry does not allow this run: " + "; ".join(reasons),
            remedy="Run without them, or mend it: fedjoint registry dataset show.",
        )


def _exchanges(registry: Registry) -> list[PublicIdentity]:
    return [party.identity for party in registry.parties.values() if party.role == "exchange"]


def settling_of_run(
    statements: Sequence[Statement],
    terms: Terms,
    *,
    settlement_id: str,
    gross_minor: int,
    costs: Sequence[RunCosts] = (),
) -> Settling:
    """What a pool needs to divide revenue by a run's contributions, from the run's signed statements.

    Args:
        statements: One of each holder, whose signatures were checked.
        terms: Of the run's agreement.
        settlement_id: Of the settlement to be made.
        gross_minor: What is divided, in minor units.
        costs: Metered costs of the run, signed by the holders.

    Raises:
        PoolError: a statement is missing, of another run, or the agreement names no dataset.
    """
    by_holder = {statement.holder: statement for statement in statements}
    if set(by_holder) != set(terms.holder_ids) or len({one.run_id for one in statements}) != 1:
        raise PoolError("these are not the statements of one run", expected=", ".join(terms.holder_ids))
    datasets = {holder.identity.id: holder.dataset for holder in terms.holders if holder.dataset is not None}
    if set(datasets) != set(by_holder):
        raise PoolError("the run's agreement names no registered datasets", remedy="Settle with --by instead.")
    first = statements[0]
    alike = {
        tuple(sorted((holder, *one.contribution_error.paid_alike_with)))
        for holder, one in by_holder.items()
        if one.contribution_error is not None and one.contribution_error.paid_alike_with
    }
    return Settling(
        id=settlement_id,
        gross_minor=gross_minor,
        contributions={holder: one.contribution for holder, one in by_holder.items()},
        datasets=datasets,
        sizes={holder.identity.id: holder.num_examples for holder in terms.holders},
        errors={
            holder: _Z95 * math.hypot(one.contribution_error.by_noise, one.contribution_error.by_sampling or 0.0)
            for holder, one in by_holder.items()
            if one.contribution_error is not None
        },
        method=first.method,
        run_id=first.run_id,
        agreement_sha256=first.agreement_sha256,
        alike=tuple(sorted(alike)),
        costs=tuple(costs),
    )
