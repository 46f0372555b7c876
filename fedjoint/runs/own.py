"""A holder's own contribution, taken apart for its own eyes: the file, and the page with its pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.errors import ValuationError
from fedjoint.files import replace_file
from fedjoint.runs.notation import MOST_ROWS, contribution_text, decimals_for, percent_text, plain_text, shortened
from fedjoint.runs.picture import BLUE, GREEN, INK, draw, draw_rows
from fedjoint.strict import build, strict

__all__ = ["OwnContribution", "findings", "read_own", "render_own", "write_own"]

_MOST_BYTES = 16 << 20
_NAME_CELLS = 24


@strict
@dataclass(frozen=True, kw_only=True)
class OwnContribution:
    """What one holder's updates added to a run, in units of the utility.

    Args:
        run_id: The run.
        agreement_sha256: Its agreement.
        holder: Whose it is.
        name: For people.
        utility: What it is measured by.
        num_reference: Reference records that it was measured on; None: on the gradients that the holders opened.
        by_round: Of each agreed round; None where the holder did not see how the model moved.
        by_class: On the reference records of each class; they sum to all of it. Empty where there are none.
        stated: What the holder's statement says; None if it has none.
    """

    run_id: str
    agreement_sha256: str
    holder: str
    name: str
    utility: str
    num_reference: int | None
    by_round: tuple[float | None, ...]
    by_class: dict[str, float]
    stated: float | None

    @property
    def total(self) -> float:
        """Of all rounds that the holder saw."""
        return math.fsum(value for value in self.by_round if value is not None)


def write_own(path: Path, own: OwnContribution) -> None:
    """Write it to a file that only its owner can read.

    Raises:
        ValuationError: it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, canonical_bytes(own), mode=0o600)
    except OSError as problem:
        raise ValuationError(f"{path} cannot be written: {problem.strerror}") from None


def read_own(path: Path) -> OwnContribution:
    """Read what :func:`write_own` wrote.

    Raises:
        ValuationError: it is missing or malformed.
    """
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise ValuationError(f"{path} cannot be read: {problem.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise ValuationError(f"{path} has {len(data)} bytes", expected=f"at most {_MOST_BYTES}")
    return build(
        OwnContribution,
        parse_canonical(data, error=ValuationError, where=path.name),
        error=ValuationError,
        where=path.name,
    )


def findings(own: OwnContribution) -> list[str]:
    """What the holder learns, in sentences."""
    decimals = decimals_for([own.total])
    measured = f"{own.num_reference:,} reference records" if own.num_reference else "the gradients that holders opened"
    found = [f"Your updates added {contribution_text(own.total, decimals)} ({own.utility}, on {measured})."]
    if own.stated is not None:
        found.append(
            f"Your statement says {contribution_text(own.stated, decimals)}, opened of the same updates, with the "
            "noise and the guards that were agreed."
        )
    if own.by_class:
        best, worst = (choose(own.by_class, key=lambda name: own.by_class[name]) for choose in (max, min))
        found.append(
            f"Your records were good for class '{plain_text(best)}' most "
            f"({contribution_text(own.by_class[best], decimals)}), and for '{plain_text(worst)}' least "
            f"({contribution_text(own.by_class[worst], decimals)})."
        )
    seen = [value for value in own.by_round if value is not None]
    if own.total > 0 and seen:
        half = next(end for end in range(1, len(seen) + 1) if math.fsum(seen[:end]) >= own.total / 2)
        early = percent_text(half / len(own.by_round), decimals=0)
        found.append(f"Half of it was there after {half} of {len(own.by_round)} rounds ({early} of them).")
    if missed := sum(value is None for value in own.by_round):
        found.append(f"Of {missed} rounds you did not see how the model moved: they are left out.")
    return found


def render_own(own: OwnContribution) -> bytes:
    """The page: UTF-8 HTML with its pictures inside; no script, no address to fetch."""
    pictures = [_rounds_chart(own)] + ([_classes_chart(own)] if own.by_class else [])
    title = escape(f"What the data of {plain_text(own.name)} added")
    figures = "\n".join(f"<figure>{picture}</figure>" for picture in pictures)
    words = "\n".join(f"<p>{escape(sentence)}</p>" for sentence in findings(own))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{title} · fedjoint</title>\n"
        "<style>:root{color-scheme:light dark}body{font-family:system-ui,sans-serif;max-width:50rem;margin:2rem auto;"
        "padding:0 1rem}figure{margin:1.5rem 0}svg{max-width:100%;height:auto}</style>\n</head>\n"
        f"<body>\n<h1>{title}</h1>\n{words}\n{figures}\n"
        f"<p>Run {escape(own.run_id)}, agreement {escape(own.agreement_sha256)}. For your own eyes: computed from your "
        "updates in the clear, which nobody else has.</p>\n</body>\n</html>\n"
    ).encode()


def _rounds_chart(own: OwnContribution) -> str:
    values = [value if value is not None else math.nan for value in own.by_round]
    numbers = range(1, len(values) + 1)

    def paint(axes: Any) -> None:
        axes.bar(numbers, values, color=BLUE)
        axes.axhline(0, color=INK, linewidth=1)
        axes.set_xlabel("round")
        axes.set_ylabel("contribution")
        axes.grid(axis="y")

    positive = sum(value > 0 for value in values)
    title = f"Round by round: your updates helped in {positive} of {len(values)} rounds"
    return draw(paint, name="own-rounds", title=title, height=3.2, left=0.95, bottom=0.6)


def _classes_chart(own: OwnContribution) -> str:
    ranked: Sequence[tuple[str, float]] = sorted(own.by_class.items(), key=lambda item: -item[1])
    shown = [*ranked[: MOST_ROWS // 2], *ranked[-(MOST_ROWS // 2) :]] if len(ranked) > MOST_ROWS else ranked

    def paint(axes: Any) -> None:
        for place, (_, value) in enumerate(shown):
            axes.barh(place, value, height=0.6, color=GREEN)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_xlabel("your contribution on the reference records of each class")

    names = [shortened(plain_text(name), _NAME_CELLS) for name, _ in shown]
    title = f"What your data is good for: most was gained on class '{shortened(plain_text(ranked[0][0]), 20)}'"
    return draw_rows(paint, name="own-classes", title=title, rows=names)
