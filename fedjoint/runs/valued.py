"""A run valued by another method, as a page with pictures: method beside method, by round, by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from fedjoint.runs.notation import MOST_ROWS, contribution_text, decimals_for, highest_and_lowest, plain_text, shortened
from fedjoint.runs.picture import BLUE, GREEN, GREY, INK, RED, draw, draw_rows
from fedjoint.strict import strict

__all__ = ["ValuedHolder", "ValuedRun", "render_valued_run"]

_DEVIATIONS = 1.96
_NAME_CELLS = 24


@strict
@dataclass(frozen=True, kw_only=True)
class ValuedHolder:
    """One holder by both methods, in units of the utility.

    Args:
        id: Its id.
        name: Its name.
        paid_by: The contribution that was opened and paid by.
        standard_error: Of that, by privacy noise and the choice of reference records.
        value: By the other method.
        sampling_error: Of that, by the coalitions that were tried; 0 where all were, None where too few were to say.
        by_round: Path contribution of each round.
        by_class: Path contribution on the reference records of each class.
    """

    id: str
    name: str
    paid_by: float
    standard_error: float
    value: float
    sampling_error: float | None
    by_round: tuple[float, ...]
    by_class: dict[str, float]


@strict
@dataclass(frozen=True, kw_only=True)
class ValuedRun:
    """A run valued again.

    Args:
        run: Its name.
        method: The other method.
        summary: What that is, in words.
        evaluations: Coalitions that it looked at.
        reached: Whether the error asked for was reached.
        misallocated: Half the L1 distance of the shares by both methods, in [0, 1].
        holders: In the agreement's order.
    """

    run: str
    method: str
    summary: str
    evaluations: int
    reached: bool
    misallocated: float
    holders: tuple[ValuedHolder, ...]


def render_valued_run(valued: ValuedRun) -> bytes:
    """The page: UTF-8 HTML with its pictures inside; no script, no address to fetch.

    Args:
        valued: What to show.
    """
    pictures = [_methods_chart(valued), _rounds_chart(valued)]
    if any(holder.by_class for holder in valued.holders):
        pictures.append(_classes_chart(valued))
    title = escape(f"{plain_text(valued.run)} by {valued.method}")
    figures = "\n".join(f"<figure>{picture}</figure>" for picture in pictures)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{title} · fedjoint</title>\n"
        "<style>:root{color-scheme:light dark}body{font-family:system-ui,sans-serif;max-width:50rem;margin:2rem auto;"
        "padding:0 1rem}table{border-collapse:collapse}th,td{padding:.25rem .6rem;text-align:right}"
        "th:first-child{text-align:left}figure{margin:1.5rem 0}svg{max-width:100%;height:auto}</style>\n</head>\n"
        f"<body>\n<h1>{title}</h1>\n<p>{escape(_outcome(valued))}</p>\n{_table(valued)}\n{figures}\n"
        "<p>Whiskers: 1.96 standard errors: of the path value by privacy noise and the choice of reference records, of "
        "the other method by the coalitions it tried. Money was paid by the path value; nothing here changes that."
        "</p>\n"
        "</body>\n</html>\n"
    ).encode()


def _outcome(valued: ValuedRun) -> str:
    spent = f"{valued.evaluations:,} coalitions evaluated" if valued.evaluations else "no coalition evaluated"
    return (
        f"{valued.method}: {valued.summary} ({spent}). Against it, {100 * valued.misallocated:.1f} % of the money paid "
        "by the path value would have gone to other holders."
    )


def _table(valued: ValuedRun) -> str:
    decimals = _decimals(valued)
    heads = ("Holder", "path value", "±", valued.method, "±")
    rows = [
        (
            plain_text(holder.name),
            *(
                contribution_text(value, decimals)
                for value in (holder.paid_by, holder.standard_error, holder.value, holder.sampling_error)
            ),
        )
        for holder in valued.holders
    ]
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in heads)
    body = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for name, *cells in rows
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _decimals(valued: ValuedRun) -> int:
    return decimals_for([holder.paid_by for holder in valued.holders])


def _ranked(valued: ValuedRun) -> list[ValuedHolder | None]:
    return highest_and_lowest(sorted(valued.holders, key=lambda holder: (-holder.paid_by, holder.id)))


def _names(rows: Sequence[ValuedHolder | None]) -> list[str]:
    return ["⋯" if row is None else shortened(plain_text(row.name), _NAME_CELLS) for row in rows]


def _methods_chart(valued: ValuedRun) -> str:
    rows = _ranked(valued)

    def paint(axes: Any) -> None:
        for place, holder in enumerate(rows):
            if holder is None:
                continue
            for shift, value, error, color in (
                (-0.18, holder.paid_by, holder.standard_error, BLUE),
                (0.18, holder.value, holder.sampling_error or 0.0, GREEN),
            ):
                axes.barh(place + shift, value, height=0.32, color=color)
                axes.errorbar(value, place + shift, xerr=_DEVIATIONS * error, color=INK, capsize=3, linewidth=1.2)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_xlabel(f"contribution; upper bar: path value, lower bar: {valued.method}")

    title = f"Path value and {valued.method}: shares differ by {100 * valued.misallocated:.1f} % of the money"
    return draw_rows(paint, name="methods", title=title, rows=_names(rows))


def _rounds_chart(valued: ValuedRun) -> str:
    rows = [holder for holder in _ranked(valued) if holder is not None][:MOST_ROWS]

    def paint(axes: Any) -> None:
        for place, holder in enumerate(rows):
            so_far = [sum(holder.by_round[: end + 1]) for end in range(len(holder.by_round))]
            style = ("-", "--", ":", "-.")[place // 4 % 4]
            color = (BLUE, RED, GREEN, GREY)[place % 4]
            label = shortened(plain_text(holder.name), _NAME_CELLS)
            axes.plot(range(1, len(so_far) + 1), so_far, color=color, linestyle=style, linewidth=2, label=label)
        axes.axhline(0, color=INK, linewidth=1)
        axes.set_xlabel("round")
        axes.set_ylabel("contribution so far")
        axes.grid(axis="y")
        axes.legend(loc="upper center", bbox_to_anchor=(0.47, -0.16), ncols=3, frameon=False, fontsize=10)

    half = next(iter(_half_way(valued)), None)
    title = "Contributions round by round" + (f": half of the gain is there after round {half}" if half else "")
    bottom = 0.75 + 0.22 * -(-len(rows) // 3)
    return draw(paint, name="by-round", title=title, height=3.3 + bottom, left=0.85, bottom=bottom)


def _half_way(valued: ValuedRun) -> list[int]:
    """The round after which half of the utility is gained; empty where nothing is."""
    gains = [sum(holder.by_round[number] for holder in valued.holders) for number in range(_num_rounds(valued))]
    whole = sum(gains)
    return [end + 1 for end in range(len(gains)) if whole > 0 and sum(gains[: end + 1]) >= whole / 2][:1]


def _num_rounds(valued: ValuedRun) -> int:
    return len(valued.holders[0].by_round)


def _classes_chart(valued: ValuedRun) -> str:
    rows = _ranked(valued)
    classes = list(valued.holders[0].by_class)[:MOST_ROWS]
    height = 0.7 / len(classes)

    def paint(axes: Any) -> None:
        for place, holder in enumerate(rows):
            for number, name in enumerate(classes if holder else ()):
                value = (holder.by_class if holder else {})[name]
                color, hatch = (BLUE, RED, GREEN, GREY)[number % 4], ("", "///", "...")[number // 4 % 3]
                label = shortened(plain_text(name), _NAME_CELLS) if place == 0 else None
                axes.barh(place - 0.35 + (number + 0.5) * height, value, height, color=color, hatch=hatch, label=label)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_xlabel("path contribution on the reference records of each class")
        axes.legend(frameon=False, fontsize=9)

    return draw_rows(paint, name="by-class", title=_class_title(valued, classes), rows=_names(rows))


def _class_title(valued: ValuedRun, classes: Sequence[str]) -> str:
    sums: Mapping[str, float] = {name: sum(h.by_class[name] for h in valued.holders) for name in classes}
    best = max(sums, key=lambda name: sums[name])
    return f"What each holder's data is good for: most was gained on class '{shortened(plain_text(best), 20)}'"
