"""The four pictures of a report, as SVG text to stand inside a page.

The title of each says what was found; names and numbers are those of the page's tables. The same report gives the same
bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedjoint.pool.money import format_minor, minor_digits
from fedjoint.runs.notation import (
    contribution_text,
    epsilon_text,
    figure_text,
    highest_and_lowest,
    shortened,
)
from fedjoint.runs.picture import BLUE, CELL_INCHES, GREEN, GREY, INK, RED, WIDTH_INCHES, draw, draw_rows
from fedjoint.runs.report import HolderReport, Report
from fedjoint.runs.sentences import (
    METRIC_NAMES,
    contribution_decimals,
    counted,
    headline_metric,
    is_better,
    labels_of,
)

__all__ = ["contributions_chart", "epsilon_chart", "money_chart", "rounds_chart"]

_NAME_CELLS = 24
#: Standard errors either way on which a whisker ends: 95 of 100 lie within.
_DEVIATIONS = 1.96


def rounds_chart(report: Report) -> str:
    """The metric after each round, against the pooled model and the mean holder alone.

    Args:
        report: The outcome; rounds whose metric cannot be measured leave a gap.

    Returns:
        One ``<svg>`` element with the finding as its title and label.
    """
    metric = headline_metric(report)
    name = METRIC_NAMES[metric]
    shown = [(entry.round, entry.metrics.get(metric)) for entry in report.rounds]
    lines = [
        ("pooled records", report.metrics.pooled.get(metric), GREEN, (0, (6, 3))),
        ("mean holder alone", report.metrics.local_on_all.get(metric), RED, (0, (1.5, 2))),
    ]

    def paint(axes: Any) -> None:
        axes.plot(
            [number for number, _ in shown],
            [float("nan") if value is None else value for _, value in shown],
            color=BLUE,
            linewidth=2.2,
            marker="o" if len(shown) <= 60 else None,
            markersize=4.5,
            label="joint model",
        )
        for label, value, color, dashes in lines:
            if value is not None:
                axes.axhline(value, color=color, linestyle=dashes, linewidth=2, label=f"{label}: {figure_text(value)}")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("round")
        axes.set_ylabel(f"{name}, all reference records")
        axes.grid(axis="y")
        axes.legend(loc="upper center", bbox_to_anchor=(0.47, -0.16), ncols=3, frameon=False, fontsize=10)

    if all(value is None for _, value in shown):
        return _nothing_to_draw("rounds", f"{name} by round: no round has a value to show")
    return draw(paint, name="rounds", title=_rounds_title(report), height=4.2, left=0.85, bottom=0.95)


def _rounds_title(report: Report) -> str:
    metric = headline_metric(report)
    name, alone, pooled = METRIC_NAMES[metric], report.metrics.local_on_all, report.metrics.pooled
    measured = [(entry.round, value) for entry in report.rounds if (value := entry.metrics.get(metric)) is not None]
    number, last = measured[-1]
    parts = [f"{name} {figure_text(last)} after {counted(number, 'round')}"]
    for label, values in (("the mean holder alone", alone), ("the pooled model", pooled)):
        value = values.get(metric)
        if value is not None:
            better = "better than" if is_better(metric, last, value) else "worse than"
            parts.append(f"{'as good as' if figure_text(value - last) == figure_text(0.0) else better} {label}")
    return f"{parts[0]}: {', '.join(parts[1:])}" if len(parts) > 1 else parts[0]


def epsilon_chart(report: Report) -> str:
    """What each holder's records cost in epsilon, against the agreed budget.

    Args:
        report: The outcome; without privacy the picture says that there is no epsilon.

    Returns:
        One ``<svg>`` element with the finding as its title and label.
    """
    privacy, labels = report.privacy, labels_of(report)
    spent = {holder.id: holder.epsilon for holder in report.holders if holder.epsilon is not None}
    if privacy.mode == "none":
        return _nothing_to_draw("epsilon", "No noise was added: there is no epsilon, and no privacy to show")
    if not spent:
        return _nothing_to_draw("epsilon", "No holder spent any epsilon: none took part in a round")
    ordered = sorted(report.holders, key=lambda holder: (-spent.get(holder.id, 0.0), labels[holder.id]))
    rows = highest_and_lowest(ordered)

    def paint(axes: Any) -> None:
        for place, holder in enumerate(rows):
            if holder is not None:
                value = spent.get(holder.id)
                over = privacy.epsilon is not None and value is not None and value > privacy.epsilon
                _bar(axes, place, value or 0.0, color=RED if over else BLUE, hatch="///" if over else "")
                _write(axes, place, max(value or 0.0, privacy.epsilon or 0.0), text=epsilon_text(value))
        if privacy.epsilon is not None:
            axes.axvline(privacy.epsilon, color=RED, linestyle=(0, (6, 3)), linewidth=2)
        axes.set_xlim(0, 1.14 * max([privacy.epsilon or 0.0, *spent.values()]) or 1.0)
        budget = f"; dashed: the agreed budget, {privacy.epsilon:g}" if privacy.epsilon is not None else ""
        axes.set_xlabel(f"epsilon spent ({privacy.adjacency}) at delta {privacy.delta or 0:g}{budget}")

    return draw_rows(
        paint, name="epsilon", title=_epsilon_title(report, list(spent.values())), rows=_row_names(rows, labels)
    )


def _epsilon_title(report: Report, spent: Sequence[float]) -> str:
    budget = report.privacy.epsilon
    over = sum(value > budget for value in spent) if budget is not None else 0
    if report.privacy.insecure_seed is not None:
        return "The noise is reproducible: these epsilons protect nobody"
    if over:
        return f"{counted(over, 'holder').capitalize()} spent more epsilon than agreed"
    agreed = f" of {budget:g}" if budget is not None else ""
    start = "Epsilon spent" if budget is None else "No holder spent more epsilon than agreed"
    return f"{start}: at most {epsilon_text(max(spent))}{agreed}"


def contributions_chart(report: Report) -> str:
    """Each holder's contribution with the exact value beside it; negative ones to the left of zero.

    Args:
        report: The outcome; exact values may be missing.

    Returns:
        One ``<svg>`` element with the finding as its title and label.
    """
    labels, decimals = labels_of(report), contribution_decimals(report)
    ordered = sorted(report.holders, key=lambda holder: (-holder.contribution, labels[holder.id]))
    rows = highest_and_lowest(ordered)
    exact = [(place, h.contribution_exact) for place, h in enumerate(rows) if h and h.contribution_exact is not None]

    def paint(axes: Any) -> None:
        for place, holder in enumerate(rows):
            if holder is not None:
                negative = holder.contribution < 0
                _bar(axes, place, holder.contribution, color=RED if negative else BLUE, hatch="///" if negative else "")
                error = _DEVIATIONS * holder.standard_error
                axes.errorbar(holder.contribution, place, xerr=error, color=INK, capsize=4, linewidth=1.4)
                farther = max([holder.contribution + error, holder.contribution_exact or 0.0, 0.0])
                _write(axes, place, farther, text=contribution_text(holder.contribution, decimals))
        if exact:
            axes.plot(
                [value for _, value in exact],
                [place for place, _ in exact],
                linestyle="",
                marker="D",
                markersize=7,
                markerfacecolor="none",
                markeredgecolor=INK,
                markeredgewidth=1.6,
            )
        ends = [h.contribution + side * _DEVIATIONS * h.standard_error for h in rows if h for side in (-1, 1)]
        values = [0.0, *ends, *(value for _, value in exact)]
        span = max(values) - min(values) or 1.0
        axes.set_xlim(min(values) - 0.04 * span, max(values) + 0.16 * span)
        axes.axvline(0, color=INK, linewidth=1)
        beside = "; diamond: exact" if exact else ""
        measured = report.contributions.measured
        measure = "fall of the reference loss; whisker: 1.96 standard errors" if measured else "as agreed"
        axes.set_xlabel(f"contribution: {measure}{beside}")

    title = _contributions_title(ordered, labels, decimals)
    return draw_rows(paint, name="contributions", title=title, rows=_row_names(rows, labels))


def _contributions_title(ordered: Sequence[HolderReport], labels: dict[str, str], decimals: int) -> str:
    first, negative = ordered[0], sum(holder.contribution < 0 for holder in ordered)
    if first.contribution <= 0:
        return "Nobody's contribution is positive: nobody is paid"
    most = f"{shortened(labels[first.id], 34)} added most: {contribution_text(first.contribution, decimals)}"
    return f"{most}; {counted(negative, 'holder')} below zero" if negative else most


def money_chart(report: Report) -> str:
    """The waterfall of the money: gross, less fee and reserve, less each holder's payout, less what stands in suspense.

    Args:
        report: The outcome; where there are many holders, those between the largest and the smallest are one step.

    Returns:
        One ``<svg>`` element with the finding as its title and label.
    """
    money, steps = report.money, _steps(report)
    scale = 10 ** minor_digits(money.currency)  # a picture's length may be a float: no amount is made from it

    def paint(axes: Any) -> None:
        left = money.gross_minor
        for place, (_, amount, color, hatch) in enumerate(steps):
            start = left - amount  # 0 for gross, which takes nothing away
            left = left if place == 0 else start
            _bar(axes, place, amount / scale, color=color, hatch=hatch, start=start / scale)
            _write(axes, place, (start + amount) / scale, text=_without_code(amount, money.currency))
            axes.plot([left / scale] * 2, [place, min(place + 1, len(steps) - 1)], color=GREY, linewidth=1, zorder=0)
        longest = len(_without_code(money.gross_minor, money.currency))
        room = 1 - min(0.6, 0.05 + longest * CELL_INCHES / (axes.get_position().width * WIDTH_INCHES))
        axes.set_xlim(0, money.gross_minor / scale / room or 1.0)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.{0 if money.gross_minor > 9 * scale else 2}f}")
        axes.locator_params(axis="x", nbins=5 if longest < 13 else 2)
        axes.set_xlabel(f"{money.currency}; each bar starts where the one above ends")

    return draw_rows(paint, name="money", title=_money_title(report), rows=[name for name, *_ in steps])


def _steps(report: Report) -> list[tuple[str, int, str, str]]:
    """Name, minor units, colour and hatch of each bar; they end at zero."""
    money, labels = report.money, labels_of(report)
    ordered = sorted(report.holders, key=lambda holder: (-holder.payout_minor, labels[holder.id]))
    shown = highest_and_lowest(ordered)
    between = sum(h.payout_minor for h in ordered) - sum(h.payout_minor for h in shown if h is not None)
    steps = [
        ("gross", money.gross_minor, BLUE, ""),
        ("exchange fee", money.fee_minor, GREY, ""),
        ("reserve", money.reserve_minor, GREY, ""),
    ]
    for holder in shown:
        name = f"{len(ordered) - len(shown) + 1} holders between" if holder is None else labels[holder.id]
        steps.append((shortened(name, _NAME_CELLS), between if holder is None else holder.payout_minor, GREEN, ""))
    return [*steps, ("suspense", money.suspense_minor, RED, "///")]


def _money_title(report: Report) -> str:
    money = report.money
    gross = format_minor(money.gross_minor, money.currency)
    if money.suspense_minor:
        return f"Nobody is paid: {format_minor(money.suspense_minor, money.currency)} of {gross} stands in suspense"
    paid = counted(sum(holder.payout_minor > 0 for holder in report.holders), "holder")
    return f"Of {gross}, {format_minor(money.distributed_minor, money.currency)} goes to {paid}"


def _without_code(amount: int, currency: str) -> str:
    return format_minor(amount, currency).removesuffix(f" {currency}")


def _row_names(rows: Sequence[HolderReport | None], labels: dict[str, str]) -> list[str]:
    left_out = len(labels) - sum(row is not None for row in rows)
    between = f"⋯ {left_out} between ⋯"
    return [between if row is None else shortened(labels[row.id], _NAME_CELLS) for row in rows]


def _bar(axes: Any, place: int, length: float, *, color: str, hatch: str, start: float = 0.0) -> None:
    axes.barh(
        place,
        length,
        left=start,
        height=0.66,
        color=color,
        hatch=hatch,
        edgecolor=color if not hatch else INK,
        linewidth=0.6,
    )


def _write(axes: Any, place: int, end: float, *, text: str) -> None:
    text = text.replace("-", "\u2212")  # as on the axis
    axes.annotate(text, (end, place), xytext=(9, 0), textcoords="offset points", va="center", fontsize=10)


def _nothing_to_draw(name: str, title: str) -> str:
    return draw(lambda axes: axes.set_axis_off(), name=name, title=title, height=0.9, left=0.2, bottom=0.1)
