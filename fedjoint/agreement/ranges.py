"""The one check that all numbers of an agreement go through, and the bound that several of them share."""

from __future__ import annotations

import math

from fedjoint.errors import InvalidValue

__all__ = ["MAX_HOLDERS", "in_range"]

#: The most holders that an agreement may have.
MAX_HOLDERS = 200


def in_range(name: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside its range, or none at all.

    Args:
        name: The key, as people write it.
        value: What was given.
        low: Least allowed.
        high: Most allowed.

    Raises:
        InvalidValue: names key, value and range.
    """
    if not (math.isfinite(value) and low <= value <= high):
        raise InvalidValue(f"{name} = {value}", expected=f"a number from {low:g} to {high:g}")
