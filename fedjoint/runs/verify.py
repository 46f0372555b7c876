"""Everything that can be computed again from a run's folder alone, check by check.

Each check either passes, fails with the place named, or is skipped because one it rests on failed. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fedjoint.agreement.signing import MAX_AGREEMENT_BYTES, SignedAgreement, read_agreement
from fedjoint.errors import FedjointError, RecordError
from fedjoint.pool.statement import MAX_STATEMENT_BYTES, Statement, read_statement
from fedjoint.pool.store_sql import LedgerStore
from fedjoint.record.log import read_record
from fedjoint.runs.blocks import check_blocks
from fedjoint.runs.folder import AGREEMENT, LEDGER, RECORD, REPORT, STATEMENTS, file_hashes
from fedjoint.runs.recompute import (
    check_confirmations,
    check_contributions,
    check_model,
    check_openings,
    check_receipts,
)
from fedjoint.runs.recorded import RecordedRun, read_recorded_run
from fedjoint.runs.released import account_of, check_released, metrics_of
from fedjoint.runs.report import read_report
from fedjoint.runs.settling import SettledRun, settle_run
from fedjoint.runs.validated import check_validation

__all__ = ["Check", "verify_run"]

Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of a verification."""

    name: str
    outcome: Outcome
    detail: str


@dataclass(kw_only=True)
class _Evidence:
    """What checks have established so far, for those that rest on them."""

    folder: Path
    expected_agreement: str | None
    agreement: SignedAgreement = field(init=False)
    run: RecordedRun = field(init=False)
    settled: SettledRun = field(init=False)


def verify_run(folder: Path, *, agreement_sha256: str | None = None) -> Iterator[Check]:
    """Check a run's folder, giving out one line for each check.

    Args:
        folder: ``runs/<name>``.
        agreement_sha256: The agreement that the reader expects. Without it a folder made anew by somebody else, with
            other keys, would pass as well: whoever signed a run knows its agreement's hash.

    Raises:
        RecordError: there is no such folder.

    Guarantees:
        A folder in which any byte of any file was changed, or a file added or removed, has a check that fails.
    """
    if not folder.is_dir():
        raise RecordError(f"there is no run folder {folder}", remedy="Name one, such as runs/NAME.")
    evidence = _Evidence(folder=folder, expected_agreement=agreement_sha256)
    passed: set[str] = set()
    for name, rests_on, check in _CHECKS:
        missing = [other for other in rests_on if other not in passed]
        if missing:
            yield Check(name=name, outcome="skipped", detail=f"rests on: {', '.join(missing)}")
            continue
        try:
            detail = check(evidence)
        except FedjointError as problem:
            yield Check(name=name, outcome="failed", detail=str(problem))
        except OSError as problem:
            yield Check(name=name, outcome="failed", detail=f"{problem.filename} cannot be read: {problem.strerror}")
        else:
            passed.add(name)
            yield Check(name=name, outcome="passed", detail=detail)


def _agreement(evidence: _Evidence) -> str:
    with (evidence.folder / AGREEMENT).open("rb") as file:
        agreement = read_agreement(file.read(MAX_AGREEMENT_BYTES + 1))
    agreement.require_all_signatures()
    if evidence.expected_agreement not in (None, agreement.sha256):
        raise RecordError(f"{AGREEMENT} is {agreement.sha256}", expected=str(evidence.expected_agreement))
    evidence.agreement = agreement
    return f"{agreement.sha256[:16]}… signed by all {len(agreement.signatures)} parties"


def _record(evidence: _Evidence) -> str:
    agreement = evidence.agreement
    holders = {holder.identity.id: holder.identity for holder in agreement.terms.holders}
    coordinator = agreement.terms.coordinator
    record = read_record(evidence.folder / RECORD, agreement.sha256, coordinator, witnesses=holders)
    evidence.run = read_recorded_run(record.events, agreement)
    witnesses = len(record.checkpoint.witnesses)
    return (
        f"{len(record.events)} events under one Merkle root, signed by '{coordinator.id}', "
        f"witnessed by {witnesses} of {len(holders)} holders"
    )


def _files(evidence: _Evidence) -> str:
    stated = evidence.run.files
    found = file_hashes(evidence.folder)
    missing, added = sorted(set(stated) - set(found)), sorted(set(found) - set(stated))
    changed = sorted(name for name in set(stated) & set(found) if stated[name] != found[name])
    problems = [
        f"{what}: {', '.join(names)}"
        for what, names in (("changed", changed), ("missing", missing), ("not part of the run", added))
        if names
    ]
    if problems:
        raise RecordError("; ".join(problems), remedy="Get the folder again from who made it.")
    return f"{len(found)} files as they were when the run closed"


def _settlement(evidence: _Evidence) -> str:
    run = evidence.run
    settled = settle_run(
        evidence.agreement,
        run.run_id,
        revenue=run.revenue,
        contributions=run.contributions,
        utility_gain=run.utility_gain,
        errors=run.errors,
    )
    if dict(settled.settlement.payouts_minor) != run.payouts_minor:
        raise RecordError("the payouts in the record are not what the contributions give")
    evidence.settled = settled
    return f"{settled.settlement.gross_minor} minor units split into fee, reserve and {len(run.payouts_minor)} payouts"


