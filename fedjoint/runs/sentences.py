"""What a report says in words, the same in a terminal as on a page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fedjoint.pool.money import format_minor
from fedjoint.privacy.releases import Cost
from fedjoint.runs.notation import (
    NOT_MEASURABLE,
    contribution_text,
    decimals_for,
    epsilon_text,
    figure_text,
    percent_text,
    plain_text,
)
from fedjoint.runs.report import HolderReport, Metrics, Report

__all__ = [
    "METRIC_NAMES",
    "account_sentence",
    "accuracy_misleads",
    "alike_sentence",
    "contribution_decimals",
    "contributions_sentence",
    "counted",
    "errors_sentence",
    "headline_metric",
    "is_better",
    "labels_of",
    "loss_sentence",
    "losses",
    "metric_keys",
    "money_sentence",
    "outcome",
    "privacy_sentence",
    "privacy_warnings",
    "private_metrics_sentence",
    "sampling_text",
    "units_heading",
]

METRIC_NAMES = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "r2": "R²",
    "rmse": "RMSE",
    "concordance": "concordance",
    "survival_loss": "survival loss",
}
_LOWER_IS_BETTER = frozenset({"rmse", "survival_loss"})
_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def counted(number: int, noun: str) -> str:
    """A count with its noun, small ones in words.

    Example:
        >>> counted(4, "holder"), counted(1, "record"), counted(1607, "record")
        ('four holders', 'one record', '1,607 records')
    """
    written = _COUNTS[number] if 0 <= number < len(_COUNTS) else f"{number:,}"
    return f"{written} {noun}{'' if number == 1 else 's'}"


def metric_keys(report: Report) -> tuple[str, str]:
    """The two metrics of the task: the first is the one to judge by."""
    keys = {"number": ("r2", "rmse"), "survival": ("concordance", "survival_loss")}
    return keys.get(report.data.task, ("auc", "accuracy"))


def headline_metric(report: Report) -> str:
    """The metric that the report leads with: the first of the task's that the joint model has a value for."""
    first, second = metric_keys(report)
    measurable = report.metrics.joint.get(first) is not None or report.metrics.joint.get(second) is None
    return first if measurable else second


def is_better(metric: str, value: float, than: float) -> bool:
    """Whether a value of a metric is better than another.

    Example:
        >>> is_better("auc", 0.9, 0.8), is_better("rmse", 0.9, 0.8)
        (True, False)
    """
    return value < than if metric in _LOWER_IS_BETTER else value > than


def labels_of(report: Report) -> dict[str, str]:
    """A name for each holder's id, safe to print; the id is added where two holders share a name."""
    names = {holder.id: plain_text(holder.name) or plain_text(holder.id) for holder in report.holders}
    taken = list(names.values())
    return {key: name if taken.count(name) == 1 else f"{name} ({plain_text(key)})" for key, name in names.items()}


def outcome(report: Report) -> str:
    """The run in one sentence: who, on how much, how good, and how much better than alone."""
    metric = headline_metric(report)
    joint = report.metrics.joint.get(metric)
    trained = sum(holder.num_examples for holder in report.holders)
    about = "about " if report.privacy.sizes_noise_sd is not None else ""
    units = f"{about}{counted(trained, report.privacy.unit)}"
    start = (
        f"{counted(len(report.holders), 'holder').capitalize()} trained one model on {units} "
        f"({plain_text(report.data.title)})"
    )
    reference = counted(report.data.num_reference, "reference record")
    if joint is None:
        return f"{start}; how good it is cannot be measured on {reference}."
    against = _beside_alone(metric, joint, report.metrics.local_on_all.get(metric))
    return f"{start}: {METRIC_NAMES[metric]} {figure_text(joint)} on {reference}{against}."


def units_heading(report: Report) -> str:
    r"""The heading of the holders' sizes, in two lines where they are stated with noise.

    Example:
        >>> from types import SimpleNamespace
        >>> units_heading(SimpleNamespace(privacy=SimpleNamespace(unit="record", sizes_noise_sd=9.84)))
        'records\n± 10'
    """
    privacy = report.privacy
    error = "" if privacy.sizes_noise_sd is None else f"\n± {max(1, round(privacy.sizes_noise_sd))}"
    return f"{privacy.unit}s{error}"


