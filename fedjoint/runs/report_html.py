"""A report as one page: a file that opens anywhere, asks no network for anything and runs no script."""

from __future__ import annotations

import functools
import shlex
from collections import Counter
from typing import TYPE_CHECKING

from fedjoint.pool.money import format_minor
from fedjoint.runs import charts, notation, sentences
from fedjoint.runs.report import Report

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["environment", "render_report"]

_MINUS = str.maketrans("-", "\u2212")


def render_report(report: Report) -> bytes:
    """The page for everybody who was not there: staff of the exchange, hospital managers, researchers.

    Args:
        report: The outcome of a run.

    Returns:
        UTF-8 HTML with its style and four pictures inside.

    Raises:
        PoolError: the currency is none.

    Guarantees:
        The same report gives the same bytes. The page has no script and no address to fetch, and its own policy
        forbids both. Every name and note is escaped; control characters are replaced.

    Source:
        Content Security Policy Level 3, W3C; contrast and labels after WCAG 2.2, level AA.
    """
    labels = sentences.labels_of(report)
    keys = sentences.metric_keys(report)
    page = environment().get_template("report.html")
    return page.render(
        report=report,
        labels=labels,
        keys=keys,
        metric_names={key: name[:1].upper() + name[1:] for key, name in sentences.METRIC_NAMES.items()},
        decimals=sentences.contribution_decimals(report),
        outcome=sentences.outcome(report),
        warnings=sentences.privacy_warnings(report),
        privacy=f"{sentences.privacy_sentence(report)} {sentences.private_metrics_sentence(report)}".strip(),
        money=sentences.money_sentence(report),
        contributions=sentences.contributions_sentence(report),
        errors=sentences.errors_sentence(report),
        alike=sentences.alike_sentence(report),
        accuracy_misleads=sentences.accuracy_misleads(report),
        losers=[(labels[h.id], sentences.loss_sentence(h, keys)) for h in sentences.losses(report)],
        refusals=_refusals(report),
        pictures=_pictures(report),
        verify=f"fedjoint verify {shlex.quote(f'runs/{report.name}')}",
        amount=lambda minor: format_minor(minor, report.money.currency).translate(_MINUS),
    ).encode()


_POOLED = " The pooled model needs all records in one place and is drawn for comparison only."


def _pictures(report: Report) -> list[tuple[str, str]]:
    """Each picture as SVG, and how to read it."""
    return [
        (
            charts.rounds_chart(report),
            "After each round the exchange measures the model on its own reference records."
            + (_POOLED if report.metrics.compared else ""),
        ),
        (
            charts.epsilon_chart(report),
            "Without noise nothing bounds what can be learned about one record."
            if report.privacy.mode == "none"
            else "Epsilon bounds how much anybody can learn about one record: less is more private.",
        ),
        (
            charts.contributions_chart(report),
            "How far each holder's updates lowered the model's loss, with 1.96 standard errors either way. A bar to "
            "the left of zero: they raised it, and the holder is paid nothing.",
        ),
        (charts.money_chart(report), "From what the buyer paid, step by step down to nothing left."),
    ]


def _refusals(report: Report) -> list[tuple[str, str, int]]:
    """Holder's id, code of its refusal and in how many rounds."""
    found = Counter((holder, code) for entry in report.rounds for holder, code in entry.refusals.items())
    return [(holder, code, count) for (holder, code), count in sorted(found.items())]


@functools.cache
def environment() -> Environment:
    """Templates that escape everything and refuse an unknown name."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def safe(value: object) -> object:
        return notation.plain_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    found = Environment(
        loader=PackageLoader("fedjoint.runs", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=safe,
    )
    found.filters["figure"] = lambda value: notation.figure_text(value).translate(_MINUS)
    found.filters["epsilon"] = notation.epsilon_text
    found.filters["percent"] = notation.percent_text
    found.filters["contribution"] = lambda value, decimals: notation.contribution_text(value, decimals).translate(
        _MINUS
    )
    return found