def _ledger(evidence: _Evidence) -> str:
    with LedgerStore.open_readonly(evidence.folder / LEDGER) as ledger:
        problems = ledger.check()
        entries = tuple(ledger.entries())
    if problems:
        raise RecordError(f"{LEDGER}: {problems[0]} ({len(problems)} problems)")
    if entries != evidence.settled.entries:
        raise RecordError(f"{LEDGER} has other entries than the settlement gives")
    return f"{len(entries)} entries balance and are those of the settlement"


def _statements(evidence: _Evidence) -> str:
    coordinator = evidence.agreement.terms.coordinator
    for holder, expected in evidence.settled.statements.items():
        path = evidence.folder / STATEMENTS / f"{holder}.json"
        if path.stat().st_size > MAX_STATEMENT_BYTES:
            raise RecordError(f"{path.name} has {path.stat().st_size} bytes", expected=f"at most {MAX_STATEMENT_BYTES}")
        if _named(path, coordinator) != expected:
            raise RecordError(f"{STATEMENTS}/{path.name} says something else than the settlement")
    return f"{len(evidence.settled.statements)} statements, signed, as the settlement gives them"


def _named(path: Path, coordinator: Any) -> Statement:
    try:
        return read_statement(path.read_bytes(), coordinator)
    except FedjointError as problem:
        raise RecordError(f"{STATEMENTS}/{path.name}: {problem}") from None


def _report(evidence: _Evidence) -> str:
    report, run, split = read_report(evidence.folder / REPORT), evidence.run, evidence.settled.settlement
    money = report.money
    pairs: dict[str, tuple[object, object]] = {
        "agreement_sha256": (report.agreement_sha256, evidence.agreement.sha256),
        "run_id": (report.run_id, run.run_id),
        "end": (report.end, run.end),
        "utility_gain": (report.utility_gain, run.utility_gain),
        "rounds": ([r.loss for r in report.rounds], [r.loss for r in run.rounds]),
        "round metrics": ([r.metrics for r in report.rounds], [r.metrics for r in run.rounds]),
        "contribution": ({h.id: h.contribution for h in report.holders}, run.contributions),
        "errors": (
            {h.id: (h.noise_error, h.sampling_error, h.sampling_at_most) for h in report.holders},
            {h: (run.errors.noise[h], run.errors.sampling_error(h), run.errors.bound(h)) for h in run.contributions},
        ),
        "error numbers": (
            (report.contributions.error_numbers, report.contributions.errors_agreed),
            (run.errors.numbers, evidence.agreement.terms.valuation.error_numbers > 0),
        ),
        "paid alike": (report.contributions.paid_alike, evidence.settled.paid_alike),
        "epsilon": ({h.id: h.epsilon for h in report.holders}, run.epsilons),
        "account": (report.privacy.account, account_of(run, evidence.agreement)),
        "private metrics": (report.private_metrics, metrics_of(run, evidence.agreement)),
        "payout_minor": ({h.id: h.payout_minor for h in report.holders}, dict(split.payouts_minor)),
        "money": (
            (money.gross_minor, money.fee_minor, money.reserve_minor, money.distributed_minor, money.suspense_minor),
            (split.gross_minor, split.fee_minor, split.reserve_minor, split.distributed_minor, split.suspense_minor),
        ),
    }
    wrong = [name for name, (said, recorded) in pairs.items() if said != recorded]
    if wrong:
        raise RecordError(f"{REPORT} differs from the record in: {', '.join(wrong)}")
    return f"{len(pairs)} groups of figures are those of record and settlement"


def _openings(evidence: _Evidence) -> str:
    run, agreement = evidence.run, evidence.agreement
    return check_openings(run, agreement) + check_blocks(evidence.folder, run, agreement)


def _model(evidence: _Evidence) -> str:
    return check_model(evidence.folder, evidence.run, evidence.agreement)


def _validation(evidence: _Evidence) -> str:
    return check_validation(evidence.folder, evidence.run, evidence.agreement)


_Checker = Callable[[_Evidence], str]
_CHECKS: tuple[tuple[str, tuple[str, ...], _Checker], ...] = (
    ("agreement", (), _agreement),
    ("record", ("agreement",), _record),
    ("files", ("record",), _files),
    ("receipts", ("record",), lambda evidence: check_receipts(evidence.run, evidence.agreement)),
    ("released once", ("record",), lambda evidence: check_released(evidence.run, evidence.agreement)),
    ("confirmations", ("record",), lambda evidence: check_confirmations(evidence.run, evidence.agreement)),
    ("openings", ("record",), _openings),
    ("model", ("record",), _model),
    ("validation", ("model",), _validation),
    ("contributions", ("record",), lambda evidence: check_contributions(evidence.run, evidence.agreement)),
    ("settlement", ("record",), _settlement),
    ("ledger", ("settlement",), _ledger),
    ("statements", ("settlement",), _statements),
    ("report", ("settlement",), _report),
)
