"""A report, or an error, on a terminal: what a run came to, at a glance, at 80 columns and without colour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedjoint.errors import FedjointError
from fedjoint.pool.money import format_minor
from fedjoint.runs import sentences
from fedjoint.runs.notation import (
    cells,
    contribution_text,
    epsilon_text,
    figure_text,
    highest_and_lowest,
    percent_text,
    plain_text,
    shortened,
)
from fedjoint.runs.report import HolderReport, Report

__all__ = ["show_failure", "show_report"]

_WIDE, _GAP, _MOST_LOSERS = 110, 2, 10
_STYLES = {"danger": "bold red", "caution": "bold yellow"}


def show_report(report: Report, console: Console) -> None:
    """Print what a run came to: holder by holder, model by model, and what must be said about it in words.

    Args:
        report: The outcome of a run.
        console: Where to print; any width from 60 columns.

    Raises:
        PoolError: the currency is none.

    Guarantees:
        Names and notes are printed as they are: no markup is read in them, and no control character reaches the
        terminal. What the terminal's encoding lacks becomes a question mark.
    """
    _say(console, sentences.outcome(report), style="bold")
    for level, words in sentences.privacy_warnings(report):
        _say(console, words, style=_STYLES[level])
    console.print()
    console.print(_holders_table(report, console))
    console.print()
    console.print(_errors_table(report, console))
    console.print()
    console.print(_models_table(report, console))
    console.print()
    console.print(_remarks(report, console))


def show_failure(error: FedjointError, console: Console) -> None:
    """Print an error as one line in red, never read for markup.

    Args:
        error: What went wrong; its message says what was expected and what to do.
        console: Where to print, usually standard error.

    Example:
        >>> from fedjoint.errors import DataError
        >>> show_failure(DataError("no column '[red]age'", remedy="Correct data.target."), Console(width=60))
        data.refused: no column '[red]age'. Correct data.target.
    """
    _say(console, f"{error.code}: {error}", style="bold red", whole_line=True)


def _holders_table(report: Report, console: Console) -> Table:
    """One row a holder: data, models, privacy, money."""
    return _rows_of_holders(report, _holder_columns(report, wide=console.width >= _WIDE), console)


def _errors_table(report: Report, console: Console) -> Table:
    """How far each contribution could be off."""
    decimals = sentences.contribution_decimals(report)
    columns: list[tuple[str, Callable[[HolderReport], str]]] = [
        ("contribution", lambda holder: contribution_text(holder.contribution, decimals)),
        ("± standard error", lambda holder: contribution_text(holder.standard_error, decimals)),
        ("noise", lambda holder: contribution_text(holder.noise_error, decimals)),
        ("sample", lambda holder: sentences.sampling_text(holder, decimals)),
    ]
    return _rows_of_holders(report, columns, console)


def _rows_of_holders(
    report: Report, columns: Sequence[tuple[str, Callable[[HolderReport], str]]], console: Console
) -> Table:
    """One row a holder, best contribution first where not all fit."""
    labels = sentences.labels_of(report)
    holders: Sequence[HolderReport] = report.holders
    if len(highest_and_lowest(holders)) != len(holders):
        holders = sorted(holders, key=lambda holder: (-holder.contribution, labels[holder.id]))
    shown = highest_and_lowest(holders)
    between = f"... {len(holders) - len(shown) + 1} more ..."
    body = [["" if holder is None else cell(holder) for _, cell in columns] for holder in shown]
    widths = [max(map(cells, [*head.split("\n"), *(row[i] for row in body)])) for i, (head, _) in enumerate(columns)]
    room = max(8, console.width - sum(widths) - _GAP * len(columns))
    names = [between if holder is None else labels[holder.id] for holder in shown]
    rows = [[shortened(name, room), *row] for name, row in zip(names, body, strict=True)]
    return _table(["holder", *(head for head, _ in columns)], rows, console)


def _holder_columns(report: Report, *, wide: bool) -> list[tuple[str, Callable[[HolderReport], str]]]:
    """Heading of each column after the name, and how its cells are written."""
    decimals, currency = sentences.contribution_decimals(report), report.money.currency
    exact = ("exact\nvalue", lambda holder: contribution_text(holder.contribution_exact, decimals))
    metrics = _metrics_shown(report, wide=wide) if report.metrics.compared else ()
    columns: list[tuple[str, Callable[[HolderReport], str]]] = [
        (sentences.units_heading(report), lambda holder: f"{holder.num_examples:,}"),
        *(column for key in metrics for column in _metric_columns(key)),
        ("epsi-\nlon", lambda holder: epsilon_text(holder.epsilon)),
        ("contri-\nbution", lambda holder: contribution_text(holder.contribution, decimals)),
        *([exact] if wide and report.metrics.compared else []),
        ("share", lambda holder: percent_text(holder.share)),
        (
            f"payout\n{currency}",
            lambda holder: format_minor(holder.payout_minor, currency).removesuffix(f" {currency}"),
        ),
    ]
    return columns


def _metrics_shown(report: Report, *, wide: bool) -> tuple[str, ...]:
    return sentences.metric_keys(report) if wide else (sentences.headline_metric(report),)


def _metric_columns(key: str) -> list[tuple[str, Callable[[HolderReport], str]]]:
    name = sentences.METRIC_NAMES[key]
    return [
        (f"own\n{name}", lambda holder: figure_text(holder.own_model.get(key), missing="n/a")),
        (f"joint\n{name}", lambda holder: figure_text(holder.joint_model.get(key), missing="n/a")),
    ]


def _models_table(report: Report, console: Console) -> Table:
    keys, metrics = sentences.metric_keys(report), report.metrics
    models = (
        ("joint model, all reference records", metrics.joint),
        ("pooled records without privacy, the same", metrics.pooled),
        ("holders alone (mean), the same", metrics.local_on_all),
        ("joint model, holders' own kind (mean)", metrics.joint_own),
        ("holders alone, their own kind (mean)", metrics.local_own),
    )
    rows = [[name, *(figure_text(values.get(key)) for key in keys)] for name, values in models if values]
    return _table(["model and what it is measured on", *(sentences.METRIC_NAMES[key] for key in keys)], rows, console)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], console: Console) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for place, head in enumerate(heads):
        table.add_column(
            Text("\n").join(_writable(line, console) for line in head.split("\n")),
            justify="right" if place else "left",
            vertical="bottom",
            no_wrap=True,
        )
    for row in rows:
        table.add_row(*(_writable(cell, console) for cell in row))
    return table


def _remarks(report: Report, console: Console) -> Table:
    """What the numbers do not say by themselves: a word in front, sentences behind."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for head, words in _remarks_of(report):
        grid.add_row(_writable(head, console), _writable(words, console))
    return grid


