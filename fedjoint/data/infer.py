"""Guess a schema from a table, and say what the guess gives away.

What is read off the records (centres, scales, ranges, categories) becomes public in the agreement: each such value is a
leak, and the schema's notes name it. Whoever cannot accept that writes a schema file and declares the constants.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedjoint.agreement.schema import MAX_CATEGORIES, Column, Schema, Target
from fedjoint.data.encode import parse_numbers, present_cells
from fedjoint.data.records import Cells, Table
from fedjoint.errors import DataError

__all__ = ["MAX_INFERRED_CATEGORIES", "MISSING_SPELLINGS", "Task", "infer_schema"]

Task = Literal["binary", "multiclass", "number", "survival"]

#: More distinct texts than this are not taken for categories, nor more distinct whole numbers for classes.
MAX_INFERRED_CATEGORIES = 20
#: Spellings of "missing" that inference recognises beside an empty field; a schema file may name others.
MISSING_SPELLINGS = ("?", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null")

_ID_NAME = re.compile(r"(^|[_ .-])id$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class _Guess:
    """One column's guess: None means that it is left out; the notes say why or what was read off."""

    column: Column | None
    note: str


def infer_schema(table: Table, *, target: str, holder: str, task: Task | None = None) -> Schema:
    """Guess types, scaling, ranges and categories from all records.

    A column of numbers is scaled by its mean and standard deviation (rounded) and bounded by its range; one of at most
    20 texts becomes categories; a constant column, or one that numbers the records, is left out. A target of two values
    is binary (the greater or alphabetically later one is positive); of 3 to 20 texts or whole numbers, multi-class; of
    other numbers, a number.

    Args:
        table: All holders' records.
        target: Column to predict; no cell may be missing.
        holder: Column that says whose each record is; no input.
        task: Overrides the guess of the target's task.

    Returns:
        A schema with ``origin="inferred"`` whose notes name each leak.

    Raises:
        DataError: a column is absent, the target is missing somewhere, has one class only or does not fit the task, a
            column is neither number nor category, or no input is left.

    Example:
        >>> columns = {"age": ["61", "47", "53"], "died": ["1", "0", "0"], "hospital": ["A", "A", "B"]}
        >>> table = Table(columns={name: np.array(cells, dtype=object) for name, cells in columns.items()})
        >>> schema = infer_schema(table, target="died", holder="hospital")
        >>> schema.columns[0].center, schema.target.classes
        (53.7, ('0', '1'))
    """
    guessed_target, target_note = _guess_target(table.column(target), target, task)
    table.column(holder)
    if target == holder:
        raise DataError(f"target and holder are both '{target}'", expected="two columns")
    guesses = [_guess_column(name, table.columns[name]) for name in table.names if name not in (target, holder)]
    columns = tuple(guess.column for guess in guesses if guess.column is not None)
    if not columns:
        raise DataError(
            "no column is left as an input", expected=f"a column beside '{target}' and '{holder}' that varies"
        )
    notes = (target_note, *(guess.note for guess in guesses))
    return Schema(columns=columns, target=guessed_target, origin="inferred", notes=notes)


def _guess_column(name: str, cells: Cells) -> _Guess:
    values = set(cells)
    spellings = tuple(spelling for spelling in MISSING_SPELLINGS if spelling in values)
    present = cells[present_cells(cells, spellings)]
    distinct = sorted(values - {"", *spellings})
    has_missing = len(present) < len(cells)
    if len(distinct) + has_missing <= 1:
        return _Guess(column=None, note=f"Column '{name}' was left out: it has one value only.")
    numbers = parse_numbers(present)
    if numbers is not None and not np.isfinite(numbers).all():
        raise DataError(
            f"column '{name}' has a number that is not finite", remedy="Leave the cell empty if it is missing."
        )
    if _numbers_records(name, numbers, distinct, len(cells)):
        return _Guess(column=None, note=f"Column '{name}' was left out: it numbers or names the records.")
    if numbers is not None and len(np.unique(numbers)) > 1:
        column = _number_column(name, numbers, has_missing, spellings)
        read = "center, scale and range"
    else:
        column = _category_column(name, present, distinct, has_missing, spellings)
        read = "categories"
    also = f"; {', '.join(repr(s) for s in spellings)} counted as missing" if spellings else ""
    return _Guess(column=column, note=f"Leak: {read} of '{name}' were read off all holders' records{also}.")


def _numbers_records(name: str, numbers: NDArray[np.float64] | None, distinct: list[str], num_rows: int) -> bool:
    """Whether a column is a number or name given to each record: never an input, for it could only be memorised."""
    if len(distinct) != num_rows or num_rows <= MAX_INFERRED_CATEGORIES:
        return False
    if numbers is None:
        return True
    whole = bool((numbers == np.round(numbers)).all())
    return whole and (bool(_ID_NAME.search(name)) or float(np.ptp(numbers)) == num_rows - 1)


