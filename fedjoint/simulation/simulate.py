"""The main path, end to end: data, agreement, keys, training, contributions, settlement, a verifiable folder."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from fedjoint.agreement.canonical import canonical_bytes
from fedjoint.agreement.signing import SignedAgreement
from fedjoint.agreement.terms import Terms
from fedjoint.config import SimulationConfig
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.datasets.load import load_dataset
from fedjoint.data.division import Division, divide, standardised
from fedjoint.models.vector import save_model
from fedjoint.pool.money import parse_minor
from fedjoint.pool.statement import sign_statement
from fedjoint.pool.store_sql import LedgerStore
from fedjoint.privacy.ledger_file import LifetimeLedger
from fedjoint.record.log import CLOSED, RunRecord, origin_of
from fedjoint.runs.folder import (
    AGREEMENT,
    LEDGER,
    MODEL,
    RECORD,
    REPORT,
    REPORT_PAGE,
    STATEMENTS,
    SUMS,
    NewRunFolder,
    file_hashes,
)
from fedjoint.runs.replay import keeps_sums, sums_to_bytes
from fedjoint.runs.report import Report
from fedjoint.runs.report_html import render_report
from fedjoint.runs.settling import Revenue, SettledRun, settle_run
from fedjoint.simulation.agreeing import (
    Parties,
    bring_together,
    compose_terms,
    holders_as_witnesses,
    sign_by_all,
)
from fedjoint.simulation.budgets import create_missing_ledgers, ledgers_of
from fedjoint.simulation.exact import UpdateLog
from fedjoint.simulation.kept_updates import keep_updates
from fedjoint.simulation.outcome import ReportHead, compare, describe_data, make_report
from fedjoint.simulation.reference import ReferenceSet, Yardstick
from fedjoint.simulation.running import Stopwatch, TrainedRun, train_inline
from fedjoint.simulation.sizes import released_sizes
from fedjoint.strict import plain
from fedjoint.training.coordinator import RoundSummary
from fedjoint.training.local_update import agreed_module
from fedjoint.training.preview import CostPreview, preview_costs
from fedjoint.training.session import Session

__all__ = ["Prepared", "Progress", "SilentProgress", "SimulatedRun", "prepare", "simulate"]

_BUYER = "buyer"
#: Events between two signed and witnessed checkpoints of the record.
_BATCH_EVENTS = 64


class Progress(Protocol):
    """Hears how far a simulation is."""

    def data(self, dataset: Dataset, division: Division) -> None:
        """The data are divided."""

    def agreed(self, agreement: SignedAgreement, costs: CostPreview) -> None:
        """Everybody has signed; nothing is spent yet."""

    def round(self, summary: RoundSummary, of: int) -> None:
        """A round is done."""


class SilentProgress:
    """Says nothing."""

    def data(self, dataset: Dataset, division: Division) -> None:
        """Say nothing."""

    def agreed(self, agreement: SignedAgreement, costs: CostPreview) -> None:
        """Say nothing."""

    def round(self, summary: RoundSummary, of: int) -> None:
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
    if spending:
        create_missing_ledgers(config, dataset, ledgers, now=_timestamp)
    sizes = released_sizes(config.privacy, division, ledgers=ledgers if spending else None)
    parties = bring_together(division, observer=updates, lifetimes=ledgers, sizes=sizes)
    return Prepared(
        dataset=dataset,
        division=division,
        parties=parties,
        terms=compose_terms(config, dataset, division, parties),
        updates=updates,
        ledgers=ledgers,
        gross_minor=gross_minor,
    )


@dataclass(frozen=True, kw_only=True)
class SimulatedRun:
    """A finished simulation: its folder and its report."""

    folder: Path
    report: Report


def simulate(
    config: SimulationConfig,
    *,
    progress: Progress | None = None,
    reachable: Callable[[str, str], bool] | None = None,
) -> SimulatedRun:
    """Run all parties in this process and write the run's folder.

    Args:
        config: From :func:`fedjoint.config.load_config`.
        progress: Hears how far it is.
        reachable: (holder id, message type) to whether a message arrives, to try out what happens when one vanishes.

    Returns:
        The folder ``<run.folder>/<run.name>`` and the report in it.

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
    dataset, division, parties = prepared.dataset, prepared.division, prepared.parties
    session = Session(agreement=agreement, run_id=secrets.token_hex(16))
    name = config.run.name or _run_name(dataset.name, config.privacy.mode, session.run_id)
    yardstick = Yardstick(ReferenceSet.of(division, agreement.terms), agreement.terms.data.schema)
    with (
        closing(parties),
        NewRunFolder(Path(config.run.folder).expanduser(), name) as folder,
        RunRecord(
            folder.path(RECORD),
            origin_of(agreement.sha256, session.run_id),
            parties.coordinator,
            now=_timestamp,
            batch_events=_BATCH_EVENTS,
            witnesses=holders_as_witnesses(parties, origin_of(agreement.sha256, session.run_id)),
        ) as record,
    ):
        trained = train_inline(
            session,
            parties,
            yardstick,
            log=record.append,
            on_round=lambda summary: hears.round(summary, agreement.terms.training.rounds),
            stopwatch=stopwatch,
            reachable=reachable,
        )
        with stopwatch.stage("comparison"):
            seen = division
            if trained.standardisation is not None:
                seen = standardised(division, trained.standardisation, agreement.terms.data.schema)
            comparison = compare(trained, seen, yardstick.reference, agreement.terms, prepared.updates)
            if comparison.errors.sampling is not None:
                record.append("contributions.sampled", {"sampling": comparison.errors.sampling})
        revenue = Revenue(gross_minor=prepared.gross_minor, buyer=_BUYER, at=_timestamp())
        settled = settle_run(
            agreement,
            session.run_id,
            revenue=revenue,
            contributions=trained.contributions.by_holder,
            utility_gain=trained.utility_gain,
            errors=comparison.errors,
        )
        record.append("run.settled", _settled_facts(revenue, settled, trained))
        report = make_report(
            session,
            trained=trained,
            settled=settled,
            comparison=comparison,
            data=describe_data(dataset, division),
            head=ReportHead(name=name, dataset=dataset.name, created_at=revenue.at, timings_s=stopwatch.seconds),
        )
        _write_files(folder, session, parties, trained=trained, settled=settled, report=report)
        if agreement.terms.valuation.keep_updates:
            keep_updates(folder.path(), prepared.updates, division.reference)
        record.append(CLOSED, {"end": trained.end, "files": file_hashes(folder.path())})
        return SimulatedRun(folder=folder.publish(), report=report)


