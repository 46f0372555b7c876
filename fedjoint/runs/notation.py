"""Numbers and names of a report as text: how they are rounded, and what is kept out of a terminal or a page."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from decimal import ROUND_CEILING, Context, Decimal
from math import floor, isfinite, log10
from typing import TypeVar

__all__ = [
    "MOST_ROWS",
    "NOT_MEASURABLE",
    "cells",
    "contribution_text",
    "decimals_for",
    "epsilon_text",
    "figure_text",
    "highest_and_lowest",
    "percent_text",
    "plain_text",
    "shortened",
]

T = TypeVar("T")

NOT_MEASURABLE = "not measurable"
#: More rows than this are neither drawn nor printed: the highest and the lowest are.
MOST_ROWS = 30
#: Unicode categories that could steer a terminal, reverse a line or break XML: controls, formats, surrogates and such.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Cn", "Co"})
#: Joiners that some scripts need inside words.
_JOINERS = "\u200c\u200d"


def plain_text(text: str) -> str:
    r"""Foreign text as one line that is safe to print: a name cannot move the cursor, reverse a line or break XML.

    Args:
        text: Any string: names come from agreements and tables.

    Returns:
        The same with white space as single blanks and every control or format character as U+FFFD.

    Example:
        >>> plain_text("St. Anne\n\x1b[2J")
        'St. Anne �[2J'
    """
    safe = (c if c.isspace() or c in _JOINERS or unicodedata.category(c) not in _UNSAFE else "\ufffd" for c in text)
    return " ".join("".join(safe).split())


def cells(text: str) -> int:
    """How many columns of a terminal a text takes; Chinese characters take two.

    Example:
        >>> cells("Basel"), cells("北京")
        (5, 4)
    """
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in {"W", "F"} else 1 for c in text
    )


def shortened(text: str, most: int) -> str:
    """A text of at most so many columns, cut in the middle: names often differ at their ends.

    Args:
        text: What to shorten.
        most: Columns, at least 1.

    Example:
        >>> shortened("District Hospital 17", 12), shortened("Basel", 5)
        ('District… 17', 'Basel')
    """
    if cells(text) <= most:
        return text
    tail = (most - 1) // 3
    return f"{_start(text, most - 1 - tail)}…{_start(text[::-1], tail)[::-1]}"


def _start(text: str, most: int) -> str:
    """The longest start of a text within so many columns."""
    taken = 0
    for place, character in enumerate(text):
        taken += cells(character)
        if taken > most:
            return text[:place]
    return text


def figure_text(value: float | None, *, missing: str = NOT_MEASURABLE) -> str:
    """A metric with three decimals, or that it cannot be measured.

    Example:
        >>> figure_text(0.90449), figure_text(-0.0001), figure_text(None, missing="n/a")
        ('0.904', '0.000', 'n/a')
    """
    return missing if value is None else f"{value:z.3f}"


def epsilon_text(value: float | None, *, missing: str = "n/a") -> str:
    """An epsilon with three digits, rounded up, so that no more privacy is claimed than there is.

    Example:
        >>> epsilon_text(2.8712), epsilon_text(3.0), epsilon_text(0.0), epsilon_text(None)
        ('2.88', '3.00', '0.00', 'n/a')
    """
    if value is None:
        return missing
    if not isfinite(value):
        return "unbounded"
    if value == 0:
        return "0.00"
    rounded = Context(prec=3, rounding=ROUND_CEILING).create_decimal(Decimal(repr(value)))
    places = max(0, 2 - rounded.adjusted())
    return f"{rounded:.{places}f}" if places <= 6 else f"{rounded:.2e}"


def decimals_for(values: Sequence[float | None]) -> int:
    """How many decimals give the largest of some values three digits, from 0 to 8.

    Example:
        >>> decimals_for([0.0413, -0.002, None]), decimals_for([1250.0]), decimals_for([])
        (4, 0, 3)
    """
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    return min(8, max(0, 2 - floor(log10(largest)))) if largest else 3


def contribution_text(value: float | None, decimals: int, *, missing: str = "n/a") -> str:
    """A contribution with so many decimals; a value that rounds to zero carries no minus sign.

    Example:
        >>> contribution_text(-0.00213, 4), contribution_text(-1e-9, 4), contribution_text(None, 4)
        ('-0.0021', '0.0000', 'n/a')
    """
    return missing if value is None else f"{value:z.{decimals}f}"


def percent_text(fraction: float | None, *, decimals: int = 1, missing: str = NOT_MEASURABLE) -> str:
    """A fraction as a percentage.

    Example:
        >>> percent_text(0.38249), percent_text(0.00042, decimals=2), percent_text(None)
        ('38.2 %', '0.04 %', 'not measurable')
    """
    return missing if fraction is None else f"{100 * fraction:z.{decimals}f} %"


def highest_and_lowest(rows: Sequence[T], *, most: int = MOST_ROWS) -> list[T | None]:
    """All rows where they are few; otherwise the first and the last, with None where rows are left out.

    Args:
        rows: In order.
        most: Rows to keep, at least 2.

    Example:
        >>> highest_and_lowest([1, 2, 3, 4, 5, 6], most=4), highest_and_lowest([1, 2], most=4)
        ([1, 2, None, 5, 6], [1, 2])
    """
    if len(rows) <= most:
        return list(rows)
    return [*rows[: most - most // 2], None, *rows[-(most // 2) :]]
