"""An audit as one page, with its two pictures, and as lines on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedjoint.privacy.audit_report import AuditReport, Inversion, Membership
from fedjoint.runs.notation import epsilon_text
from fedjoint.runs.picture import BLUE, GREEN, GREY, RED, draw
from fedjoint.runs.report_html import environment

__all__ = ["render_audit", "show_audit"]

_VIEWS = {
    "update": "a holder's update in the clear",
    "aggregate": "the opened sums",
    "one_share": "one holder's opened ciphertexts",
}
#: A picture shows so many features of the record.
_SHOWN = 30


def render_audit(report: AuditReport) -> bytes:
    """The page: outcome, who took part, what was the record, how it was done.

    Args:
        report: The findings.

    Returns:
        UTF-8 HTML with its style and two pictures inside; no script, and no address to fetch.
    """
    page = environment().get_template("audit.html")
    return page.render(
        report=report,
        alarming=report.claim_refuted or report.self_check_failed or report.insecure_noise or report.mode == "none",
        rows=[(one, _view(one), _verdict(one)) for one in report.membership],
        inversions=[(one, _protection(one)) for one in report.inversions],
        pictures=[_membership_chart(report), _inversion_chart(report)],
    ).encode()


def show_audit(report: AuditReport, console: Console) -> None:
    """Print the findings as two tables and a sentence.

    Args:
        report: The findings.
        console: Where to.
    """
    table = Table("who took part?", "mechanism", "claimed epsilon", "right", "at least", "", box=None)
    for one in report.membership:
        claimed = "none" if one.claimed_epsilon is None else epsilon_text(one.claimed_epsilon)
        right = f"{one.correct} of {one.guesses}"
        table.add_row(_view(one), one.mechanism, claimed, right, f"{one.lower_bound:.2f}", _verdict(one))
    console.print(table)
    meaning = f"Epsilon by {report.adjacency} adjacency, per {report.unit}, at delta {report.agreed[0].delta:g}; "
    console.print(Text(f"{meaning}'at least' is what the right guesses show, with 95 % confidence."), soft_wrap=True)
    table = Table("what was the record?", "error", "resemblance", "by chance", box=None)
    for found in report.inversions:
        error = "> 999" if found.relative_error > 999 else f"{found.relative_error:.2g}"
        table.add_row(_protection(found), error, f"{found.resemblance:.2f}", f"{found.chance:.2f}")
    console.print(table)
    style = "bold red" if report.claim_refuted or report.self_check_failed else "bold"
    console.print(Text(report.outcome, style=style), soft_wrap=True)


def _view(one: Membership) -> str:
    return _VIEWS[one.view]


def _verdict(one: Membership) -> str:
    if one.claimed_epsilon is None:
        return "nothing claimed"
    if one.mechanism == "agreed":
        return "REFUTED" if one.refutes_claim else "no attack found"
    if not one.can_refute_claim:
        return f"out of reach: bounds end at {one.provable_at_most:.2f}"
    return "caught" if one.refutes_claim else "NOT CAUGHT"


def _protection(found: Inversion) -> str:
    return f"{_VIEWS[found.view]}, " + ("clipped and noised as agreed" if found.protected else "without protection")


def _membership_chart(report: AuditReport) -> str:
    found = list(report.membership)

    def paint(axes: Any) -> None:
        for place, one in enumerate(found):
            color = BLUE if one.mechanism == "agreed" else GREY
            axes.barh(place, one.lower_bound, color=RED if one.refutes_claim and color == BLUE else color, height=0.6)
            if one.claimed_epsilon is not None:
                axes.plot([one.claimed_epsilon] * 2, [place - 0.4, place + 0.4], color=RED, linewidth=2.4)
        axes.set_yticks(range(len(found)), list(_bar_names(found)))
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_xlabel("epsilon shown at 95 % confidence (bars); epsilon claimed (lines)")
        axes.grid(axis="x")

    first = report.agreed[0]
    title = f"The attack shows epsilon of at least {first.lower_bound:.2f}"
    if first.claimed_epsilon is not None:
        title += f" where {epsilon_text(first.claimed_epsilon)} is claimed"
    return draw(paint, name="membership", title=title, height=1.6 + 0.36 * len(found), left=2.1, bottom=0.7)


def _bar_names(found: list[Membership]) -> Iterator[str]:
    short = {"update": "update", "aggregate": "sums", "one_share": "one share"}
    yield from (f"{short[one.view]}: {one.mechanism}" for one in found)


def _inversion_chart(report: AuditReport) -> str:
    found = report.inversions

    def paint(axes: Any) -> None:
        colors = (BLUE, RED, GREY)
        axes.plot(found[0].original[:_SHOWN], color=GREEN, linewidth=4, alpha=0.5, label="the record")
        axes.plot(found[0].guess[:_SHOWN], color=BLUE, linewidth=1.6, marker="o", markersize=4, label="unprotected")
        for color, one in zip(colors[1:], found[1:], strict=False):
            axes.plot(one.original[:_SHOWN], color=GREEN, linewidth=1, linestyle=(0, (2, 2)))
            label = {"update": "protected", "aggregate": "sums", "one_share": "one share"}[one.view]
            axes.plot(one.guess[:_SHOWN], color=color, linewidth=1.4, linestyle=(0, (5, 2)), label=label)
        axes.set_xlabel("feature (green, dashed: the record that a protected guess was about)")
        axes.set_ylabel("value")
        axes.legend(loc="upper center", bbox_to_anchor=(0.47, -0.2), ncols=4, frameon=False, fontsize=10)

    bare = "is recovered exactly" if found[0].relative_error < 1e-3 else f"resembles {found[0].resemblance:.2f}"
    title = f"Without protection the record {bare}"
    if found[1:]:
        worst = max(found[1:], key=lambda one: one.resemblance - one.chance)
        title += f"; with it the guess resembles it by {worst.resemblance:.2f}, chance alone by {worst.chance:.2f}"
    return draw(paint, name="inversion", title=title, height=4.2, left=0.8, bottom=1.1)
