"""The frame of every picture: drawn by Matplotlib in the house's style, then made fit to stand inside a page.

A picture follows the page's own text colour, so that it reads on light and on dark. Matplotlib's Figure is used alone:
no display, no pyplot, no settings of the reader's.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import Any
from xml.etree import ElementTree

from fedjoint.runs.notation import cells

__all__ = ["BLUE", "CELL_INCHES", "GREEN", "GREY", "INK", "RED", "WIDTH_INCHES", "draw", "draw_rows"]

#: Okabe and Ito's palette (told apart by colour-blind readers), of it the colours with contrast 3:1 on white and black.
BLUE, RED, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#808080"
#: A colour that stands for the page's own text colour and becomes it.
INK = "#010203"
#: Of every picture, and about one of the characters in it.
WIDTH_INCHES, CELL_INCHES = 7.2, 0.088
_TITLE_CELLS = 64
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GREY,
    "grid.alpha": 0.35,
    "hatch.linewidth": 0.8,
}
#: Matplotlib's list of fonts in a style, and the list that the page has in its place.
_DRAWN_FAMILIES = re.compile(r"'DejaVu Sans'[^;]*")
_FAMILIES = "system-ui, 'Segoe UI', Roboto, 'Noto Sans', 'PingFang SC', 'Noto Sans CJK SC', sans-serif"


def draw(paint: Callable[[Any], None], *, name: str, title: str, height: float, left: float, bottom: float) -> str:
    """Draw one picture and make it fit for a page.

    Args:
        paint: Draws into the Matplotlib axes that it is given.
        name: Of the picture, unique on its page: all its ids start with it.
        title: What was found; it stands above the picture and is its label for screen readers.
        height: Of the whole picture, in inches.
        left: Room for what stands left of the axes, in inches.
        bottom: Room below them, in inches.

    Returns:
        One ``<svg>`` element for HTML, without prolog, script, style sheet or address.

    Guarantees:
        The same calls give the same text, whatever the reader's own Matplotlib settings, which are left as they were.
        Text stays text: it is escaped, and a dollar sign starts no formula.
    """
    import matplotlib  # half a second: only when a picture is drawn
    from matplotlib.figure import Figure

    lines = textwrap.wrap(title, _TITLE_CELLS)
    top = 0.25 + 0.24 * len(lines)
    drawn = io.BytesIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # The reader's browser draws the text: that the font measured with here lacks a glyph matters to nobody.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from", category=UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": f"fedjoint-{name}"})
        figure = Figure(figsize=(WIDTH_INCHES, height))
        size = (1 - (left + 0.2) / WIDTH_INCHES, 1 - (bottom + top) / height)
        axes = figure.add_axes((left / WIDTH_INCHES, bottom / height, *size))
        paint(axes)
        figure.text(0.1 / WIDTH_INCHES, 1 - 0.12 / height, "\n".join(lines), va="top", fontsize=12.5, fontweight="bold")
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(drawn, format="svg", transparent=True, metadata=metadata)
    return _for_a_page(drawn.getvalue(), name=name, label=title)


def _for_a_page(svg: bytes, *, name: str, label: str) -> str:
    """One element for HTML: no prolog, ids of its own, the page's fonts and text colour, a label for screen readers."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - these bytes are Matplotlib's, made a line before
    for parent in root.iter():
        for child in [c for c in parent if c.tag.endswith(("}metadata", "}style"))]:
            parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        element.attrib.clear()
        element.attrib.update({key: _adapted(key, value, name) for key, value in attributes.items()})
    root.attrib.update({"xmlns": "http://www.w3.org/2000/svg", "role": "img", "aria-label": label, "class": "chart"})
    return ElementTree.tostring(root, encoding="unicode")


def _adapted(key: str, value: str, name: str) -> str:
    """One attribute with its ids made unique on the page, the page's ink and the page's fonts."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value.removeprefix('#')}"
    value = value.replace("url(#", f"url(#{name}-").replace(INK, "currentColor")
    return _DRAWN_FAMILIES.sub(_FAMILIES, value) if key == "style" else value


def draw_rows(paint: Callable[[Any], None], *, name: str, title: str, rows: Sequence[str]) -> str:
    """Draw one horizontal bar a row, the first on top.

    Args:
        paint: Draws into the Matplotlib axes that it is given, row ``i`` at height ``i``.
        name: As for :func:`draw`.
        title: As for :func:`draw`.
        rows: What stands left of each row.

    Returns:
        As :func:`draw`.
    """

    def paint_rows(axes: Any) -> None:
        axes.grid(axis="x")
        paint(axes)
        axes.set_yticks(range(len(rows)), labels=rows, parse_math=False)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(rows) - 0.4, -0.6)

    left = 0.3 + CELL_INCHES * max(cells(row) for row in rows)
    return draw(paint_rows, name=name, title=title, height=1.45 + 0.29 * len(rows), left=left, bottom=0.65)
