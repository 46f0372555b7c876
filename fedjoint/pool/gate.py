"""The registry's gate: no run of an agreement that names registered datasets starts, or is paid for, without it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date

from fedjoint.agreement.terms import Terms
from fedjoint.errors import PoolError
from fedjoint.identity.keys import PublicIdentity
from fedjoint.pool.desk import Settling
from fedjoint.pool.facts import RunCosts
from fedjoint.pool.registry import Registry, require_runnable
from fedjoint.pool.statement import Statement

__all__ = ["require_run_allowed", "settling_of_run"]

_Z95 = 1.96


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
    if exchange is not None and terms.coordinator not in (exchange, *_exchanges(registry)):
        reasons.append(f"'{terms.coordinator.id}' with these keys is not registered as an exchange")
    for holder in terms.holders:
        if holder.dataset is None:
            reasons.append(f"the agreement names no dataset of '{holder.identity.id}'")
            continue
        try:
            if registry.dataset(holder.dataset).dataset.holder != holder.identity.id:
                reasons.append(f"dataset '{holder.dataset}' is not that of '{holder.identity.id}'")
            party = registry.parties.get(holder.identity.id)
            if exchange is not None and (party is None or party.identity != holder.identity):
                reasons.append(f"'{holder.identity.id}' signs with keys that it is not registered with")
            require_runnable(registry, holder.dataset, purpose=terms.purpose, day=day)
        except PoolError as problem:
            reasons.append(problem.problem)
    if reasons:
        raise PoolError("the registry does not allow this run: " + "; ".join(reasons), remedy="Run without them.")


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
