"""A schema as a YAML or JSON file: written so that a person can correct what was inferred, and read strictly."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from fedjoint.agreement.schema import Schema
from fedjoint.errors import DataError
from fedjoint.settings_file import JSON, check_suffix, read_settings
from fedjoint.strict import build, plain

__all__ = ["MAX_SCHEMA_BYTES", "load_schema", "write_schema"]

MAX_SCHEMA_BYTES = 4 * 10**6

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
    value = read_settings(path, most_bytes=MAX_SCHEMA_BYTES, error=DataError, what="schema file")
    return build(Schema, value, error=DataError, where="schema")


def write_schema(schema: Schema, path: Path) -> None:
    """Write a schema to a new file, leaving out what equals its default.

    Args:
        schema: What :func:`load_schema` then gives back, equal in every field.
        path: ``.yaml``, ``.yml`` or ``.json``.

    Raises:
        DataError: the file exists, its folder does not, or its ending is another.
    """
    check_suffix(path, error=DataError, what="schema file")
    value = _without_defaults(schema)
    if path.suffix.lower() in JSON:
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


def _without_defaults(value: Any) -> Any:
    """Plain JSON values of nested dataclasses, without the fields that equal their defaults."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = [field for field in dataclasses.fields(value) if getattr(value, field.name) != field.default]
        return {field.name: _without_defaults(getattr(value, field.name)) for field in kept}
    if isinstance(value, tuple):
        return [_without_defaults(item) for item in value]
    return plain(value)
