"""What a run came to, as a report; beside it, where somebody could look at all records, what it is compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedjoint import __version__
from fedjoint.agreement.terms import Terms
from fedjoint.conduct.training import TrainedRun
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
    MetricsReport,
    MoneyReport,
    PrivacyReport,
    Report,
    RoundReport,
)
from fedjoint.runs.settling import UNMEASURED, SettledRun
from fedjoint.strict import build, plain
from fedjoint.training.contributions import Contributions
from fedjoint.training.release_round import OpenedRelease
from fedjoint.training.session import Session
from fedjoint.valuation.histogram import HistogramMetrics
from fedjoint.valuation.uncertainty import ErrorBars

__all__ = ["Comparison", "Outcome", "ReportHead", "is_measured", "make_report", "mean_metrics"]

#: Metrics of which less is better.
_COSTS = frozenset({"rmse"})


@dataclass(frozen=True, kw_only=True)
class ReportHead:
    """What a report says of itself."""

    name: str
    created_at: str
    timings_s: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What only somebody who can look at all records may know, by holder where that makes sense.

    Args:
        pooled: A model trained on pooled records, on all reference records.
        own_on_all: Each holder's own model on all reference records.
        own: Each holder's own model on reference records of its own kind.
        joint_own: The joint model on the same.
        num_reference: Reference records of each holder's kind.
        exact: Exact Shapley values; None where there are too many holders.
        sampling: Covariances of contributions by the choice of reference records, see
            :class:`fedjoint.valuation.uncertainty.ErrorBars`; None where they are not measured.
    """

    pooled: Metrics
    own_on_all: Mapping[str, Metrics]
    own: Mapping[str, Metrics]
    joint_own: Mapping[str, Metrics]
    num_reference: Mapping[str, int]
    exact: Mapping[str, float] | None
    sampling: tuple[tuple[float, ...], ...] | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All that a report is made of.

    Args:
        trained: The run before money.
        settled: How revenue was split.
        errors: Standard errors of the contributions.
        joint: The joint model on all reference records.
        comparison: What it is compared with; None: nobody could look at all records.
    """

    trained: TrainedRun
    settled: SettledRun
    errors: ErrorBars
    joint: Metrics
    comparison: Comparison | None = None

    @property
    def exact(self) -> Mapping[str, float] | None:
        """Exact contributions, if they are known."""
        return None if self.comparison is None else self.comparison.exact


def make_report(session: Session, outcome: Outcome, *, data: DataReport, head: ReportHead) -> Report:
    """Put together ``report.json``."""
    trained, settled = outcome.trained, outcome.settled
    privacy, rounds = session.terms.privacy, max(len(trained.rounds), 1)
    return Report(
        name=head.name,
        run_id=session.run_id,
        agreement_sha256=session.agreement.sha256,
        created_at=head.created_at,
        fedjoint_version=__version__,
        dataset=session.terms.data.name,
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
        metrics=_metrics(outcome),
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
        holders=tuple(_holder(holder, session.terms, outcome) for holder in session.terms.holder_ids),
        utility_gain=trained.utility_gain,
        contributions=_contributions(session.terms, outcome),
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


def _metrics(outcome: Outcome) -> MetricsReport:
    known = outcome.comparison
    if known is None:
        return MetricsReport(joint=outcome.joint)
    return MetricsReport(
        joint=outcome.joint,
        pooled=known.pooled,
        local_on_all=mean_metrics(list(known.own_on_all.values())),
        local_own=mean_metrics(list(known.own.values())),
        joint_own=mean_metrics(list(known.joint_own.values())),
    )


def _holder(holder: str, terms: Terms, outcome: Outcome) -> HolderReport:
    party, trained, settled = terms.holder(holder), outcome.trained, outcome.settled
    receipts = [summary.receipts[holder] for summary in trained.rounds if holder in summary.receipts]
    known, exact, settlement = outcome.comparison, outcome.exact, settled.settlement
    own, joint = (known.own[holder], known.joint_own[holder]) if known else ({}, {})
    return HolderReport(
        id=holder,
        name=party.identity.name,
        num_examples=party.num_examples,
        num_reference=known.num_reference[holder] if known else None,
        rounds=len(receipts),
        epsilon=receipts[-1].epsilon if receipts else None,
        epsilon_if_opened=receipts[-1].epsilon_if_opened if receipts else None,
        own_model=own,
        own_model_on_all=known.own_on_all[holder] if known else {},
        joint_model=joint,
        loses_by=_losses(own, joint),
        contribution=trained.contributions.by_holder[holder],
        contribution_exact=exact[holder] if exact is not None and is_measured(terms) else None,
        share=float(settlement.shares[holder]),
        share_exact=settled.statements[holder].share,
        payout_minor=settlement.payouts_minor[holder],
        noise_error=outcome.errors.noise[holder],
        sampling_error=outcome.errors.sampling_error(holder),
        sampling_at_most=outcome.errors.bound(holder),
        sampling_exact=_sampling_exact(holder, terms, outcome),
    )


def _sampling_exact(holder: str, terms: Terms, outcome: Outcome) -> float | None:
    if outcome.comparison is None or outcome.comparison.sampling is None:
        return None
    place = terms.holder_ids.index(holder)
    return math.sqrt(outcome.comparison.sampling[place][place])


def _losses(own: Metrics, joint: Metrics) -> tuple[str, ...]:
    """Metrics in which joining made a holder worse off."""
    worse = []
    for name, alone in own.items():
        together = joint[name]
        if alone is not None and together is not None and (together > alone if name in _COSTS else together < alone):
            worse.append(name)
    return tuple(worse)


def _contributions(terms: Terms, outcome: Outcome) -> ContributionReport:
    found, gain, exact = outcome.trained.contributions, outcome.trained.utility_gain, outcome.exact
    if not is_measured(terms):
        return _unmeasured(found, exact, terms)
    total = float(sum(found.by_holder.values()))
    values = np.array(list(found.by_holder.values()))
    others = None if exact is None else np.array([exact[holder] for holder in found.by_holder])
    return ContributionReport(
        method="Aumann-Shapley value on ciphertexts"
        + (", along gradients of records that holders keep out of training" if terms.validated_by_holders else ""),
        total=total,
        gap=abs(total - gain) / abs(gain) if gain else None,
        numbers_opened=found.numbers_opened,
        openers=found.openers,
        rank_correlation=None if others is None else _rank_correlation(values, others),
        largest_difference=None if others is None else float(np.abs(values - others).max()),
        misallocated=None if exact is None else _misallocated(found.by_holder, exact),
        paid_alike=outcome.settled.paid_alike,
        materiality=terms.money.materiality,
        materiality_errors=terms.money.materiality_errors,
        materiality_z=terms.money.materiality_z,
        reference=terms.valuation.reference,
        error_numbers=outcome.errors.numbers,
        errors_agreed=terms.valuation.error_numbers > 0,
    )


def is_measured(terms: Terms) -> bool:
    """Whether contributions are measured, or each holder counts for what was agreed."""
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
        materiality_errors=terms.money.materiality_errors,
        materiality_z=terms.money.materiality_z,
    )


def _rank_correlation(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float | None:
    """Spearman's; None where one side is constant."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    from scipy.stats import spearmanr  # half a second to load, and an exchange compares nothing

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


def mean_metrics(several: Sequence[Mapping[str, float | None]]) -> Metrics:
    """The mean of each metric over those that have it; None where none has.

    Example:
        >>> mean_metrics([{"auc": 0.5}, {"auc": None}, {"auc": 1.0}])
        {'auc': 0.75}
    """
    means: Metrics = {}
    for name in several[0]:
        known = [value for metrics in several if (value := metrics[name]) is not None]
        means[name] = float(np.mean(known)) if known else None
    return means