def _beside_alone(metric: str, joint: float, alone: float | None) -> str:
    """How the joint model stands to the mean holder alone, to follow its value."""
    if alone is None:
        return ""
    if figure_text(joint - alone) == figure_text(0.0):
        return ", level with the mean holder alone"
    sides = ("higher (worse) than", "lower (better) than") if metric in _LOWER_IS_BETTER else ("above", "below")
    return f", {figure_text(abs(joint - alone))} {sides[joint < alone]} the mean holder alone"


def losses(report: Report) -> tuple[HolderReport, ...]:
    """The holders for which the joint model is worse than their own in some metric."""
    return tuple(holder for holder in report.holders if holder.loses_by)


def loss_sentence(holder: HolderReport, keys: tuple[str, str]) -> str:
    """What a holder loses and what it gains by joining, both with their values.

    Args:
        holder: The holder.
        keys: The metrics of the task, from :func:`metric_keys`.

    Example:
        >>> from types import SimpleNamespace
        >>> basel = SimpleNamespace(
        ...     own_model={"auc": 0.7, "accuracy": 0.93}, joint_model={"auc": 0.8, "accuracy": 0.9},
        ...     loses_by=("accuracy",), num_reference=40)
        >>> loss_sentence(basel, ("auc", "accuracy"))
        'loses accuracy (0.930 alone, 0.900 joint), gains AUC (0.700 alone, 0.800 joint); on 40 reference records'
    """
    parts = [_change(key, holder.own_model, holder.joint_model, lost=key in holder.loses_by) for key in keys]
    parts.sort(key=lambda part: not part.startswith("loses"))
    return f"{', '.join(parts)}; on {holder.num_reference:,} reference records"


def _change(key: str, own: Metrics, joint: Metrics, *, lost: bool) -> str:
    """One metric's change by joining."""
    alone, together = own.get(key), joint.get(key)
    if alone is None or together is None:
        return f"{METRIC_NAMES[key]} {NOT_MEASURABLE}"
    verb = "loses" if lost else "gains" if is_better(key, together, alone) else "keeps"
    return f"{verb} {METRIC_NAMES[key]} ({figure_text(alone)} alone, {figure_text(together)} joint)"


def accuracy_misleads(report: Report) -> str:
    """Why accuracy alone misleads; empty where the target has no classes."""
    if report.data.task in ("number", "survival"):
        return ""
    return (
        "Accuracy alone misleads: where holders differ in how common a class is, one joint threshold fits their "
        "mixture and not each of them. AUC compares the order of the records and does not depend on the threshold."
    )


def contribution_decimals(report: Report) -> int:
    """Decimals for every contribution of the report, so that they stand under one another."""
    return decimals_for([holder.contribution for holder in report.holders])


def contributions_sentence(report: Report) -> str:
    """How good the contributions are: what they sum to, and how they stand to the exact ones."""
    measured, decimals = report.contributions, contribution_decimals(report)
    if not measured.measured:
        if measured.misallocated is None:
            return f"Contributions were {plain_text(measured.method)}."
        moved = percent_text(measured.misallocated, decimals=2)
        return f"Contributions were {plain_text(measured.method)}; exact values would move {moved} of the money."
    gap = "" if measured.gap is None else f" (gap {percent_text(measured.gap, decimals=2)})"
    text = f"Contributions sum to {measured.total:z.{decimals}f} of {report.utility_gain:z.{decimals}f} gained{gap}"
    if measured.reference == "holders":
        return (
            f"{text}, as the gradients of records that holders keep out of training have it; no exact values: those "
            "records are the holders' own."
        )
    if not report.metrics.compared:
        return f"{text}; no exact values: they would take every holder's updates in the clear."
    if measured.largest_difference is None:
        return f"{text}; no exact values: too many holders to try every coalition."
    rank = figure_text(measured.rank_correlation)
    difference = f"{measured.largest_difference:z.{decimals + 1}f}"
    moved = percent_text(measured.misallocated, decimals=2)
    return f"{text}; against exact: rank correlation {rank}, largest difference {difference}, misallocated {moved}."


