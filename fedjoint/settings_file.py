"""A YAML or JSON file that a person writes, as plain values: no key twice, no alias, no more than so many bytes."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedjoint.errors import FedjointError

__all__ = ["JSON", "YAML", "check_suffix", "overrides_of", "read_settings"]

YAML, JSON = frozenset({".yaml", ".yml"}), frozenset({".json"})


def read_settings(path: Path, *, most_bytes: int, error: type[FedjointError], what: str) -> Any:
    """Read a file's plain values; :func:`fedjoint.strict.build` makes a record of them.

    Args:
        path: ``.yaml``, ``.yml`` or ``.json``, UTF-8.
        most_bytes: A longer file is refused.
        error: The class of error to raise.
        what: What the file is, for messages.

    Raises:
        FedjointError: of class ``error``: the file is missing, too large, of another kind or malformed, or gives a key
            twice or a YAML alias.
    """
    check_suffix(path, error=error, what=what)
    try:
        if path.stat().st_size > most_bytes:
            raise error(f"{what} '{path}' is too large", expected=f"at most {most_bytes} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as problem:
        raise error(f"{what} '{path}' cannot be read: {problem.strerror}", remedy="Check its name.") from None
    except UnicodeDecodeError:
        raise error(f"{what} '{path}' is not UTF-8", remedy="Save it as UTF-8.") from None
    return (_parse_json if path.suffix.lower() in JSON else _parse_yaml)(text, path, error)


def check_suffix(path: Path, *, error: type[FedjointError], what: str) -> None:
    """Refuse a file whose name does not end as that of a settings file.

    Raises:
        FedjointError: of class ``error``.
    """
    if path.suffix.lower() not in YAML | JSON:
        raise error(f"{what} '{path}' is of an unknown kind", expected="a file ending in .yaml, .yml or .json")


def overrides_of(
    kind: type[Any], environment: Mapping[str, str], *, prefix: str, error: type[FedjointError]
) -> dict[str, Any]:
    """What environment variables say of the fields of a settings dataclass; :func:`fedjoint.strict.build` checks it.

    Args:
        kind: The dataclass; its fields are numbers, text, or tuples of text (separated by commas).
        environment: Such as ``os.environ``; names of no field are kept, for the builder to refuse.
        prefix: What the names of variables begin with.
        error: The class of error to raise.

    Raises:
        FedjointError: of class ``error``: a number is expected and is none.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Settings:
        ...     beat_s: float = 1.0
        >>> overrides_of(Settings, {"NODE_BEAT_S": "2.5", "HOME": "/"}, prefix="NODE_", error=FedjointError)
        {'beat_s': 2.5}
    """
    hints = typing.get_type_hints(kind)
    kinds = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    found = {}
    for variable, text in environment.items():
        if variable.startswith(prefix):
            name = variable.removeprefix(prefix).lower()
            found[name] = _typed(text, kinds.get(name, str), variable, error)
    return found


def _typed(text: str, kind: Any, variable: str, error: type[FedjointError]) -> Any:
    members = typing.get_args(kind) or (kind,)
    if typing.get_origin(kind) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    if type(None) in members and text in ("", "null"):
        return None
    for number in (int, float):
        if number in members:
            try:
                return number(text)
            except ValueError:
                raise error(f"{variable} = '{text[:40]}'", expected="a number") from None
    return text


def _parse_json(text: str, path: Path, error: type[FedjointError]) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for number, (key, _) in enumerate(pairs):
            if key in dict(pairs[:number]):
                raise error(f"key '{key}' stands twice in '{path}'", remedy="Remove one.")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once)
    except (json.JSONDecodeError, RecursionError) as problem:
        raise error(f"'{path}' is no JSON: {problem}") from None


def _parse_yaml(text: str, path: Path, error: type[FedjointError]) -> Any:
    import yaml  # type: ignore[import-untyped]

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _check_yaml(root, set(), path, error)
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as problem:
        raise error(f"'{path}' is no YAML: {' '.join(str(problem).split())}") from None


def _check_yaml(node: Any, seen: set[int], path: Path, error: type[FedjointError]) -> None:
    """Refuse a key given twice, of which YAML would keep the last, and aliases, which can grow without bound."""
    if node is None or isinstance(node.value, str):
        return
    if id(node) in seen:
        raise error(f"'{path}' uses a YAML alias (*name)", remedy="Write the value out.")
    seen.add(id(node))
    keys: set[str] = set()
    for item in node.value:
        children = item if isinstance(item, tuple) else (item,)
        if isinstance(item, tuple) and isinstance(item[0].value, str):
            if item[0].value in keys:
                raise error(f"key '{item[0].value}' stands twice in '{path}'", remedy="Remove one.")
            keys.add(item[0].value)
        for child in children:
            _check_yaml(child, seen, path, error)
