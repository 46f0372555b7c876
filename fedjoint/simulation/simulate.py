"""The main path, end to end: data, agreement, keys, training, contributions, settlement, a verifiable folder."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from fedjoint.agreement.signing import SignedAgreement
from fedjoint.agreement.terms import Terms
from fedjoint.conduct.conducting import Commission, ConductedRun, conduct_run
from fedjoint.conduct.naming import run_name
from fedjoint.conduct.reference import ReferenceSet
from fedjoint.conduct.reference_file import write_reference
from fedjoint.conduct.reporting import Comparison, is_measured
from fedjoint.conduct.stopwatch import Stopwatch
from fedjoint.conduct.training import Conditions, TrainedRun
from fedjoint.config import SimulationConfig
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.datasets.load import load_dataset
from fedjoint.data.division import Division, divide
from fedjoint.pool.money import parse_minor
from fedjoint.privacy.ledger_file import LifetimeLedger
from fedjoint.record.log import origin_of
from fedjoint.simulation.agreeing import (
    Parties,
    bring_together,
    compose_terms,
    holders_as_witnesses,
    sign_by_all,
)
from fedjoint.simulation.budgets import create_missing_ledgers, ledgers_of
from fedjoint.simulation.comparing import compare, describe_data
from fedjoint.simulation.exact import UpdateLog
from fedjoint.simulation.gate import gate_of, require_registered
from fedjoint.simulation.kept_updates import REFERENCE, keep_updates
from fedjoint.simulation.own import Apart, take_apart, write_own_files
from fedjoint.simulation.policies import policies_of
from fedjoint.simulation.running import grid_of, reference_of
from fedjoint.simulation.sizes import released_sizes
from fedjoint.training.coordinator import RoundSummary
from fedjoint.training.preview import CostPreview, preview_costs
from fedjoint.training.session import Session
from fedjoint.training.workplace import Workplace

__all__ = ["Prepared", "Progress", "SilentProgress", "prepare", "simulate"]

_BUYER = "buyer"


class Progress(Protocol):
    """Hears how far a simulation is."""

    def data(self, dataset: Dataset, division: Division) -> None:
        """The data are divided."""

    def agreed(self, agreement: SignedAgreement, costs: CostPreview) -> None:
        """Everybody has signed; nothing is spent yet."""

    def round(self, summary: RoundSummary, of: int) -> None:
        """A round is done."""

    def work(self, what: str, done: int, of: int) -> None:
        """So many of an update's values are encrypted, added or decrypted."""


class SilentProgress:
    """Says nothing."""

    def data(self, dataset: Dataset, division: Division) -> None:
        """Say nothing."""

    def agreed(self, agreement: SignedAgreement, costs: CostPreview) -> None:
        """Say nothing."""

    def round(self, summary: RoundSummary, of: int) -> None:
        """Say nothing."""

    def work(self, what: str, done: int, of: int) -> None:
        """Say nothing."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A simulation before anybody has signed: who would train what on which records, and for how much."""

    dataset: Dataset
    division: Division
    parties: Parties
    terms: Terms
    updates: UpdateLog
    ledgers: Mapping[str, LifetimeLedger]
    gross_minor: int


def prepare(config: SimulationConfig, *, spending: bool = False) -> Prepared:
    """Fetch and divide the data, make the parties and write their agreement; nothing is trained.

    Args:
        config: From :func:`fedjoint.config.load_config`.
        spending: Whether a run follows: then missing lifetime ledgers are made, and what the agreement states of the
            holders' sizes is charged to them. Else nothing is written or charged, and nothing may leave this machine.

    Raises:
        FedjointError: the data, the settings or both together could not be run.
    """
    gross_minor = parse_minor(config.money.revenue_text, config.money.currency)
    dataset = load_dataset(config.data)
    division = divide(
        dataset,
        reference_fraction=config.data.reference_fraction,
        minimum_examples=config.data.minimum_examples,
        seed=config.seed,
    )
    updates = UpdateLog()
    ledgers = ledgers_of(config, division, now=_timestamp)
    require_registered(config, [holder.id for holder in division.holders], day=_utc_now().date())
    policies = policies_of(config, division)
    if spending:
        create_missing_ledgers(config, dataset, ledgers, now=_timestamp)
    sizes = released_sizes(config.privacy, division, ledgers=ledgers if spending else None)
    parties = bring_together(division, observer=updates, lifetimes=ledgers, sizes=sizes, policies=policies)
    return Prepared(
        dataset=dataset,
        division=division,
        parties=parties,
        terms=compose_terms(config, dataset, division, parties),
        updates=updates,
        ledgers=ledgers,
        gross_minor=gross_minor,
    )