def errors_sentence(report: Report) -> str:
    """How far the contributions could be off, and what of that is not counted."""
    if not report.contributions.measured:
        return "Agreed shares have no error."
    decimals = contribution_decimals(report)

    def most(values: Sequence[float]) -> str:
        return contribution_text(max(values, default=0.0), decimals)

    noise = f"by privacy noise at most {most([holder.noise_error for holder in report.holders])}"
    sampled = [holder.sampling_error for holder in report.holders if holder.sampling_error is not None]
    bounds = [holder.sampling_at_most for holder in report.holders if holder.sampling_at_most is not None]
    numbers = report.contributions.error_numbers
    if sampled:
        sure = "" if numbers is None else f", {_estimated(numbers)}"
        if numbers is not None and report.privacy.mode == "joint":
            sure += " (and larger by the noise that these numbers carry)"
        return (
            f"Standard errors: {noise}, by the choice of reference records at most {most(sampled)}{sure}; the model's "
            "path is taken as it was."
        )
    if bounds:
        return (
            f"Standard errors: {noise}. The choice of the records that holders keep out adds at most {most(bounds)} to "
            "that: a bound from public constants, as nobody sees those records."
        )
    why = (
        "the agreed numbers for it were not opened, as they have no room for what updates could come to"
        if report.contributions.errors_agreed
        else "as agreed"
    )
    return f"Standard errors: {noise}. The choice of reference records adds to that and was not measured: {why}."


def sampling_text(holder: HolderReport, decimals: int) -> str:
    """A holder's standard error by the choice of reference records; only a bound of it, if no more is known."""
    if holder.sampling_error is None and holder.sampling_at_most is not None:
        return f"≤ {contribution_text(holder.sampling_at_most, decimals)}"
    return contribution_text(holder.sampling_error, decimals)


def _estimated(numbers: int) -> str:
    return (
        f"estimated from {counted(numbers, 'opened number')} of each holder and so itself sure to about "
        f"{percent_text(1 / math.sqrt(2 * numbers), decimals=0)}"
    )


def alike_sentence(report: Report) -> str:
    """Who is paid alike, and why; or that nobody is."""
    rule, labels = report.contributions, labels_of(report)
    if not rule.measured:
        return "Shares are paid as agreed."
    if rule.materiality == "off":
        return "The agreement pays by the numbers as they are, also where they differ by less than their error."
    error = f"differ by less than {rule.materiality_z:g} standard errors"
    error += " by privacy noise alone" if rule.materiality_errors == "noise" else ""
    if not rule.paid_alike:
        return f"Nobody is paid alike: no two positive contributions {error}."
    groups = "; ".join(", ".join(labels[holder] for holder in group) for group in rule.paid_alike)
    how = "by certified records" if rule.materiality == "by_size" else "equally"
    return f"Paid alike ({how}, as their contributions {error}): {groups}."


def money_sentence(report: Report) -> str:
    """How the revenue was split."""
    money = report.money

    def amount(minor: int) -> str:
        return format_minor(minor, money.currency)

    paid = sum(holder.payout_minor > 0 for holder in report.holders)
    text = (
        f"{amount(money.gross_minor)} = exchange fee {amount(money.fee_minor)} + reserve {amount(money.reserve_minor)} "
        f"+ {amount(money.distributed_minor)} to {counted(paid, 'holder')}"
    )
    if money.suspense_minor:
        text += f" + {amount(money.suspense_minor)} in suspense, as nobody's contribution is positive"
    return f"{text}."


