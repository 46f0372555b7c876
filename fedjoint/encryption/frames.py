"""Ciphertexts as bytes: a fixed header, the words, and the sender's signature over all of it.

Parsed with ``struct`` and numpy alone; every length is compared before anything is allocated, and the words are a view
of the bytes received. A frame states all that it belongs to, and whoever parses one states what it must be: a replayed
or reordered frame is one of the wrong round. The bytes may be mapped from a file (``scratch``): they are read in
pieces, and nothing here grows with their number. What is signed is their BLAKE2b-256 hash (RFC 7693).
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from fedjoint.encryption.binding import Binding
from fedjoint.encryption.ciphertext import Body, Ciphertext
from fedjoint.encryption.dot import MaskedSample
from fedjoint.encryption.parameters import DEGREE, MODULUS, Parameters
from fedjoint.encryption.scratch import Bytes, hash_into, pieces
from fedjoint.encryption.streams import SEED_BYTES
from fedjoint.encryption.words import Words
from fedjoint.errors import FrameRefused, IdentityError, InvalidValue
from fedjoint.identity.keys import Identity, PublicIdentity

__all__ = [
    "HEADER_BYTES",
    "FrameHeader",
    "FrameWriter",
    "frame_bytes",
    "pack_frame",
    "parse_frame",
    "parse_sample_frame",
]

_MAGIC, _VERSION = b"FEDJOINT", 2
_KINDS = {"update": 1, "sum": 2, "sample": 3}
#: Magic, version, kind, zero, round, count, body bytes, zero; run, agreement, key, parameters, sender.
_HEADER = struct.Struct("<8sHBBIIQI16s32s32s32s64s")
HEADER_BYTES = _HEADER.size
_SIGNATURE_BYTES = 64
_HEX_KEY_ID = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class FrameHeader:
    """What a frame belongs to; the same record says what the parser expects.

    Args:
        kind: ``update`` of one holder, ``sum`` of several, or masked ``sample``.
        binding: Agreement and run.
        round_number: 0 to 2^32 - 1.
        key_id: Of the key it is encrypted under, 64 lower-case hex digits.

    Raises:
        InvalidValue: a value outside its range.
    """

    kind: Literal["update", "sum", "sample"]
    binding: Binding
    round_number: int
    key_id: str

    def __post_init__(self) -> None:
        if self.kind not in _KINDS or not 0 <= self.round_number < 1 << 32 or not _HEX_KEY_ID.fullmatch(self.key_id):
            raise InvalidValue(
                f"a frame of kind '{self.kind}' in round {self.round_number} under key '{self.key_id[:70]}'",
                expected="update, sum or sample; a round below 2^32; 64 hex digits",
            )


class _Fields(NamedTuple):
    """The header as it stands in the bytes."""

    magic: bytes
    version: int
    kind: int
    zero: int
    round_number: int
    updates: int
    body_bytes: int
    padding: int
    run: bytes
    agreement: bytes
    key: bytes
    parameters: bytes
    sender: bytes


def frame_bytes(parameters: Parameters, *, kind: Literal["update", "sum", "sample"], count: int = 1) -> int:
    """Length of a frame, header and signature included: what a message costs, known before it is made.

    Args:
        parameters: The run's.
        kind: What it is around.
        count: Number of updates in it.
    """
    return HEADER_BYTES + _body_bytes(parameters, kind, count) + _SIGNATURE_BYTES


def _body_bytes(parameters: Parameters, kind: str, count: int) -> int:
    if kind == "sample":
        return 8 * (1 + DEGREE)
    second = parameters.num_polynomials * DEGREE * 8 if parameters.scheme == "seal" else count * SEED_BYTES
    return 8 * parameters.num_words + second


def _fields(header: FrameHeader, sender_id: str, parameters: Parameters, count: int) -> _Fields:
    return _Fields(
        magic=_MAGIC,
        version=_VERSION,
        kind=_KINDS[header.kind],
        zero=0,
        round_number=header.round_number,
        updates=count,
        body_bytes=_body_bytes(parameters, header.kind, count),
        padding=0,
        run=bytes.fromhex(header.binding.run_id),
        agreement=bytes.fromhex(header.binding.agreement_sha256),
        key=bytes.fromhex(header.key_id),
        parameters=bytes.fromhex(parameters.fingerprint),
        sender=sender_id.encode().ljust(64, b"\x00"),
    )


class FrameWriter:
    """A frame in the making: words are encrypted or added right where they travel.

    Args:
        header: What the frame belongs to; of kind ``update`` or ``sum``.
        sender: Who signs.
        parameters: The run's.
        count: The most updates that it will have.
        room: uint8[:func:`frame_bytes`] of so many, mapped from a file, say; new if None.

    Raises:
        InvalidValue: room of another size.
    """

    def __init__(
        self,
        header: FrameHeader,
        *,
        sender: Identity,
        parameters: Parameters,
        count: int = 1,
        room: Bytes | None = None,
    ) -> None:
        size = frame_bytes(parameters, kind=header.kind, count=count)
        self.data = np.empty(size, dtype=np.uint8) if room is None else room
        if self.data.shape != (size,):
            raise InvalidValue(f"room for a frame of {self.data.size} bytes", expected=f"{size} bytes")
        self._header, self._sender, self._parameters, self._count = header, sender, parameters, count
        after = HEADER_BYTES + 8 * parameters.num_words
        second = None
        if parameters.scheme == "seal":
            second = _words(self.data, after, parameters.num_polynomials * DEGREE).reshape(-1, DEGREE)
        self.body = Body(c0=_words(self.data, HEADER_BYTES, parameters.num_words), c1=second)

    def finish(self, content: Ciphertext) -> Bytes:
        """Write what is not there yet, sign, and give the frame's bytes.

        Raises:
            InvalidValue: the content is not of the header's kind, or of more updates than there is room for.
        """
        if content.count > self._count or self._header.kind not in ("update", "sum"):
            raise _another_kind(self._header)
        data = self.data[: frame_bytes(self._parameters, kind=self._header.kind, count=content.count)]
        if content.c0 is not self.body.c0:
            self.body.c0[:] = content.c0
        if content.c1 is not None and self.body.c1 is not None and content.c1 is not self.body.c1:
            self.body.c1[:] = content.c1
        seeds = b"".join(content.seeds)
        after = HEADER_BYTES + 8 * self._parameters.num_words
        data[after : after + len(seeds)] = np.frombuffer(seeds, dtype=np.uint8)
        _sign(data, _fields(self._header, self._sender.id, self._parameters, content.count), self._sender)
        return data


def pack_frame(content: Ciphertext | MaskedSample, *, header: FrameHeader, sender: Identity) -> bytes:
    """Write a ciphertext or masked sample as a signed frame, in memory.

    Args:
        content: An update (``count`` 1), a sum, or a masked sample, as ``header.kind`` says.
        header: What it belongs to.
        sender: Who signs.

    Raises:
        InvalidValue: the content is not of the header's kind.
    """
    parameters = content.parameters
    if isinstance(content, Ciphertext):
        if header.kind == "sample" or (header.kind == "update" and content.count != 1):
            raise _another_kind(header)
        return FrameWriter(header, sender=sender, parameters=parameters, count=content.count).finish(content).tobytes()
    if header.kind != "sample":
        raise _another_kind(header)
    data = np.empty(frame_bytes(parameters, kind="sample"), dtype=np.uint8)
    words = _words(data, HEADER_BYTES, 1 + DEGREE)
    words[0], words[1:] = content.b, content.a
    _sign(data, _fields(header, sender.id, parameters, 1), sender)
    return data.tobytes()


def parse_frame(
    data: bytes | Bytes, *, expected: FrameHeader, sender: PublicIdentity, parameters: Parameters
) -> Ciphertext:
    """Read an update or a sum, or refuse it.

    Args:
        data: Bytes from the network.
        expected: Exactly what the frame must be; its kind is ``update`` or ``sum``.
        sender: Who must have signed it.
        parameters: The run's.

    Returns:
        A ciphertext whose words are a read-only view of ``data``.

    Raises:
        FrameRefused: whatever is wrong with it, by name.

    Guarantees:
        Allocates nothing in proportion to numbers that the frame states. What is returned was signed, byte by byte, by
        ``sender`` for this agreement, run, round and key, and every word is below q.
    """
    frame, count = _check(data, expected, sender, parameters)
    words = _checked_words(frame, HEADER_BYTES, parameters.num_words)
    after = HEADER_BYTES + words.nbytes
    c1: Words | None = None
    seeds: tuple[bytes, ...] = ()
    if parameters.scheme == "seal":
        c1 = _checked_words(frame, after, parameters.num_polynomials * DEGREE).reshape(-1, DEGREE)
    else:
        listed = frame[after : after + count * SEED_BYTES].reshape(count, SEED_BYTES)
        seeds = tuple(seed.tobytes() for seed in listed)
        if len(set(seeds)) != count:
            raise FrameRefused("a frame with a repeated seed", expected="a seed for each update")
    return Ciphertext(parameters=parameters, count=count, c0=words, c1=c1, seeds=seeds)


def parse_sample_frame(
    data: bytes | Bytes, *, expected: FrameHeader, sender: PublicIdentity, parameters: Parameters
) -> MaskedSample:
    """Read a masked sample, or refuse it; as :func:`parse_frame`, with kind ``sample``.

    Raises:
        FrameRefused: whatever is wrong with it, by name.
    """
    frame, _ = _check(data, expected, sender, parameters)
    words = _checked_words(frame, HEADER_BYTES, 1 + DEGREE)
    return MaskedSample(parameters=parameters, b=int(words[0]), a=words[1:])


def _check(
    data: bytes | Bytes, expected: FrameHeader, sender: PublicIdentity, parameters: Parameters
) -> tuple[Bytes, int]:
    """Everything but the words: header, length, signature. Returns the bytes and the count."""
    if len(data) < HEADER_BYTES + _SIGNATURE_BYTES:
        raise FrameRefused(f"a truncated frame of {len(data)} bytes", expected="at least header and signature")
    frame = np.frombuffer(data, dtype=np.uint8) if isinstance(data, bytes) else data
    got = _Fields._make(_HEADER.unpack(frame[:HEADER_BYTES].tobytes()))
    most = parameters.max_holders if expected.kind == "sum" else 1
    if not 1 <= got.updates <= most:
        raise FrameRefused(f"a frame with the wrong count, {got.updates} updates", expected=f"1 to {most}")
    right = _fields(expected, sender.id, parameters, got.updates)
    for name in ("magic", "version", "kind", "agreement", "run", "round_number", "key", "parameters", "sender"):
        if getattr(got, name) != getattr(right, name):
            raise FrameRefused(
                f"a frame with the wrong {name.replace('_number', '')}",
                expected=f"that of round {expected.round_number} from '{sender.id}'",
                remedy="It was replayed, misdirected or made for another run.",
            )
    length = HEADER_BYTES + right.body_bytes + _SIGNATURE_BYTES
    if len(data) != length or got != right:
        what = "a truncated" if len(data) < length else "an oversized" if len(data) > length else "a malformed"
        raise FrameRefused(f"{what} frame of {len(data)} bytes", expected=f"{length} bytes that say so")
    try:
        sender.verify("frame", _digest(frame), frame[-_SIGNATURE_BYTES:].tobytes().hex())
    except IdentityError:
        raise FrameRefused(
            f"a frame with a bad signature of '{sender.id}'",
            remedy="It was altered on its way, or is not the sender's.",
        ) from None
    return frame, got.updates


def _another_kind(header: FrameHeader) -> InvalidValue:
    return InvalidValue(f"a frame of kind '{header.kind}' around another", expected="the kind and count of its content")


def _sign(data: Bytes, fields: _Fields, sender: Identity) -> None:
    data[:HEADER_BYTES] = np.frombuffer(_HEADER.pack(*fields), dtype=np.uint8)
    signature = bytes.fromhex(sender.sign("frame", _digest(data)))
    data[-_SIGNATURE_BYTES:] = np.frombuffer(signature, dtype=np.uint8)


def _digest(data: Bytes) -> bytes:
    """The hash of all but the signature."""
    digest = hashlib.blake2b(digest_size=32)
    hash_into(digest, data[:-_SIGNATURE_BYTES])
    return digest.digest()


def _words(data: Bytes, offset: int, count: int) -> Words:
    """Words in the bytes themselves."""
    words: Words = data[offset : offset + 8 * count].view("<u8")
    return words


def _checked_words(data: Bytes, offset: int, count: int) -> Words:
    """Words in the bytes themselves, read-only, each checked to be below q."""
    words = _words(data, offset, count)
    words.flags.writeable = False
    for piece in pieces(count, words):
        if int(words[piece].max()) >= MODULUS:
            raise FrameRefused("a frame with a word that is not below q", expected="words of a ciphertext")
    return words
