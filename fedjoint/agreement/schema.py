"""What the columns mean: the public constants that every holder encodes its records with.

Nothing in a schema may be computed from one holder's records without being accounted for as a release: ``origin`` says
where its constants come from, and a report repeats it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from fedjoint.errors import InvalidValue
from fedjoint.strict import strict

__all__ = ["MAX_CATEGORIES", "MAX_COLUMNS", "Column", "Schema", "Target"]

MAX_COLUMNS = 2_000
MAX_CATEGORIES = 200


@strict
@dataclass(frozen=True, kw_only=True)
class Column:
    """One input column.

    Args:
        name: Header in the table.
        kind: ``number`` (scaled as (x - center) / scale) or ``category`` (one-hot in the order of ``categories``).
        center: Public centre of a number, in the column's own unit.
        scale: Public scale of a number, > 0.
        low: Least plausible value; a smaller one is refused.
        high: Greatest plausible value; a larger one is refused.
        categories: Values a category may take; any other is refused.
        fill: What stands in for a missing value (a number, or one of ``categories``); None: a missing category is all
            zeros and a missing number is the centre.
        missing_flag: Whether an extra 0/1 input says that the value was missing.
        missing_values: Spellings of "missing" beside an empty field, ``"0"`` for a cholesterol of zero, say.
        unit: For people.
    """

    name: str
    kind: Literal["number", "category"]
    center: float = 0.0
    scale: float = 1.0
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()
    fill: float | str | None = None
    missing_flag: bool = False
    missing_values: tuple[str, ...] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise InvalidValue("a column has an empty name", remedy="Name it as in the table's header.")
        for name in ("center", "scale", "low", "high"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise InvalidValue(f"column '{self.name}': {name} {value}", expected="a finite number")
        if self.kind == "number":
            self._check_number()
        else:
            self._check_category()

    def _check_number(self) -> None:
        if self.scale <= 0:
            raise InvalidValue(f"column '{self.name}': scale {self.scale}", expected="scale > 0")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise InvalidValue(f"column '{self.name}': low {self.low} and high {self.high}", expected="low < high")
        if isinstance(self.fill, str) or (self.fill is not None and not math.isfinite(self.fill)):
            raise InvalidValue(f"column '{self.name}': fill {self.fill!r}", expected="a finite number")
        if self.categories:
            raise InvalidValue(f"column '{self.name}' is a number and has categories", remedy="Remove one of the two.")

    def _check_category(self) -> None:
        if not 1 <= len(self.categories) <= MAX_CATEGORIES or len(set(self.categories)) != len(self.categories):
            raise InvalidValue(
                f"column '{self.name}' has {len(self.categories)} categories",
                expected=f"1 to {MAX_CATEGORIES}, each once",
                remedy="Group rare values or drop the column.",
            )
        if self.fill is not None and self.fill not in self.categories:
            raise InvalidValue(f"column '{self.name}': fill {self.fill!r}", expected="one of its categories")

    @property
    def width(self) -> int:
        """How many model inputs this column becomes."""
        return (1 if self.kind == "number" else len(self.categories)) + self.missing_flag


@strict
@dataclass(frozen=True, kw_only=True)
class Target:
    """What is predicted.

    Args:
        name: Header in the table.
        task: ``binary``, ``multiclass``, ``number`` or ``survival``: a time, with a minus sign where nothing is known
            to have happened until then.
        classes: Values of the target in order; for ``binary`` the second is the positive class.
        center: Public centre of a numeric target.
        scale: Public scale of a numeric target, > 0.
    """

    name: str
    task: Literal["binary", "multiclass", "number", "survival"]
    classes: tuple[str, ...] = ()
    center: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        count, expected = len(self.classes), {"binary": "2", "multiclass": "3 to 200"}.get(self.task, "no")
        fits = {"binary": count == 2, "multiclass": 3 <= count <= MAX_CATEGORIES}.get(self.task, count == 0)
        if not fits or len(set(self.classes)) != count:
            raise InvalidValue(
                f"target '{self.name}' ({self.task}) has {count} classes", expected=f"{expected} distinct classes"
            )
        if not (math.isfinite(self.center) and math.isfinite(self.scale) and self.scale > 0):
            raise InvalidValue(
                f"target '{self.name}': center {self.center}, scale {self.scale}", expected="finite, scale > 0"
            )
        if self.task == "survival" and self.center != 0:
            raise InvalidValue(
                f"target '{self.name}': center {self.center}", expected="0: times are scaled, not shifted"
            )

    @property
    def outputs(self) -> int:
        """Width of the model's output: one logit, one per class, or one number."""
        return len(self.classes) if self.task == "multiclass" else 1


@strict
@dataclass(frozen=True, kw_only=True)
class Schema:
    """The columns, the target, and where their public constants come from.

    Args:
        columns: Inputs in order; 1 to 2,000.
        target: What is predicted.
        origin: ``published`` (literature), ``declared`` (by the parties) or ``inferred`` (off the records: a leak).
        notes: For people: sources, and each leak by name.
    """

    columns: tuple[Column, ...]
    target: Target
    origin: Literal["published", "declared", "inferred"] = "declared"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if not 1 <= len(names) <= MAX_COLUMNS:
            raise InvalidValue(f"the schema has {len(names)} columns", expected=f"1 to {MAX_COLUMNS}")
        for name in (*names, self.target.name):
            if [*names, self.target.name].count(name) > 1:
                raise InvalidValue(f"column '{name}' stands twice in the schema", remedy="Remove one.")

    @property
    def width(self) -> int:
        """How many numbers a record becomes."""
        return sum(column.width for column in self.columns)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the model's inputs, in order, such as ``cp=asymptomatic`` and ``chol missing``."""
        names: list[str] = []
        for column in self.columns:
            names += [column.name] if column.kind == "number" else [f"{column.name}={c}" for c in column.categories]
            names += [f"{column.name} missing"] * column.missing_flag
        return tuple(names)
