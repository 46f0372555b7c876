"""Centre and scale of each column from noisy sums over all holders, instead of from public constants.

Everything is computed from encoded records (:mod:`fedjoint.data.encode`), whose numbers lie in a public range, so that
one record changes the sums by a known amount. What is opened is the sum over all holders, with noise.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedjoint.agreement.release_terms import statistics_length
from fedjoint.agreement.schema import Column, Schema
from fedjoint.data.quality import suppress
from fedjoint.data.records import Examples
from fedjoint.errors import DataError
from fedjoint.strict import strict

__all__ = ["ColumnStatistics", "Standardisation", "standardise", "statistics_of", "statistics_sensitivity"]

#: Least standard deviation that is divided by, as a fraction of half the public range: noise can make it tiny.
_LEAST_SPREAD = 0.02


@strict
@dataclass(frozen=True, kw_only=True)
class ColumnStatistics:
    """What was released of one column, noise included.

    Args:
        name: Its header.
        mean: Of a number, in its own unit; None for a category.
        sd: Of a number, in its own unit; None for a category.
        missing: How many values are missing; None where the schema does not flag them, or the cell is withheld.
        counts: Of a category, how many records have each value, in the schema's order; None where a cell is withheld
            because it, or one beside it, is below 10.
    """

    name: str
    mean: float | None
    sd: float | None
    missing: int | None
    counts: tuple[int | None, ...]


@strict
@dataclass(frozen=True, kw_only=True)
class Standardisation:
    """How every party encodes numbers once the statistics are known: ``(encoded - center) / scale``.

    Args:
        center: Of each model input, as encoded; 0 for those that are no numbers.
        scale: Likewise, > 0; 1 for those that are no numbers.
        columns: The statistics in words.
    """

    center: tuple[float, ...]
    scale: tuple[float, ...]
    columns: tuple[ColumnStatistics, ...]

    def apply(self, examples: Examples, schema: Schema) -> Examples:
        """Standardise encoded records; a missing number that is flagged becomes the centre, 0.

        Raises:
            DataError: the records have another width.
        """
        if examples.width != len(self.center):
            raise DataError(f"records of width {examples.width}", expected=f"{len(self.center)}")
        features = ((examples.features - np.array(self.center)) / np.array(self.scale)).astype(np.float32)
        for column, at in _places(schema):
            if column.kind == "number" and column.missing_flag:
                features[examples.features[:, at + 1] > 0, at] = 0.0
        return dataclasses.replace(examples, features=features)


def statistics_sensitivity(schema: Schema) -> float:
    """The most that one record adds to the statistics, L2: of a number up to 1 and 1, of a category one count.

    Example:
        >>> from fedjoint.agreement.schema import Target
        >>> age = Column(name="age", kind="number", low=0.0, high=100.0)
        >>> sex = Column(name="sex", kind="category", categories=("f", "m"))
        >>> target = Target(name="ill", task="binary", classes=("no", "yes"))
        >>> round(statistics_sensitivity(Schema(columns=(age, sex), target=target)) ** 2)
        3
    """
    return math.sqrt(sum(2 if column.kind == "number" else 1 for column in schema.columns))


def statistics_of(examples: Examples, schema: Schema) -> NDArray[np.float64]:
    """One holder's sums: for each number of its place in the public range, -1 to 1, and of its square; and counts.

    Args:
        examples: Encoded with ``schema``.
        schema: Every number of it has a low and a high.

    Returns:
        float64 [:func:`~fedjoint.agreement.release_terms.statistics_length`].

    Guarantees:
        Adding or removing one record changes it by at most :func:`statistics_sensitivity` in L2.
    """
    parts: list[NDArray[np.float64]] = []
    for column, at in _places(schema):
        width = column.width - column.missing_flag
        values = examples.features[:, at : at + width].astype(np.float64)
        missing = examples.features[:, at + width] > 0 if column.missing_flag else np.zeros(len(examples), dtype=bool)
        if column.kind == "number":
            middle, half = _range(column)
            values = np.clip((values - middle) / half, -1.0, 1.0)
            values = np.concatenate([values, values**2], axis=1)
        parts.append(np.where(missing[:, None], 0.0, values).sum(axis=0))
        if column.missing_flag:
            parts.append(np.array([missing.sum()], dtype=np.float64))
    return np.concatenate(parts)


def standardise(sums: NDArray[np.float64], schema: Schema, *, num_examples: int) -> Standardisation:
    """What the noisy sums over all holders say: post-processing, which costs nothing more.

    Args:
        sums: Opened, float64 [:func:`~fedjoint.agreement.release_terms.statistics_length`].
        schema: As agreed.
        num_examples: Certified examples of the holders in the sum, a public constant.

    Raises:
        DataError: another number of sums.
    """
    if sums.shape != (statistics_length(schema),):
        raise DataError(f"{sums.size} statistics", expected=f"{statistics_length(schema)}")
    center, scale, columns, read = [0.0] * schema.width, [1.0] * schema.width, [], 0
    for column, at in _places(schema):
        width = 2 if column.kind == "number" else len(column.categories)
        own, read = sums[read : read + width], read + width
        missing = float(np.clip(sums[read], 0, num_examples)) if column.missing_flag else None
        read += column.missing_flag
        of_category = np.clip(own, 0, num_examples).tolist() if column.kind == "category" else []
        shown = suppress([*([] if missing is None else [missing]), *of_category])
        told, counts = (None, shown) if missing is None else (shown[0], shown[1:])
        if column.kind == "category":
            columns.append(ColumnStatistics(name=column.name, mean=None, sd=None, missing=told, counts=counts))
            continue
        middle, half = _range(column)
        present = max(num_examples - (missing or 0.0), 1.0)
        mean = float(np.clip(own[0] / present, -1, 1))
        spread = math.sqrt(max(float(own[1]) / present - mean**2, _LEAST_SPREAD**2))
        center[at], scale[at] = middle + half * mean, half * min(spread, 1.0)
        columns.append(
            ColumnStatistics(
                name=column.name,
                mean=column.center + column.scale * center[at],
                sd=column.scale * scale[at],
                missing=told,
                counts=(),
            )
        )
    return Standardisation(center=tuple(center), scale=tuple(scale), columns=tuple(columns))


def _places(schema: Schema) -> Iterator[tuple[Column, int]]:
    """Each column and its first model input."""
    at = 0
    for column in schema.columns:
        yield column, at
        at += column.width


def _range(column: Column) -> tuple[float, float]:
    """Middle and half-width of a number's public range, as encoded."""
    if column.low is None or column.high is None:
        raise DataError(f"column '{column.name}' has no public range", remedy="Give it a low and a high.")
    low, high = ((bound - column.center) / column.scale for bound in (column.low, column.high))
    return (low + high) / 2, (high - low) / 2
