"""What a run came to, as one frozen record: ``report.json``. Pictures and tables are made from it alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.errors import RecordError
from fedjoint.privacy.releases import Cost
from fedjoint.strict import build, strict
from fedjoint.valuation.histogram import HistogramMetrics

__all__ = [
    "ContributionReport",
    "DataReport",
    "HolderReport",
    "LeftOutReport",
    "MetricsReport",
    "MoneyReport",
    "PrivacyReport",
    "Report",
    "RoundReport",
    "read_report",
]

#: ``auc`` and ``accuracy`` for classes, ``r2`` and ``rmse`` for numbers,
#: ``concordance`` and ``survival_loss`` for times; None: cannot be measured on these records.
Metrics = dict[str, float | None]


@strict
@dataclass(frozen=True, kw_only=True)
class LeftOutReport:
    """A holder of the data that takes no part, and why; how few records it has is not told."""

    name: str
    reason: str


@strict
@dataclass(frozen=True, kw_only=True)
class DataReport:
    """Which data, with licence and citation; ``notes`` names corrections, substitutions and leaks."""

    title: str
    task: Literal["binary", "multiclass", "number", "survival"]
    target: str
    num_features: int
    num_reference: int
    licence: str
    citation: str
    notes: tuple[str, ...]
    left_out: tuple[LeftOutReport, ...]


@strict
@dataclass(frozen=True, kw_only=True)
class PrivacyReport:
    """How records were protected; ``insecure_seed`` set means that the noise protected nobody.

    As :class:`fedjoint.agreement.terms.PrivacyTerms`; the noise multiplier of mode ``joint`` is that of one share.
    ``sizes_noise_sd`` is that of the noise on each holder's number of examples; None where these are public constants.
    ``account`` says what each purpose cost the holder that spent most; their total is that holder's epsilon.
    """

    mode: Literal["local", "joint", "none"]
    epsilon: float | None
    delta: float | None
    clip_norm: float | None
    noise_multiplier: float | None
    insecure_seed: int | None
    colluders: int | None = None
    epsilon_if_opened: float | None = None
    contributions_noise_multiplier: float | None = None
    sizes_noise_sd: float | None = None
    account: tuple[Cost, ...] = ()
    adjacency: str = "add-or-remove"
    unit: Literal["record", "patient"] = "record"


@strict
@dataclass(frozen=True, kw_only=True)
class MetricsReport:
    """Models side by side on the exchange's reference set.

    Args:
        joint: The joint model on all reference records.
        pooled: The same model trained on pooled records without privacy, which nobody may do in earnest.
        local_on_all: Mean over holders of their own models on all reference records.
        local_own: Mean over holders of their own models on reference records of their own kind.
        joint_own: Mean over holders of the joint model on the same.

    All but the first are empty where nobody could look at all records, as nobody can outside a simulation.
    """

    joint: Metrics
    pooled: Metrics = field(default_factory=dict)
    local_on_all: Metrics = field(default_factory=dict)
    local_own: Metrics = field(default_factory=dict)
    joint_own: Metrics = field(default_factory=dict)

    @property
    def compared(self) -> bool:
        """Whether there are other models to compare with."""
        return bool(self.pooled)


@strict
@dataclass(frozen=True, kw_only=True)
class RoundReport:
    """The model after a round on the reference set; ``refusals`` is holder to the code of its refusal."""

    round: int
    auc: float | None
    metrics: Metrics
    loss: float
    contributors: tuple[str, ...]
    refusals: dict[str, str]


@strict
@dataclass(frozen=True, kw_only=True)
class HolderReport:
    """One holder.

    Args:
        id: Its id.
        name: Its name.
        num_examples: Records, or patients where that is the unit of privacy, as the agreement states them: certified,
            or with noise of ``privacy.sizes_noise_sd``.
        num_reference: Reference records of its own kind; None where that is not known.
        rounds: Rounds it took part in.
        epsilon: What they cost at the agreed delta; None without privacy.
        epsilon_if_opened: What they would cost if its own ciphertexts were opened; mode ``joint`` only.
        own_model: Its own model on reference records of its own kind; empty, as are the other two, where nobody could
            look at all records.
        own_model_on_all: Its own model on all reference records.
        joint_model: The joint model on reference records of its own kind.
        loses_by: Metrics in which the joint model is worse for it than its own.
        contribution: Aumann-Shapley value, in units of the utility; where it is not measured, the agreed share.
        contribution_exact: Exact Shapley value of the same games; None where there are too many holders to compute it,
            it has nothing to stand beside, or nobody could look at all records.
        share: Of the distributable revenue, in [0, 1].
        share_exact: The same as a fraction, ``numerator/denominator``.
        payout_minor: In minor units.
        noise_error: Standard error of the contribution by privacy noise.
        sampling_error: The same by the choice of reference records; None where it was not measured.
        sampling_at_most: Where only that is known, a bound of it.
        sampling_exact: What it is by every update, which only a simulation knows; None elsewhere.
    """

    id: str
    name: str
    num_examples: int
    num_reference: int | None
    rounds: int
    epsilon: float | None
    own_model: Metrics
    own_model_on_all: Metrics
    joint_model: Metrics
    loses_by: tuple[str, ...]
    contribution: float
    contribution_exact: float | None
    share: float
    share_exact: str
    payout_minor: int
    noise_error: float
    sampling_error: float | None
    epsilon_if_opened: float | None = None
    sampling_at_most: float | None = None
    sampling_exact: float | None = None

    @property
    def standard_error(self) -> float:
        """Both errors of the contribution together."""
        return math.hypot(self.noise_error, self.sampling_error or 0.0)


@strict
@dataclass(frozen=True, kw_only=True)
class ContributionReport:
    """How contributions were measured and how good the numbers are.

    Args:
        method: Name of the value.
        total: Sum over holders.
        gap: ``|total - utility_gain| / |utility_gain|``.
        numbers_opened: How many numbers of each holder left encryption.
        openers: Holders that decrypted them alike.
        rank_correlation: Spearman, with the exact values; None where there are none.
        largest_difference: From the exact values, in units of the utility.
        misallocated: Half the L1 distance of the shares from those of the exact values, in [0, 1]; before the rule of
            paying alike.
        paid_alike: Groups of holders whose contributions differ by less than their error.
        materiality: How those are paid (:class:`fedjoint.agreement.terms.MoneyTerms`).
        materiality_errors: Which errors count for that.
        materiality_z: How many standard errors of the difference count as error.
        reference: Whose records the utility was measured on.
        error_numbers: From how many opened numbers of each holder the error by the choice of reference records is
            estimated; None: from every update in the clear, or not at all.
        errors_agreed: Whether such numbers were agreed.
    """

    method: str
    total: float
    gap: float | None
    numbers_opened: int
    openers: tuple[str, ...]
    rank_correlation: float | None
    largest_difference: float | None
    misallocated: float | None
    paid_alike: tuple[tuple[str, ...], ...]
    materiality: Literal["equal", "by_size", "off"]
    materiality_z: float
    materiality_errors: Literal["all", "noise"] = "all"
    reference: Literal["exchange", "holders"] = "exchange"
    error_numbers: int | None = None
    errors_agreed: bool = False

    @property
    def measured(self) -> bool:
        """Whether holders opened contributions; else each counts for what was agreed."""
        return bool(self.openers)


@strict
@dataclass(frozen=True, kw_only=True)
class MoneyReport:
    """How one revenue event was split, in minor units; the parts sum to gross."""

    currency: str
    gross_minor: int
    fee_minor: int
    reserve_minor: int
    distributed_minor: int
    suspense_minor: int


@strict
@dataclass(frozen=True, kw_only=True)
class Report:
    """The whole outcome of a run.

    Args:
        format: Version of this record.
        name: Of the run.
        run_id: 32 hex digits.
        agreement_sha256: Identifies the agreement.
        created_at: ISO 8601, UTC.
        fedjoint_version: That made it.
        dataset: Short name of the data.
        data: More about them.
        privacy: How records were protected.
        encryption: Scheme and security, in words.
        end: Why training ended.
        metrics: Models side by side.
        rounds: Round by round.
        holders: Holder by holder.
        utility_gain: Reference loss at the start minus at the end.
        contributions: How they were measured.
        money: How revenue was split.
        timings_s: Wall-clock seconds by stage.
        bytes_up_per_round: Mean bytes that all holders together sent in a round.
        bytes_down_per_round: Mean bytes that they received.
        private_metrics: The model on records that holders kept out of training, released with noise; if agreed.
    """

    format: Literal["fedjoint-report-1"] = "fedjoint-report-1"
    name: str
    run_id: str
    agreement_sha256: str
    created_at: str
    fedjoint_version: str
    dataset: str
    data: DataReport
    privacy: PrivacyReport
    encryption: str
    end: str
    metrics: MetricsReport
    rounds: tuple[RoundReport, ...]
    holders: tuple[HolderReport, ...]
    utility_gain: float
    contributions: ContributionReport
    money: MoneyReport
    timings_s: dict[str, float]
    bytes_up_per_round: int
    bytes_down_per_round: int
    private_metrics: HistogramMetrics | None = None

    def to_bytes(self) -> bytes:
        """As canonical JSON."""
        return canonical_bytes(self)


def read_report(path: Path) -> Report:
    """Read ``report.json``.

    Raises:
        RecordError: it is missing, altered in form, or of another version.
    """
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise RecordError(f"{path} cannot be read: {problem.strerror}", remedy="Name a run folder.") from None
    return build(Report, parse_canonical(data, error=RecordError, where=path.name), error=RecordError, where=path.name)
