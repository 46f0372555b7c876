"""What a simulated run came to, compared with what each holder could have had alone, as a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from fedjoint import __version__
from fedjoint.agreement.terms import Terms
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.division import Division
from fedjoint.encryption.parameters import SECURITY
from fedjoint.models.tasks import Metrics
from fedjoint.pool.shares import shares_from_contributions
from fedjoint.privacy.releases import Cost, dearest, itemised
from fedjoint.privacy.sum_plan import metrics_plan
from fedjoint.runs.released import released_metrics
from fedjoint.runs.report import (
    ContributionReport,
    DataReport,
    HolderReport,
    LeftOutReport,
    MetricsReport,
    MoneyReport,
    PrivacyReport,
    Report,
    RoundReport,
)
from fedjoint.runs.settling import UNMEASURED, SettledRun
from fedjoint.simulation.exact import UpdateLog, exact_contributions
from fedjoint.simulation.reference import ReferenceSet, mean_metrics, train_baselines
from fedjoint.simulation.running import TrainedRun
from fedjoint.simulation.sampling import path_influences
from fedjoint.strict import build, plain
from fedjoint.training.contributions import Contributions
from fedjoint.training.release_round import OpenedRelease
from fedjoint.training.session import Session
from fedjoint.valuation.histogram import HistogramMetrics
from fedjoint.valuation.uncertainty import ErrorBars, sampling_covariance

__all__ = ["Comparison", "ReportHead", "compare", "describe_data", "make_report"]

#: Metrics of which less is better.
_COSTS = frozenset({"rmse"})


@dataclass(frozen=True, kw_only=True)
class ReportHead:
    """What a report says of itself."""

    name: str
    dataset: str
    created_at: str
    timings_s: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The joint model beside others, on the reference set; by holder where that makes sense.

    Args:
        joint: The joint model on all records.
        pooled: A model trained on pooled records.
        own_on_all: Each holder's own model on all records.
        own: Each holder's own model on records of its own kind.
        joint_own: The joint model on the same.
        num_reference: Reference records of each holder's kind.
        exact: Exact Shapley values; None where there are too many holders.
        errors: Standard errors of the contributions.
    """

    joint: Metrics
    pooled: Metrics
    own_on_all: Mapping[str, Metrics]
    own: Mapping[str, Metrics]
    joint_own: Mapping[str, Metrics]
    num_reference: Mapping[str, int]
    exact: Mapping[str, float] | None
    errors: ErrorBars


def compare(
    trained: TrainedRun, division: Division, reference: ReferenceSet, terms: Terms, updates: UpdateLog
) -> Comparison:
    """Train what the joint model is measured against, and value the run exactly where that is possible."""
    baselines = train_baselines(division, terms)
    ids = terms.holder_ids
    models = [model.astype(np.float64) for model in trained.models]
    contributors = [summary.contributors for summary in trained.rounds]
    return Comparison(
        joint=reference.metrics(trained.model),
        pooled=reference.metrics(baselines.pooled),
        own_on_all={holder: reference.metrics(baselines.alone[holder]) for holder in ids},
        own={holder: reference.metrics_of(baselines.alone[holder], holder) for holder in ids},
        joint_own={holder: reference.metrics_of(trained.model, holder) for holder in ids},
        num_reference={holder: int(np.sum(reference.holder_of == holder)) for holder in ids},
        exact=exact_contributions(updates, models, contributors, reference, terms),
        errors=ErrorBars(
            noise=dict(trained.contributions.noise_errors),
            sampling=sampling_covariance(path_influences(updates, models, contributors, reference, terms))
            if _measured(terms)
            else None,
        ),
    )


def describe_data(dataset: Dataset, division: Division) -> DataReport:
    """What a report says of the data."""
    notes = [*dataset.notes, *dataset.schema.notes]
    notes += [f"'{holder}' trains on records of one class only" for holder in division.one_class]
    return DataReport(
        title=dataset.title or dataset.name,
        task=dataset.schema.target.task,
        target=dataset.schema.target.name,
        num_features=dataset.schema.width,
        num_reference=len(division.reference),
        licence=dataset.licence,
        citation=dataset.citation,
        notes=tuple(dict.fromkeys(notes)),
        left_out=tuple(LeftOutReport(name=one.name, reason=one.reason) for one in division.left_out),
    )


def make_report(
    session: Session,
    *,
    trained: TrainedRun,
    settled: SettledRun,
    comparison: Comparison,
    data: DataReport,
    head: ReportHead,
) -> Report:
    """Put together ``report.json``."""
    privacy, rounds = session.terms.privacy, max(len(trained.rounds), 1)
    return Report(
        name=head.name,
        run_id=session.run_id,
        agreement_sha256=session.agreement.sha256,
        created_at=head.created_at,
        fedjoint_version=__version__,
        dataset=head.dataset,
        data=data,
        privacy=build(
            PrivacyReport,
            plain(privacy)
            | {
                "account": plain(_account(session.terms, trained)),
                "sizes_noise_sd": session.terms.releases.sizes_noise_multiplier,
            },
        ),
        encryption=f"BFV, scheme '{session.terms.encryption.scheme}': {SECURITY}",
        end=trained.end,
        metrics=_metrics(comparison),
        rounds=tuple(
            RoundReport(
                round=summary.round,
                auc=summary.metrics.get("auc"),
                metrics=dict(summary.metrics),
                loss=summary.loss,
                contributors=summary.contributors,
                refusals={holder: refusal.code for holder, refusal in summary.refusals.items()},
            )
            for summary in trained.rounds
        ),
        holders=tuple(
            _holder(holder, session.terms, trained, settled, comparison) for holder in session.terms.holder_ids
        ),
        utility_gain=trained.utility_gain,
        contributions=_contributions(session.terms, trained, settled, comparison.exact),
        money=_money(settled),
        timings_s={name: round(seconds, 3) for name, seconds in head.timings_s.items()},
        bytes_up_per_round=round(trained.bytes_up / rounds),
        bytes_down_per_round=round(trained.bytes_down / rounds),
        private_metrics=_private_metrics(session.terms, trained.histogram),
    )


