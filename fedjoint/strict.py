"""The one strict way from untrusted JSON to frozen dataclasses: unknown keys and wrong types are errors.

Used for configuration, agreements, plans and reports alike, so that each reads the same errors.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import re
import types
import typing
from collections.abc import Hashable, Iterator, Mapping
from types import NoneType
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from pydantic_core import ErrorDetails

from fedjoint.errors import FedjointError, InvalidValue

T = TypeVar("T")

#: Deeper than any of our dataclasses; a value nested deeper is named as a whole.
_MAX_DEPTH = 32
#: Pydantic's names for a key that no field has.
_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}
#: What pydantic adds to a path at a union or an Optional; no field of ours is called so.
_BRANCH = re.compile(r"function-.*|nullable|float|str|int|bool")

#: Put above every dataclass that :func:`build` makes; without it pydantic would ignore unknown keys.
strict = with_config(ConfigDict(extra="forbid", strict=True))


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def build(kind: type[T], value: Any, *, error: type[FedjointError] = InvalidValue, where: str = "") -> T:
    """Make a frozen dataclass from plain JSON values, refusing whatever does not fit exactly.

    Args:
        kind: A dataclass decorated with :data:`strict`, as are all dataclasses inside it.
        value: JSON values (mappings, lists, strings, numbers, booleans, None).
        error: The class of error to raise.
        where: What ``value`` is, put before the key in messages ("agreement", say).

    Returns:
        An instance of ``kind``; lists have become tuples where the type says so.

    Raises:
        FedjointError: of class ``error``: an unknown key (with the nearest valid one), a missing key, a wrong type or
            a value its constructor refuses.
    """
    try:
        return typing.cast(T, _adapter(typing.cast(Hashable, kind)).validate_json(json.dumps(value, allow_nan=False)))
    except ValidationError as problems:
        found = problems.errors()  # a misspelt key is missing and unknown at once: its own name says more
        first = next((problem for problem in found if problem["type"] in _UNKNOWN), found[0])
        raise _explain(kind, first, error, where) from None
    except InvalidValue as problem:
        raise error(problem.problem, expected=problem.expected, remedy=problem.remedy) from None
    except (TypeError, ValueError, RecursionError) as problem:
        path = next(_misfits(value, where), "") or where or kind.__name__
        raise error(f"{path} is not plain JSON: {problem}") from None


def _misfits(value: Any, path: str, depth: int = 0) -> Iterator[str]:
    """Paths of the values that JSON does not have: NaN, infinity and foreign types."""
    if isinstance(value, (Mapping, list, tuple)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items if depth < _MAX_DEPTH else ():
            yield from _misfits(item, f"{path}.{key}" if path else str(key), depth + 1)
    elif not isinstance(value, (str, int, float, NoneType)) or (isinstance(value, float) and not math.isfinite(value)):
        yield path


def _explain(kind: type[Any], problem: ErrorDetails, error: type[FedjointError], where: str) -> FedjointError:
    if problem["type"] in _UNKNOWN:
        *parents, unknown = (str(part) for part in problem["loc"])
        parents = [part for part in parents if not _BRANCH.fullmatch(part)]
        names = _field_names(kind, parents)
        nearest = difflib.get_close_matches(unknown, names, 1, 0.0)
        remedy = f"Did you mean '{_dotted(where, *parents, nearest[0])}'?" if nearest else ""
        return error(
            f"unknown key '{_dotted(where, *parents, unknown)}'",
            expected="one of: " + ", ".join(sorted(names)),
            remedy=remedy,
        )
    key = _dotted(where, *(str(part) for part in problem["loc"] if not _BRANCH.fullmatch(str(part))))
    if problem["type"] in {"missing", "missing_argument"}:
        return error(f"missing key '{key}'", remedy="Add it.")
    got = json.dumps(problem["input"], default=str)
    return error(f"{key or 'value'} = {got[:80]} does not fit: {problem['msg']}")


def _dotted(where: str, *path: str) -> str:
    return ".".join([where, *path] if where else path)


def _field_names(kind: type[Any], path: list[str]) -> list[str]:
    """Names of the fields of the dataclass found by walking ``path`` from ``kind``."""
    here: Any = kind
    for part in path:
        for candidate in _members(here):
            if dataclasses.is_dataclass(candidate):
                hints = typing.get_type_hints(candidate)
                if part in hints:
                    here = hints[part]
                    break
    return [f.name for c in _members(here) if dataclasses.is_dataclass(c) for f in dataclasses.fields(c)]


def _members(kind: Any) -> list[Any]:
    """A type itself, or the types inside an Optional, union, tuple or mapping."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType, tuple, Mapping, dict):
        return [member for arg in typing.get_args(kind) for member in _members(arg)]
    return [kind]


def plain(value: Any) -> Any:
    """Turn frozen dataclasses, tuples and mappings into plain JSON values, the inverse of :func:`build`.

    Example:
        >>> plain((1, "a", {"b": (2.5, None)}))
        [1, 'a', {'b': [2.5, None]}]
    """
    if value is None or isinstance(value, (str, int, float)):
        return value  # first, as there are far more of them than of anything else
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