def privacy_sentence(report: Report) -> str:
    """What protects the records: mode, epsilon spent of the epsilon agreed, delta, adjacency and unit."""
    privacy = report.privacy
    if privacy.mode == "none":
        return "None: no noise was added. Updates were encrypted; the model and the sums may still tell of records."
    spent = [holder.epsilon for holder in report.holders if holder.epsilon is not None]
    most = epsilon_text(max(spent)) if spent else NOT_MEASURABLE
    agreed = f"{privacy.epsilon:g}" if privacy.epsilon is not None else "no agreed limit"
    delta = f"{privacy.delta:g}" if privacy.delta is not None else "none"
    how = "A share of the noise" if privacy.mode == "joint" else "Noise"
    return (
        f"{how} at every holder (mode {privacy.mode}): epsilon at most {most} of {agreed} at delta {delta}, "
        f"{plain_text(privacy.adjacency)} adjacency, unit: one {plain_text(privacy.unit)}."
        + _joint_sentence(report)
        + account_sentence(privacy.account)
        + (" None of this holds, as the noise is reproducible." if privacy.insecure_seed is not None else "")
    )


def account_sentence(account: Sequence[Cost]) -> str:
    """What each purpose costs by itself, to follow the total; empty where there is one purpose only.

    Example:
        >>> account = [Cost(purpose="training", count=9, epsilon=2.5), Cost(purpose="metrics", count=1, epsilon=1)]
        >>> account_sentence(account)
        ' By itself: training 2.50 (nine releases), metrics 1.00 (one release); together less than the sum.'
    """
    if len(account) < 2:
        return ""
    lines = [f"{one.purpose} {epsilon_text(one.epsilon)} ({counted(one.count, 'release')})" for one in account]
    return f" By itself: {', '.join(lines)}; together less than the sum."


def private_metrics_sentence(report: Report) -> str:
    """The model on records that holders kept out of training, with error bars; empty if nothing was released."""
    found = report.private_metrics
    if found is None:
        return ""

    def bar(value: float | None, error: float | None) -> str:
        return figure_text(value) if error is None else f"{figure_text(value)} ± {figure_text(error)}"

    return (
        f"On about {counted(round(found.num_examples), 'record')} that holders kept out of training, released as one "
        f"noisy histogram: AUC {bar(found.auc, found.auc_error)}, accuracy "
        f"{bar(found.accuracy, found.accuracy_error)} (± one standard deviation)."
    )


def _joint_sentence(report: Report) -> str:
    """What the epsilon of mode ``joint`` counts on, and what is left without it; empty in other modes."""
    privacy = report.privacy
    if privacy.mode != "joint":
        return ""
    opened = [holder.epsilon_if_opened for holder in report.holders if holder.epsilon_if_opened is not None]
    most = epsilon_text(max(opened)) if opened else NOT_MEASURABLE
    limit = f"{privacy.epsilon_if_opened:g}" if privacy.epsilon_if_opened is not None else "no agreed limit"
    return (
        " That covers the opened sums, the model and the contributions (which carry noise of their own), and still "
        f"holds if {counted(privacy.colluders or 0, 'holder')} of a sum subtracted its own noise. If a holder's own "
        f"ciphertexts were opened (all holders share the key): epsilon at most {most} of {limit}."
        + _missing_sentence(report)
    )


def _missing_sentence(report: Report) -> str:
    """What rounds without some holders, and so without their shares of the noise, mean; empty where all took part."""
    missed = sum(len(one.contributors) < len(report.holders) for one in report.rounds)
    if not missed:
        return ""
    return (
        f" In {counted(missed, 'round')} holders were missing, and with them their shares of the noise: each share is "
        "sized for the fewest holders whose sum may be opened, so what was opened carried full noise all the same."
    )


def privacy_warnings(report: Report) -> tuple[tuple[str, str], ...]:
    """What must be said before anything else, as (``danger`` or ``caution``, sentence)."""
    found: list[tuple[str, str]] = []
    if report.privacy.insecure_seed is not None:
        found.append(
            (
                "danger",
                f"privacy.insecure_seed = {report.privacy.insecure_seed}: the noise of this run is reproducible: "
                "it protects nobody. Never use the model, or anything else of this run, where records are real.",
            )
        )
    if report.privacy.mode == "none":
        found.append(
            (
                "caution",
                "Privacy mode none: a research baseline. No noise was added, and the model may tell of the records "
                "it was trained on.",
            )
        )
    return tuple(found)
