"""One run from its first message to its folder: train, value, settle, report, and write what anyone can verify."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol

from fedjoint.agreement.canonical import canonical_bytes
from fedjoint.agreement.terms import Terms
from fedjoint.conduct.reference import ReferenceSet, Yardstick
from fedjoint.conduct.reporting import Comparison, Outcome, ReportHead, make_report
from fedjoint.conduct.training import Conditions, RunSuspended, TrainedRun, train
from fedjoint.errors import RecordError
from fedjoint.identity.keys import Identity
from fedjoint.models.vector import save_model
from fedjoint.pool.gate import Gate, ask_gate
from fedjoint.pool.statement import sign_statement
from fedjoint.pool.store_sql import LedgerStore
from fedjoint.record.log import CLOSED, AskWitnesses, Event, RunRecord, origin_of
from fedjoint.runs.blocks import blocks_to_bytes
from fedjoint.runs.folder import (
    AGREEMENT,
    BLOCKS,
    GRADIENTS,
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
from fedjoint.runs.replay import gradients_to_bytes, keeps_sums, sums_to_bytes
from fedjoint.runs.report import DataReport, Report, read_report
from fedjoint.runs.report_html import render_report
from fedjoint.runs.settling import Revenue, settle_run
from fedjoint.strict import plain
from fedjoint.training.contributions import Contributions
from fedjoint.training.local_update import agreed_module
from fedjoint.training.session import Session
from fedjoint.transport.holder_grid import HolderGrid
from fedjoint.valuation.uncertainty import ErrorBars

__all__ = ["Commission", "ConductedRun", "Insight", "conduct_run"]

#: Events between two signed and witnessed checkpoints of the record.
_BATCH_EVENTS = 64


class Insight(Protocol):
    """What somebody who can look at all records adds to a run: nobody outside a simulation can."""

    def compare(self, trained: TrainedRun, reference: ReferenceSet) -> Comparison:
        """Compare the joint model with others."""
        ...

    def keep(self, folder: Path) -> None:
        """Leave files in the run's folder, if the agreement allows it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Commission:
    """What a coordinator is to do.

    Args:
        session: The run, under an agreement that everybody has signed.
        coordinator: The coordinator's keys.
        reference: What the model is measured on, as agreed.
        data: What the report says of the data.
        folder: Where run folders stand.
        name: Of the run's.
        gross_minor: The revenue that is split, in minor units.
        buyer: Who pays it.
        now: Gives the time, ISO 8601 in UTC.
        witnesses: Who countersigns the record's checkpoints; None: nobody.
        work: Where its files are collected, so that another process can take the run up if this one is killed; None:
            it ends with this process.
        gate: Asks the pool's registry whether the run may start, or go on, today; None: an agreement that names
            registered datasets is refused.
    """

    session: Session
    coordinator: Identity
    reference: ReferenceSet
    data: DataReport
    folder: Path
    name: str
    gross_minor: int
    buyer: str
    now: Callable[[], str]
    witnesses: AskWitnesses | None = None
    work: Path | None = None
    gate: Gate | None = None

    @property
    def terms(self) -> Terms:
        """What was agreed."""
        return self.session.terms


@dataclass(frozen=True, kw_only=True)
class ConductedRun:
    """A finished run: its folder and its report."""

    folder: Path
    report: Report


def conduct_run(
    commission: Commission, grid: HolderGrid, *, conditions: Conditions, insight: Insight | None = None
) -> ConductedRun:
    """Conduct a run to its end and leave its folder.

    Args:
        commission: What is to be done.
        grid: How the holders are reached.
        conditions: Who hears of it, and how long holders have.
        insight: What only a simulation may know.

    Raises:
        FedjointError: whatever stands against the run, in words, such as the pool's registry; no folder is left then.
        RunSuspended: it goes on later, from ``commission.work`` and ``conditions.store``.
    """
    session, work = commission.session, commission.work
    with (
        NewRunFolder(commission.folder, commission.name, work=work) as folder,
        RunRecord(
            folder.path(RECORD),
            origin_of(session.agreement.sha256, session.run_id),
            commission.coordinator,
            now=commission.now,
            batch_events=_BATCH_EVENTS,
            witnesses=commission.witnesses,
            resume=work is not None,
        ) as record,
    ):
        if (closed := record.find(CLOSED)) is not None:
            return _published(folder, closed)
        ask_gate(commission.gate, commission.terms, date.fromisoformat(commission.now()[:10]))
        folder.clear()
        try:
            report = _conducted(commission, grid, (folder, record), conditions=conditions, insight=insight)
        except RunSuspended:
            folder.keep()
            raise
        return ConductedRun(folder=folder.publish(), report=report)