def _write_files(
    folder: NewRunFolder,
    session: Session,
    parties: Parties,
    *,
    trained: TrainedRun,
    settled: SettledRun,
    report: Report,
) -> None:
    """Everything of a run but its record."""
    folder.write(session.agreement.to_bytes(), AGREEMENT)
    module = agreed_module(session.terms)
    words = {
        "agreement_sha256": session.agreement.sha256,
        "run_id": session.run_id,
        "features": json.dumps(session.terms.data.schema.feature_names),
        "order": json.dumps([parameter for parameter, _ in module.named_parameters()]),
        "standardisation": json.dumps(plain(trained.standardisation)),
    }
    if keeps_sums(session.terms):
        folder.write(sums_to_bytes(trained.models[0], [summary.levels for summary in trained.rounds]), SUMS)
    save_model(folder.path(MODEL), trained.model, module=module, metadata=words)
    for holder, statement in settled.statements.items():
        document = sign_statement(statement, parties.coordinator)
        folder.write(canonical_bytes(document), STATEMENTS, f"{holder}.json")
    with LedgerStore.open(f"sqlite:///{folder.path(LEDGER).resolve()}") as ledger:
        ledger.post(settled.entries)
    folder.write(report.to_bytes(), REPORT)
    folder.write(render_report(report), REPORT_PAGE)


def _settled_facts(revenue: Revenue, settled: SettledRun, trained: TrainedRun) -> dict[str, object]:
    return {
        "gross_minor": revenue.gross_minor,
        "currency": settled.settlement.currency,
        "buyer": revenue.buyer,
        "at": revenue.at,
        "utility_gain": trained.utility_gain,
        "payouts_minor": dict(settled.settlement.payouts_minor),
    }


def _run_name(dataset: str, mode: str, run_id: str) -> str:
    """A name for a run that was given none: its data, mode, time, and four digits against a tie."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", dataset).strip("-")[:40] or "run"
    return f"{slug}-{mode}-{_utc_now():%Y%m%d-%H%M%S}-{run_id[:4]}"


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _timestamp() -> str:
    return _utc_now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