def simulate(
    config: SimulationConfig,
    *,
    progress: Progress | None = None,
    reachable: Callable[[str, str], bool] | None = None,
) -> ConductedRun:
    """Run all parties in this process and write the run's folder.

    Args:
        config: From :func:`fedjoint.config.load_config`.
        progress: Hears how far it is.
        reachable: (holder id, message type) to whether a message arrives, to try out what happens when one vanishes.

    Returns:
        The folder ``<run.folder>/<run.name>`` and the report in it. Beside it ``<run.name>.own`` has a file for each
        holder: its contribution by round and by class, for its own eyes.

    Raises:
        FedjointError: whatever stands against the run, in words; no folder is left then.

    Guarantees:
        The same configuration gives the same division and, with ``privacy=none`` or an insecure seed, the same
        agreement terms but for keys, model and payouts.
    """
    hears = progress or SilentProgress()
    stopwatch = Stopwatch()
    with stopwatch.stage("agreement"):
        prepared = prepare(config, spending=True)
        hears.data(prepared.dataset, prepared.division)
        agreement = sign_by_all(prepared.terms, prepared.parties)
        hears.agreed(agreement, preview_costs(agreement.terms))
    session = Session(agreement=agreement, run_id=secrets.token_hex(16))
    commission = Commission(
        session=session,
        coordinator=prepared.parties.coordinator,
        reference=reference_of(prepared.division, agreement.terms),
        data=describe_data(prepared.dataset, prepared.division),
        folder=Path(config.run.folder).expanduser(),
        name=config.run.name or run_name(prepared.dataset.name, config.privacy.mode, session.run_id, now=_utc_now()),
        gross_minor=prepared.gross_minor,
        buyer=_BUYER,
        now=_timestamp,
        witnesses=holders_as_witnesses(prepared.parties, origin_of(agreement.sha256, session.run_id)),
        gate=gate_of(config),
    )
    rounds, workplace = agreement.terms.training.rounds, Workplace(hears=hears.work)
    for holder in prepared.parties.holders:
        holder.work_at(workplace)
    insight = _Everything(prepared)
    with closing(prepared.parties):
        run = conduct_run(
            commission,
            grid_of(prepared.parties, reachable=reachable),
            conditions=Conditions(
                on_round=lambda summary: hears.round(summary, rounds), stopwatch=stopwatch, workplace=workplace
            ),
            insight=insight,
        )
    if insight.apart is not None:
        write_own_files(run, insight.apart, agreement.terms)
    return run


class _Everything:
    """A simulation may look at all records and updates."""

    def __init__(self, prepared: Prepared) -> None:
        self._of = prepared
        self.apart: Apart | None = None

    def compare(self, trained: TrainedRun, reference: ReferenceSet) -> Comparison:
        """Train on pooled records and on each holder's own, and value exactly."""
        of = self._of
        if is_measured(of.terms) and not of.terms.validated_by_holders:
            self.apart = take_apart(trained, reference, of.terms, of.updates)
        return compare(trained, reference, division=of.division, terms=of.terms, updates=of.updates, apart=self.apart)

    def keep(self, folder: Path) -> None:
        """Keep updates in the clear, where everybody has consented."""
        if self._of.terms.valuation.keep_updates:
            keep_updates(folder, self._of.updates, self._of.division.reference)
        elif self._of.terms.valuation.audit_blocks:
            write_reference(folder / REFERENCE, self._of.division.reference)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _timestamp() -> str:
    return _utc_now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
