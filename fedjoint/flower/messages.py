"""Parcels as Flower records. Every string key of a message lives here.

The body travels as canonical JSON in a ConfigRecord, blobs as arrays of bytes (Flower cuts large arrays into chunks; a
ConfigRecord would be one object). Both are checked against limits before they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.errors import FedjointError, TrainingError
from fedjoint.strict import build
from fedjoint.training.plan import Blobs, Parcel

__all__ = ["BLOBS", "MAX_BLOBS", "MAX_BODY_BYTES", "REFUSED", "SILENT", "from_record", "message_type", "to_record"]

_BODY_RECORD, _BODY_KEY, BLOBS = "fedjoint.body", "json", "fedjoint.blobs"
#: Names and lengths of blobs that travel in parts; there only where some do.
_LEFT_RECORD = "fedjoint.left"
_STYPE = "fedjoint.bytes"
MAX_BODY_BYTES = 16 << 20
MAX_BLOBS = 2_048

#: Flower error codes of ours (Flower's own are small): a refusal on purpose, and a failure nobody foresaw.
REFUSED, SILENT = 7_001, 7_002


def message_type(kind: str) -> str:
    """Flower's message type for a kind of task: training is ``train``, all else a ``query`` of that name."""
    return "train" if kind == "train" else f"query.{kind}"


def to_record(parcel: Parcel) -> RecordDict:
    """A parcel as a Flower RecordDict."""
    body = canonical_bytes(parcel.body)
    if len(body) > MAX_BODY_BYTES:
        raise TrainingError(f"a message body has {len(body)} bytes", expected=f"at most {MAX_BODY_BYTES}")
    arrays = {
        name: Array(dtype="uint8", shape=(len(data),), stype=_STYPE, data=bytes(data))
        for name, data in parcel.blobs.items()
    }
    records = RecordDict({_BODY_RECORD: ConfigRecord({_BODY_KEY: body}), BLOBS: ArrayRecord(arrays)})
    if parcel.left:
        records[_LEFT_RECORD] = ConfigRecord(dict(parcel.left))
    return records


def from_record(record: RecordDict, kind: type[Any], *, error: type[FedjointError] = TrainingError) -> Parcel:
    """Read a parcel whose body must be of type ``kind``.

    Raises:
        FedjointError: of class ``error``: a part is missing, unknown, too large or malformed.
    """
    parts = record.config_records[_BODY_RECORD] if _BODY_RECORD in record.config_records else ConfigRecord()
    body = parts.get(_BODY_KEY)
    whole = (
        set(record) - {_LEFT_RECORD} == {_BODY_RECORD, BLOBS}
        and BLOBS in record.array_records
        and set(parts) == {_BODY_KEY}
    )
    if not whole or not isinstance(body, bytes) or len(body) > MAX_BODY_BYTES:
        raise error("a message without the parts of a parcel, or with others", expected=f"{_BODY_RECORD} and {BLOBS}")
    value = parse_canonical(body, error=error, where="message body")
    return Parcel(
        body=build(kind, value, error=error, where="message"),
        blobs=_blobs(record.array_records[BLOBS], error),
        left=_left(record, error) if _LEFT_RECORD in record else {},
    )


def _left(record: RecordDict, error: type[FedjointError]) -> Mapping[str, int]:
    left = record.config_records[_LEFT_RECORD] if _LEFT_RECORD in record.config_records else ConfigRecord()
    if not 0 < len(left) <= MAX_BLOBS or not all(type(size) is int and size > 0 for size in left.values()):
        raise error("a message that does not say how long the blobs are that travel in parts")
    return {str(name): size for name, size in left.items() if isinstance(size, int)}


def _blobs(arrays: ArrayRecord, error: type[FedjointError]) -> Blobs:
    if len(arrays) > MAX_BLOBS:
        raise error(f"a message with {len(arrays)} blobs", expected=f"at most {MAX_BLOBS}")
    for name, array in arrays.items():
        if array.stype != _STYPE or array.dtype != "uint8" or tuple(array.shape) != (len(array.data),):
            raise error(f"blob '{str(name)[:40]}' is not bytes of its stated length")
    return {str(name): array.data for name, array in arrays.items()}
