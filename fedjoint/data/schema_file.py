"""A schema as a YAML or JSON file: written so that a person can correct what was inferred, and read strictly."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from fedjoint.agreement.schema import Schema
from fedjoint.errors import DataError
from fedjoint.strict import build, plain

__all__ = ["MAX_SCHEMA_BYTES", "load_schema", "write_schema"]

MAX_SCHEMA_BYTES = 4 * 10**6

_YAML, _JSON = {".yaml", ".yml"}, {".json"}
_HEADER = """\
# The schema of a table: its inputs in order, and the target. Columns not named here are not used.
# Edit it, say origin: declared if the constants come from elsewhere than the records, and pass data.schema=THIS_FILE.
"""


def load_schema(path: Path) -> Schema:
    """Read a schema file. It replaces inference as a whole: a column it does not name is no input.

    Args:
        path: ``.yaml``, ``.yml`` or ``.json`` of at most 4 MB, with the fields of
            :class:`~fedjoint.agreement.schema.Schema`.

    Raises:
        DataError: the file is missing, too large, of another kind or malformed, or holds an unknown key (the nearest
            one is given), a missing key, a key given twice, or a value of the wrong type.
        InvalidValue: a value that a column, the target or the schema refuses.
    """
    _check_suffix(path)
    try:
        if path.stat().st_size > MAX_SCHEMA_BYTES:
            raise DataError(f"schema file '{path}' is too large", expected=f"at most {MAX_SCHEMA_BYTES} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as problem:
        raise DataError(
            f"schema file '{path}' cannot be read: {problem.strerror}", remedy="Check data.schema."
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"schema file '{path}' is not UTF-8", remedy="Save it as UTF-8.") from None
    value = _parse_json(text, path) if path.suffix.lower() in _JSON else _parse_yaml(text, path)
    return build(Schema, value, error=DataError, where="schema")


def write_schema(schema: Schema, path: Path) -> None:
    """Write a schema to a new file, leaving out what equals its default.

    Args:
        schema: What :func:`load_schema` then gives back, equal in every field.
        path: ``.yaml``, ``.yml`` or ``.json``.

    Raises:
        DataError: the file exists, its folder does not, or its ending is another.
    """
    _check_suffix(path)
    value = _without_defaults(schema)
    if path.suffix.lower() in _JSON:
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    else:
        import yaml  # type: ignore[import-untyped]

        text = _HEADER + yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise DataError(f"'{path}' exists", remedy="Name a new file: schemas are not overwritten.") from None
    except OSError as problem:
        raise DataError(f"'{path}' cannot be written: {problem.strerror}") from None


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in _YAML | _JSON:
        raise DataError(f"schema file '{path}' is of an unknown kind", expected="a file ending in .yaml, .yml or .json")


def _without_defaults(value: Any) -> Any:
    """Plain JSON values of nested dataclasses, without the fields that equal their defaults."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = [field for field in dataclasses.fields(value) if getattr(value, field.name) != field.default]
        return {field.name: _without_defaults(getattr(value, field.name)) for field in kept}
    if isinstance(value, tuple):
        return [_without_defaults(item) for item in value]
    return plain(value)


def _parse_json(text: str, path: Path) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for number, (key, _) in enumerate(pairs):
            if key in dict(pairs[:number]):
                raise DataError(f"key '{key}' stands twice in '{path}'", remedy="Remove one.")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once)
    except (json.JSONDecodeError, RecursionError) as problem:
        raise DataError(f"'{path}' is no JSON: {problem}") from None


def _parse_yaml(text: str, path: Path) -> Any:
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _check_yaml(root, set(), path)
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as problem:
        raise DataError(f"'{path}' is no YAML: {' '.join(str(problem).split())}") from None


def _check_yaml(node: Any, seen: set[int], path: Path) -> None:
    """Refuse a key given twice, of which YAML would keep the last, and aliases, which can grow without bound."""
    if node is None or isinstance(node.value, str):
        return
    if id(node) in seen:
        raise DataError(f"'{path}' uses a YAML alias (*name)", remedy="Write the value out.")
    seen.add(id(node))
    keys: set[str] = set()
    for item in node.value:
        children = item if isinstance(item, tuple) else (item,)
        if isinstance(item, tuple) and isinstance(item[0].value, str):
            if item[0].value in keys:
                raise DataError(f"key '{item[0].value}' stands twice in '{path}'", remedy="Remove one.")
            keys.add(item[0].value)
        for child in children:
            _check_yaml(child, seen, path)
