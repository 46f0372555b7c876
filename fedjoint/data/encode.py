"""Turn text cells into numbers with the schema's public constants, one record at a time.

No number used here is computed from the records, so encoding costs no privacy. Messages name the column and the record
(its place in the table at hand, from 1), never the value: an error may leave the holder.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.data.records import Cells, Examples, Table
from fedjoint.errors import DataError, InvalidValue

__all__ = ["encode", "parse_numbers", "present_cells", "scale_rows"]


def encode(table: Table, schema: Schema) -> Examples:
    """Encode every record of a table.

    A number becomes ``(x - center) / scale``; a category one 0/1 input per value; a missing value the column's fill
    and, where the schema says so, a further 0/1 input set to 1. The order is that of ``schema.feature_names``.

    Args:
        table: Has every column of the schema and the target; other columns are passed over.
        schema: The public constants.

    Returns:
        ``features [num_rows, schema.width]`` and ``targets [num_rows]`` (0/1, class number, or scaled number).

    Raises:
        DataError: a column is absent, a category is not in the schema, a number is unreadable, not finite or outside
            ``[low, high]``, or a target is missing.

    Guarantees:
        A record's numbers depend on that record and the schema only.

    Example:
        >>> schema = Schema(
        ...     columns=(Column(name="age", kind="number", center=50.0, scale=10.0, missing_flag=True),),
        ...     target=Target(name="died", task="binary", classes=("no", "yes")),
        ... )
        >>> cells = {"age": np.array(["60", ""], object), "died": np.array(["no", "yes"], object)}
        >>> encode(Table(columns=cells), schema).features.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    features = np.zeros((table.num_rows, schema.width), dtype=np.float32)
    at = 0
    for column in schema.columns:
        cells = table.column(column.name)
        present = present_cells(cells, column.missing_values)
        width = column.width - column.missing_flag
        write = _number if column.kind == "number" else _one_hot
        features[:, at : at + width] = write(cells, present, column)
        if column.missing_flag:
            features[:, at + width] = ~present
        at += column.width
    return Examples(features=features, targets=_targets(table.column(schema.target.name), schema.target))