def _remarks_of(report: Report) -> list[tuple[str, str]]:
    data = report.data
    source = (
        f"{data.title}. Licence: {data.licence.rstrip('.') or 'not stated'}. {data.citation or 'No citation stated.'}"
    )
    out = [f"{holder.name}: {holder.reason}" for holder in data.left_out]
    remarks = [
        *(("Loses" if place == 0 else "", words) for place, words in enumerate(_losers(report))),
        ("", sentences.accuracy_misleads(report) if sentences.losses(report) else ""),
        ("Valued", sentences.contributions_sentence(report)),
        ("Error", sentences.errors_sentence(report)),
        ("Alike", sentences.alike_sentence(report)),
        ("Money", sentences.money_sentence(report)),
        ("Privacy", sentences.privacy_sentence(report)),
        ("Measured", sentences.private_metrics_sentence(report)),
        ("Ended", report.end),
        ("Data", source),
        *(("Note" if place == 0 else "", note) for place, note in enumerate(data.notes)),
        *(("Left out" if place == 0 else "", words) for place, words in enumerate(out)),
    ]
    return [(head, words) for head, words in remarks if words]


def _losers(report: Report) -> list[str]:
    if not report.metrics.compared:
        return []
    labels, keys, losers = sentences.labels_of(report), sentences.metric_keys(report), sentences.losses(report)
    if not losers:
        return ["nobody loses by joining, by any metric that can be measured."]
    words = [f"{labels[holder.id]} {sentences.loss_sentence(holder, keys)}." for holder in losers[:_MOST_LOSERS]]
    more = len(losers) - len(words)
    return [*words, f"... and {sentences.counted(more, 'more holder')}: report.html names all."] if more else words


def _say(console: Console, words: str, *, style: str, whole_line: bool = False) -> None:
    console.print(_writable(words, console, style=style), soft_wrap=whole_line)


def _writable(words: str, console: Console, *, style: str = "") -> Text:
    """One line of text, of characters that the terminal can show."""
    safe = plain_text(words)
    return Text(safe.encode(console.encoding, errors="replace").decode(console.encoding), style=style)
