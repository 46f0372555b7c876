"""One byte string for one JSON value (RFC 8785), so that a hash or a signature means the same to everybody."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NoReturn

import rfc8785

from fedjoint.errors import AgreementError, FedjointError
from fedjoint.strict import plain

__all__ = ["canonical_bytes", "parse_canonical", "sha256_hex"]

#: Whole numbers from here on have no exact spelling in JSON.
_TOO_LARGE = 1 << 53


def canonical_bytes(value: Any) -> bytes:
    """Canonical JSON (RFC 8785) of plain values or frozen dataclasses.

    Raises:
        AgreementError: NaN, infinity, integers beyond 2^53 or foreign types, which have no canonical form; or values
            nested too deep to walk.

    Example:
        >>> canonical_bytes({"b": 1.0, "a": (True, None)})
        b'{"a":[true,null],"b":1}'
    """
    try:
        value = plain(value)
        if _is_usual(value):
            return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, ValueError, RecursionError) as problem:
        raise AgreementError(f"this value has no canonical JSON: {problem}") from None


def _is_usual(value: Any) -> bool:
    """Whether Python's own, much quicker writer spells a value as RFC 8785 does.

    It writes strings, whole numbers and literals the same way. Only floats differ, numbers beyond 2^53, which must be
    refused, and the order of keys that are not ASCII.
    """
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        return bool(-_TOO_LARGE < value < _TOO_LARGE)
    if kind is dict:
        return all(key.isascii() and _is_usual(item) for key, item in value.items())
    return kind is list and all(_is_usual(item) for item in value)


def sha256_hex(data: bytes) -> str:
    """SHA-256 as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def parse_canonical(data: bytes, *, error: type[FedjointError], where: str) -> Any:
    """Read canonical JSON and refuse any other spelling of the same value.

    Args:
        data: UTF-8 bytes.
        error: The class of error to raise.
        where: What is read, for the message.

    Raises:
        FedjointError: of class ``error``: not JSON, a key twice, or not in canonical form (a byte was changed).
    """

    def number(digits: str) -> int | float:
        # the canonical form of 1e20 is all digits: beyond 2^53 they are a float's, and an integer's are refused below
        return int(digits) if abs(int(digits)) < _TOO_LARGE else float(digits)

    def refuse(_: str) -> NoReturn:
        raise ValueError("NaN or infinity")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key stands twice")
        return dict(pairs)

    try:
        value = json.loads(data.decode(), parse_int=number, parse_constant=refuse, object_pairs_hook=unique)
    except (ValueError, RecursionError) as problem:
        raise error(f"{where} is not JSON: {problem}", remedy="Get it again from where it was made.") from None
    try:
        canonical = canonical_bytes(value)
    except AgreementError:  # a number beyond 2^53, say
        canonical = b""
    if canonical != data:
        raise error(f"{where} is not in canonical form (RFC 8785)", remedy="A byte was changed: get it again.")
    return value