def present_cells(cells: Cells, missing_values: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which cells hold a value: neither empty nor one of the given spellings of "missing"."""
    missing = {"", *missing_values}
    return np.fromiter((cell not in missing for cell in cells), dtype=bool, count=len(cells))


def _number(cells: Cells, present: NDArray[np.bool_], column: Column) -> NDArray[np.float32]:
    fill = column.center if column.fill is None else float(column.fill)
    values = np.full(len(cells), fill)
    places = np.flatnonzero(present)
    values[places] = _finite_numbers(cells[places], places, column.name)
    low = -np.inf if column.low is None else column.low
    high = np.inf if column.high is None else column.high
    outside = present & ((values < low) | (values > high))
    if outside.any():
        raise DataError(
            f"column '{column.name}' of record {np.argmax(outside) + 1} is outside its range",
            expected=f"{low:g} to {high:g}",
            remedy="Correct the record, list the spelling under missing_values, or agree on another range.",
        )
    return _scaled(values, column.center, column.scale, column.name)[:, np.newaxis]


def _one_hot(cells: Cells, present: NDArray[np.bool_], column: Column) -> NDArray[np.float32]:
    place = {category: number for number, category in enumerate(column.categories)}
    filled = np.where(present, cells, "" if column.fill is None else str(column.fill))
    codes = np.array([place.get(cell, -1) for cell in filled], dtype=np.int64)
    unknown = present & (codes < 0)
    if unknown.any():
        raise DataError(
            f"column '{column.name}' of record {np.argmax(unknown) + 1} is none of its categories",
            expected="one of: " + ", ".join(column.categories[:20]) + (", …" if len(column.categories) > 20 else ""),
            remedy="Correct the record, list the spelling under missing_values, or agree on another category.",
        )
    hot = np.zeros((len(cells), len(column.categories)), dtype=np.float32)
    known = np.flatnonzero(codes >= 0)
    hot[known, codes[known]] = 1.0
    return hot


def _targets(cells: Cells, target: Target) -> NDArray[np.float32] | NDArray[np.int64]:
    present = present_cells(cells, ())
    if not present.all():
        raise DataError(
            f"target '{target.name}' of record {np.argmin(present) + 1} is missing",
            remedy="Leave out records without a target.",
        )
    if not target.classes:
        values = _finite_numbers(cells, np.arange(len(cells)), target.name)
        return _scaled(values, target.center, target.scale, target.name)
    place = {value: number for number, value in enumerate(target.classes)}
    codes = np.array([place.get(cell, -1) for cell in cells], dtype=np.int64)
    if (codes < 0).any():
        raise DataError(
            f"target '{target.name}' of record {np.argmax(codes < 0) + 1} is none of its classes",
            expected="one of: " + ", ".join(target.classes),
        )
    return codes.astype(np.float32) if target.task == "binary" else codes


def parse_numbers(cells: Cells) -> NDArray[np.float64] | None:
    """Read every cell as a decimal number; None if one cannot be read (``1_000``, which Python reads, counts so).

    Example:
        >>> parse_numbers(np.array(["1.5", "-2e1"], object)).tolist()
        [1.5, -20.0]
        >>> parse_numbers(np.array(["1.5", "1_000"], object)) is None
        True
    """
    if any("_" in cell for cell in cells):
        return None
    try:
        return np.array(list(map(float, cells)), dtype=np.float64)
    except ValueError:
        return None


def _finite_numbers(cells: Cells, places: NDArray[np.int64], name: str) -> NDArray[np.float64]:
    values = parse_numbers(cells)
    if values is None:
        bad = next(n for n in range(len(cells)) if parse_numbers(cells[n : n + 1]) is None)
        raise DataError(
            f"column '{name}' of record {places[bad] + 1} is no number",
            remedy="Correct the record, or list the spelling under missing_values.",
        )
    if not np.isfinite(values).all():
        bad = int(np.argmin(np.isfinite(values)))
        raise DataError(
            f"column '{name}' of record {places[bad] + 1} is not finite",
            remedy="Leave the cell empty where the value is missing.",
        )
    return values


def _scaled(values: NDArray[np.float64], center: float, scale: float, name: str) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        scaled = ((values - center) / scale).astype(np.float32)
    if not np.isfinite(scaled).all():
        raise DataError(
            f"column '{name}' of record {np.argmin(np.isfinite(scaled)) + 1} is too large once scaled",
            remedy="Give the column a low and a high bound.",
        )
    return scaled


def scale_rows(features: NDArray[np.float32], max_norm: float) -> NDArray[np.float32]:
    """Shrink every row that is longer than a public bound to that bound; leave the others as they are.

    With differential privacy the gradient of a linear model is bounded by the row's length, so a bound on rows lets
    the clip norm be chosen without looking at records. The bound must be a public constant; then this costs no privacy.

    Args:
        features: ``float32 [n, width]``, finite.
        max_norm: Largest L2 norm, > 0 and finite.

    Returns:
        A new array of the same shape.

    Raises:
        InvalidValue: ``max_norm`` is not a positive finite number.

    Guarantees:
        Every row's L2 norm is at most ``max_norm`` (to float32 rounding); each row depends on itself only.

    Example:
        >>> scale_rows(np.array([[3.0, 4.0], [0.3, 0.4]], dtype=np.float32), 1.0).round(2).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.30000001192092896, 0.4000000059604645]]
    """
    if not (np.isfinite(max_norm) and max_norm > 0):
        raise InvalidValue(f"max_norm = {max_norm}", expected="a positive finite number")
    norms = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    shrunk: NDArray[np.float32] = (features * np.minimum(1.0, max_norm / np.maximum(norms, 1e-300))).astype(np.float32)
    return shrunk