def _account(terms: Terms, trained: TrainedRun) -> tuple[Cost, ...]:
    """What each purpose cost the holder that spent most."""
    last = {holder: receipt for summary in trained.rounds for holder, receipt in summary.receipts.items()}
    return itemised(terms, dearest(receipt.releases for receipt in last.values())) if terms.privacy.delta else ()


def _private_metrics(terms: Terms, histogram: OpenedRelease | None) -> HistogramMetrics | None:
    if histogram is None:
        return None
    return released_metrics(metrics_plan(terms), histogram.values, num_holders=len(histogram.contributors))


def _metrics(comparison: Comparison) -> MetricsReport:
    return MetricsReport(
        joint=comparison.joint,
        pooled=comparison.pooled,
        local_on_all=mean_metrics(list(comparison.own_on_all.values())),
        local_own=mean_metrics(list(comparison.own.values())),
        joint_own=mean_metrics(list(comparison.joint_own.values())),
    )


def _holder(
    holder: str, terms: Terms, trained: TrainedRun, settled: SettledRun, comparison: Comparison
) -> HolderReport:
    party = terms.holder(holder)
    receipts = [summary.receipts[holder] for summary in trained.rounds if holder in summary.receipts]
    settlement = settled.settlement
    return HolderReport(
        id=holder,
        name=party.identity.name,
        num_examples=party.num_examples,
        num_reference=comparison.num_reference[holder],
        rounds=len(receipts),
        epsilon=receipts[-1].epsilon if receipts else None,
        epsilon_if_opened=receipts[-1].epsilon_if_opened if receipts else None,
        own_model=comparison.own[holder],
        own_model_on_all=comparison.own_on_all[holder],
        joint_model=comparison.joint_own[holder],
        loses_by=_losses(comparison.own[holder], comparison.joint_own[holder]),
        contribution=trained.contributions.by_holder[holder],
        contribution_exact=comparison.exact[holder] if comparison.exact is not None and _measured(terms) else None,
        share=float(settlement.shares[holder]),
        share_exact=settled.statements[holder].share,
        payout_minor=settlement.payouts_minor[holder],
        noise_error=comparison.errors.noise[holder],
        sampling_error=comparison.errors.sampling_error(holder),
    )


def _losses(own: Metrics, joint: Metrics) -> tuple[str, ...]:
    """Metrics in which joining made a holder worse off."""
    worse = []
    for name, alone in own.items():
        together = joint[name]
        if alone is not None and together is not None and (together > alone if name in _COSTS else together < alone):
            worse.append(name)
    return tuple(worse)


def _contributions(
    terms: Terms, trained: TrainedRun, settled: SettledRun, exact: Mapping[str, float] | None
) -> ContributionReport:
    found, gain = trained.contributions, trained.utility_gain
    if not _measured(terms):
        return _unmeasured(found, exact, terms)
    total = float(sum(found.by_holder.values()))
    values = np.array(list(found.by_holder.values()))
    others = None if exact is None else np.array([exact[holder] for holder in found.by_holder])
    return ContributionReport(
        method="Aumann-Shapley value on ciphertexts",
        total=total,
        gap=abs(total - gain) / abs(gain) if gain else None,
        numbers_opened=found.numbers_opened,
        openers=found.openers,
        rank_correlation=None if others is None else _rank_correlation(values, others),
        largest_difference=None if others is None else float(np.abs(values - others).max()),
        misallocated=None if exact is None else _misallocated(found.by_holder, exact),
        paid_alike=settled.paid_alike,
        materiality=terms.money.materiality,
        materiality_z=terms.money.materiality_z,
    )


def _measured(terms: Terms) -> bool:
    return terms.valuation.method != "none"


def _unmeasured(found: Contributions, exact: Mapping[str, float] | None, terms: Terms) -> ContributionReport:
    """Agreed shares, which no utility is gained by; money is still compared with what exact values would give."""
    return ContributionReport(
        method=f"not measured: shares {UNMEASURED[terms.valuation.unmeasured]}",
        total=float(sum(found.by_holder.values())),
        gap=None,
        numbers_opened=0,
        openers=(),
        rank_correlation=None,
        largest_difference=None,
        misallocated=None if exact is None else _misallocated(found.by_holder, exact),
        paid_alike=(),
        materiality=terms.money.materiality,
        materiality_z=terms.money.materiality_z,
    )


def _rank_correlation(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float | None:
    """Spearman's; None where one side is constant."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(spearmanr(one, other).statistic)


def _misallocated(found: Mapping[str, float], exact: Mapping[str, float]) -> float:
    """Fraction of the money that the exact values would give to somebody else: half the L1 distance of the shares."""
    paid, right = shares_from_contributions(found), shares_from_contributions(exact)
    return float(sum(abs(paid[holder] - right[holder]) for holder in found) / 2)


def _money(settled: SettledRun) -> MoneyReport:
    split = settled.settlement
    return MoneyReport(
        currency=split.currency,
        gross_minor=split.gross_minor,
        fee_minor=split.fee_minor,
        reserve_minor=split.reserve_minor,
        distributed_minor=split.distributed_minor,
        suspense_minor=split.suspense_minor,
    )