def _conducted(
    commission: Commission,
    grid: HolderGrid,
    outputs: tuple[NewRunFolder, RunRecord],
    *,
    conditions: Conditions,
    insight: Insight | None,
) -> Report:
    """Train, compare where somebody can, settle, and write everything into the folder and the record."""
    (folder, record), session = outputs, commission.session
    yardstick = Yardstick(commission.reference, commission.terms.data.schema)
    trained = train(session, commission.coordinator, grid, yardstick, log=record.append, conditions=conditions)
    comparison = None
    if insight is not None:
        with conditions.stopwatch.stage("comparison"):
            comparison = insight.compare(trained, yardstick.reference)
    before = record.find("run.settled")  # by a process that was killed right after: it happened then
    at = str(before.body["at"]) if before else commission.now()
    revenue = Revenue(gross_minor=commission.gross_minor, buyer=commission.buyer, at=at)
    outcome = _settled(commission, trained, yardstick, revenue=revenue, comparison=comparison)
    if outcome.errors.sampling is not None:
        record.append("contributions.sampled", {"sampling": outcome.errors.sampling})
    record.append("run.settled", _settled_facts(revenue, outcome))
    head = ReportHead(name=commission.name, created_at=at, timings_s=conditions.stopwatch.seconds)
    report = make_report(session, outcome, data=commission.data, head=head)
    _write_files(folder, commission, outcome, report)
    if insight is not None:
        insight.keep(folder.path())
    record.append(CLOSED, {"end": trained.end, "files": file_hashes(folder.path())})
    return report


def _published(folder: NewRunFolder, closed: Event) -> ConductedRun:
    """A run whose process was killed when everything was written and nothing had its name yet."""
    if file_hashes(folder.path()) != closed.body["files"]:
        raise RecordError(
            "the files of a run that was closed are not those that its record names",
            remedy="They were altered after the exchange was killed: compare with a backup.",
        )
    report = read_report(folder.path(REPORT))
    return ConductedRun(folder=folder.publish(), report=report)


def _settled(
    commission: Commission,
    trained: TrainedRun,
    yardstick: Yardstick,
    *,
    revenue: Revenue,
    comparison: Comparison | None,
) -> Outcome:
    """Split the revenue by the contributions."""
    errors = _errors(commission.terms, trained.contributions, comparison)
    settled = settle_run(
        commission.session.agreement,
        commission.session.run_id,
        revenue=revenue,
        contributions=trained.contributions.by_holder,
        utility_gain=trained.utility_gain,
        errors=errors,
    )
    joint = yardstick.metrics(trained.model)
    return Outcome(trained=trained, settled=settled, errors=errors, joint=joint, comparison=comparison)


def _errors(terms: Terms, found: Contributions, comparison: Comparison | None) -> ErrorBars:
    """Standard errors: as holders opened them where that was agreed, else as a simulation computes them."""
    bounds = None if found.sampling_bounds is None else dict(found.sampling_bounds)
    if terms.valuation.error_numbers:
        numbers = terms.valuation.error_numbers if found.sampling is not None else None
        return ErrorBars(noise=dict(found.noise_errors), sampling=found.sampling, numbers=numbers, bounds=bounds)
    sampling = None if comparison is None else comparison.sampling
    return ErrorBars(noise=dict(found.noise_errors), sampling=sampling, bounds=bounds)


def _write_files(folder: NewRunFolder, commission: Commission, outcome: Outcome, report: Report) -> None:
    """Everything of a run but its record."""
    session, trained = commission.session, outcome.trained
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
        if trained.gradients:
            folder.write(gradients_to_bytes([opened.values for opened in trained.gradients]), GRADIENTS)
    if trained.blocks:
        folder.write(blocks_to_bytes(trained.blocks), BLOCKS)
    save_model(folder.path(MODEL), trained.model, module=module, metadata=words)
    for holder, statement in outcome.settled.statements.items():
        document = sign_statement(statement, commission.coordinator)
        folder.write(canonical_bytes(document), STATEMENTS, f"{holder}.json")
    with LedgerStore.open(f"sqlite:///{folder.path(LEDGER).resolve()}") as ledger:
        ledger.post(outcome.settled.entries)
    folder.write(report.to_bytes(), REPORT)
    folder.write(render_report(report), REPORT_PAGE)


def _settled_facts(revenue: Revenue, outcome: Outcome) -> dict[str, object]:
    split = outcome.settled.settlement
    return {
        "gross_minor": revenue.gross_minor,
        "currency": split.currency,
        "buyer": revenue.buyer,
        "at": revenue.at,
        "utility_gain": outcome.trained.utility_gain,
        "payouts_minor": dict(split.payouts_minor),
    }
