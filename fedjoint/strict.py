"""The one strict way from untrusted JSON to frozen dataclasses: unknown keys and wrong types are errors.

Used for configuration, agreements, plans and reports alike, so that each reads the same errors.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import types
import typing
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from pydantic_core import ErrorDetails

from fedjoint.errors import FedjointError, InvalidValue

T = TypeVar("T")

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
        raise _explain(kind, problems.errors()[0], error, where) from None
    except InvalidValue as problem:
        raise error(problem.problem, expected=problem.expected, remedy=problem.remedy) from None
    except (TypeError, ValueError) as problem:
        raise error(f"{where or kind.__name__} is not plain JSON: {problem}") from None


def _explain(kind: type[Any], problem: ErrorDetails, error: type[FedjointError], where: str) -> FedjointError:
    path = [str(part) for part in problem["loc"] if not str(part).startswith(("function-", "nullable"))]
    key = ".".join(([where] if where else []) + path)
    if problem["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        names = _field_names(kind, path[:-1])
        nearest = difflib.get_close_matches(path[-1], names, 1, 0.0)
        remedy = f"Did you mean '{'.'.join([*path[:-1], nearest[0]])}'?" if nearest else ""
        return error(f"unknown key '{key}'", expected="one of: " + ", ".join(sorted(names)), remedy=remedy)
    if problem["type"] in {"missing", "missing_argument"}:
        return error(f"missing key '{key}'", remedy="Add it.")
    got = json.dumps(problem["input"], default=str)
    return error(f"{key or 'value'} = {got[:80]} does not fit: {problem['msg']}")


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
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