def _number_column(name: str, numbers: NDArray[np.float64], has_missing: bool, spellings: tuple[str, ...]) -> Column:
    center, scale = _rounded_moments(numbers)
    return Column(
        name=name,
        kind="number",
        center=center,
        scale=scale,
        low=float(numbers.min()),
        high=float(numbers.max()),
        fill=center if has_missing else None,
        missing_flag=has_missing,
        missing_values=spellings,
    )


def _rounded_moments(numbers: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation, the latter to two digits and the former as finely: enough to scale by."""
    with np.errstate(over="ignore", invalid="ignore"):
        center, scale = float(numbers.mean()), float(numbers.std())
    if not (np.isfinite(center) and np.isfinite(scale) and scale > 0):
        raise DataError("a column's numbers are too large or too close to scale", remedy="Declare it in a schema file.")
    digits = 1 - int(np.floor(np.log10(scale)))
    return round(center, digits), round(scale, digits)


def _category_column(
    name: str, present: Cells, distinct: list[str], has_missing: bool, spellings: tuple[str, ...]
) -> Column:
    if len(distinct) > MAX_INFERRED_CATEGORIES:
        unreadable = sum(parse_numbers(present[n : n + 1]) is None for n in range(len(present)))
        raise DataError(
            f"column '{name}' is neither number nor category: {len(distinct)} distinct values, and {unreadable} of "
            f"{len(present)} cells are no numbers",
            expected=f"numbers, or at most {MAX_INFERRED_CATEGORIES} distinct texts",
            remedy="Correct the cells, group rare values, remove the column, or declare it by data.schema=FILE.",
        )
    # With a single category the one-hot input already tells present from missing.
    flag = has_missing and len(distinct) > 1
    return Column(name=name, kind="category", categories=tuple(distinct), missing_flag=flag, missing_values=spellings)


def _guess_target(cells: Cells, name: str, task: Task | None) -> tuple[Target, str]:
    missing = ~present_cells(cells, MISSING_SPELLINGS)
    if missing.any():
        raise DataError(
            f"target '{name}' is missing in {int(missing.sum())} of {len(cells)} records, first in record "
            f"{np.argmax(missing) + 1}",
            remedy="Leave out records without a target.",
        )
    numbers = parse_numbers(cells)
    classes = _ordered_classes(cells, numbers, name)
    if len(classes) == 1:
        raise DataError(
            f"target '{name}' has one class only", expected="at least two values", remedy="Choose another data.target."
        )
    task = task or _guess_task(classes, numbers, name)
    if task in ("number", "survival"):
        if numbers is None or not np.isfinite(numbers).all():
            raise DataError(
                f"target '{name}' has cells that are no finite numbers", expected=f"numbers, as task is {task}"
            )
        center, scale = _rounded_moments(numbers)
        if task == "survival":  # times are scaled by their mean, not shifted
            scale, center = _rounded_moments(np.abs(numbers))[0] or 1.0, 0.0
        note = f"Leak: center and scale of the target '{name}' were read off all holders' records."
        return Target(name=name, task=task, center=center, scale=scale), note
    fits = len(classes) == 2 if task == "binary" else 3 <= len(classes) <= MAX_CATEGORIES
    if not fits:
        expected = "2" if task == "binary" else f"3 to {MAX_CATEGORIES}"
        raise DataError(f"target '{name}' has {len(classes)} classes", expected=f"{expected}, as task is {task}")
    positive = f"; '{classes[1]}' is the positive class" if task == "binary" else ""
    note = f"Leak: classes of the target '{name}' were read off all holders' records{positive}."
    return Target(name=name, task=task, classes=classes), note


def _ordered_classes(cells: Cells, numbers: NDArray[np.float64] | None, name: str) -> tuple[str, ...]:
    """The target's distinct texts, in the order of their numbers if they are numbers."""
    if numbers is None:
        return tuple(sorted(set(cells)))
    value = dict(zip(cells, numbers, strict=True))
    return tuple(sorted(value, key=lambda cell: (value[cell], cell)))


def _guess_task(classes: tuple[str, ...], numbers: NDArray[np.float64] | None, name: str) -> Task:
    if len(classes) == 2:
        return "binary"
    whole = numbers is None or bool((numbers == np.round(numbers)).all())
    if whole and len(classes) <= MAX_INFERRED_CATEGORIES:
        return "multiclass"
    if numbers is None:
        raise DataError(
            f"target '{name}' has {len(classes)} distinct texts",
            expected=f"numbers, or at most {MAX_INFERRED_CATEGORIES} classes",
            remedy="Group rare classes, or set data.task=multiclass.",
        )
    return "number"
