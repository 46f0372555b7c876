"""What a pool's settlement is made by: a person's JSON file, or a run's folder."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from fedjoint.cli.pool_session import parse_json_file
from fedjoint.errors import ConfigError, PoolError, RecordError

if TYPE_CHECKING:
    from fedjoint.pool.desk import Settling
    from fedjoint.pool.state import PoolState

__all__ = ["settling_by_file", "settling_by_run"]


def settling_by_file(path: Path, *, settlement_id: str, gross_minor: int) -> Settling:
    """Read who contributed what.

    Raises:
        ConfigError: no such file, or not what is needed.
    """
    from fedjoint.pool.desk import Settling
    from fedjoint.strict import build

    facts = parse_json_file(path)
    if not isinstance(facts, dict):
        raise ConfigError(f"{path} does not say who contributed what", expected="contributions and datasets by holder")
    given = {**facts, "id": settlement_id, "gross_minor": gross_minor}
    return build(Settling, given, error=ConfigError, where=path.name)


def settling_by_run(
    folder: Path, state: PoolState, *, settlement_id: str, gross_minor: int, costs: tuple[Path, ...] = ()
) -> Settling:
    """Take contributions, error bars and sizes from a run's folder, and the rounds that metered costs may count.

    Args:
        folder: The run's.
        state: The pool's.
        settlement_id: Of the settlement to be made.
        gross_minor: What is divided, in minor units.
        costs: Files that holders signed (``fedjoint pool costs``).

    Raises:
        RecordError: the run does not verify.
        PoolError: its agreement names no registered datasets, or the registry did not allow it on its day.
    """
    from fedjoint.agreement.signing import read_agreement
    from fedjoint.pool.compute_costs import SignedCosts
    from fedjoint.pool.facts import RunCosts
    from fedjoint.pool.gate import require_run_allowed, settling_of_run
    from fedjoint.pool.statement import read_statement
    from fedjoint.record.log import read_record
    from fedjoint.runs.folder import AGREEMENT, RECORD, STATEMENTS
    from fedjoint.runs.recorded import read_recorded_run
    from fedjoint.runs.verify import verify_run
    from fedjoint.strict import build

    wrong = [check for check in verify_run(folder) if check.outcome == "failed"]
    if wrong:
        raise RecordError(f"{folder} does not verify: {wrong[0].name}: {wrong[0].detail}")
    agreement = read_agreement((folder / AGREEMENT).read_bytes())
    terms = agreement.terms
    statements = [
        read_statement((folder / STATEMENTS / f"{holder}.json").read_bytes(), terms.coordinator)
        for holder in terms.holder_ids
    ]
    holders = {holder.identity.id: holder.identity for holder in terms.holders}
    record = read_record(folder / RECORD, agreement.sha256, terms.coordinator, witnesses=holders)
    rounds = read_recorded_run(record.events, agreement).rounds_of_holders
    metered = [build(SignedCosts, parse_json_file(path), error=PoolError, where=path.name) for path in costs]
    settling = settling_of_run(
        statements,
        terms,
        settlement_id=settlement_id,
        gross_minor=gross_minor,
        costs=[RunCosts(signed=one, rounds=rounds.get(one.costs.holder, 0)) for one in metered],
    )
    day = date.fromisoformat(statements[0].period[:10])
    require_run_allowed(state.registry, terms, day=day, exchange=state.rules.exchange)
    return settling
