"""A million hostile frames against the parser that the coordinator and holders use.

    python benchmarks/frame_fuzzing.py [--quick] [--frames N] [--seed N] [--json FILE]

Frames of every kind and both schemes are mutated: bits, bytes, whole fields set to extremes, pieces cut, doubled and
exchanged between frames, lengths that lie. One in eight is then signed by the very sender it must come from, as a
hostile holder could. What must hold, whatever comes: no exception but a refusal; accepted only what its sender signed
as it is, with the header expected and every word below q (checked here without the parser); little time and memory.
"""

import argparse
import hashlib
import json
import struct
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from fedjoint.encryption.binding import Binding
from fedjoint.encryption.ciphertext import Ciphertext
from fedjoint.encryption.dot import MaskedSample
from fedjoint.encryption.frames import HEADER_BYTES, FrameHeader, pack_frame, parse_frame, parse_sample_frame
from fedjoint.encryption.parameters import DEGREE, MODULUS, Parameters
from fedjoint.errors import FrameRefused
from fedjoint.identity.keys import Identity

SENDER, STRANGER = Identity.create("cleveland", "Cleveland"), Identity.create("stranger", "Stranger")
#: Where the header's fields begin and end.
FIELDS = (0, 8, 10, 11, 12, 16, 20, 28, 32, 48, 80, 112, 144, 208)
SIGNATURE_BYTES = 64
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 1 << 31, (1 << 32) - 1, 1 << 60, MODULUS, (1 << 63) - 1, (1 << 64) - 1)
#: Every so many parses the memory is traced, which takes time.
TRACED = 500


class Target(NamedTuple):
    """What a party expects, and the one right frame for it."""

    header: FrameHeader
    parameters: Parameters
    frame: bytes


@dataclass(kw_only=True)
class Tally:
    """What happened to the frames."""

    frames: int = 0
    unchanged: int = 0
    accepted_signed: int = 0
    accepted_wrongly: int = 0
    other_exceptions: int = 0
    slowest_ms: float = 0.0
    largest_allocation: int = 0
    refusals: Counter[str] = field(default_factory=Counter)


def targets() -> list[Target]:
    """Frames of each kind in both schemes, of one and of two polynomials."""
    rng, made = np.random.default_rng(0), []
    binding = Binding(agreement_sha256="ab" * 32, run_id="cd" * 16)
    for scheme in ("seeded", "seal"):
        for size in (1, 10, 4_100):
            agreed = Parameters(
                scheme=scheme,  # type: ignore[arg-type]
                num_parameters=size,
                max_holders=4,
                bound=1.0,
                value_bits=16,
                rounds=8,
            )
            for kind, count in (("update", 1), ("sum", 3), ("sample", 1)):
                header = FrameHeader(kind=kind, binding=binding, round_number=3, key_id="12" * 32)  # type: ignore[arg-type]
                content = _content(rng, agreed, kind, count)
                made.append(Target(header, agreed, pack_frame(content, header=header, sender=SENDER)))
    return made


def _content(rng: np.random.Generator, agreed: Parameters, kind: str, count: int) -> Ciphertext | MaskedSample:
    if kind == "sample":
        return MaskedSample(parameters=agreed, b=5, a=rng.integers(0, MODULUS, DEGREE, dtype=np.uint64))
    c0 = rng.integers(0, MODULUS, agreed.num_words, dtype=np.uint64)
    if agreed.scheme == "seal":
        c1 = rng.integers(0, MODULUS, (agreed.num_polynomials, DEGREE), dtype=np.uint64)
        return Ciphertext(parameters=agreed, count=count, c0=c0, c1=c1)
    return Ciphertext(parameters=agreed, count=count, c0=c0, seeds=tuple(rng.bytes(32) for _ in range(count)))


def flip(rng: np.random.Generator, data: bytearray, others: list[Target]) -> None:
    """Flip a few bits, most of them in the header."""
    for _ in range(int(rng.integers(1, 9))):
        data[_place(rng, data)] ^= 1 << int(rng.integers(8))


def set_field(rng: np.random.Generator, data: bytearray, others: list[Target]) -> None:
    """Set a field of the header, or a word of the body, to an extreme."""
    value = int(rng.choice(np.array(EXTREMES, dtype=np.uint64)))
    start, stop = _field(rng)
    if rng.random() < 0.3:
        start = HEADER_BYTES + 8 * int(rng.integers(max(1, (len(data) - HEADER_BYTES) // 8)))
        stop = start + 8
    width = min(stop - start, 8)
    data[start : start + width] = (value & ((1 << (8 * width)) - 1)).to_bytes(width, "little")


def cut(rng: np.random.Generator, data: bytearray, others: list[Target]) -> None:
    """Leave a piece out: at the end, or anywhere."""
    start = _place(rng, data)
    del data[start : None if rng.random() < 0.5 else start + int(rng.integers(1, 65))]


def insert(rng: np.random.Generator, data: bytearray, others: list[Target]) -> None:
    """Put random or doubled bytes somewhere."""
    start, count = _place(rng, data), int(rng.integers(1, 65))
    data[start:start] = data[start : start + count] if rng.random() < 0.5 else rng.bytes(count)


def exchange(rng: np.random.Generator, data: bytearray, others: list[Target]) -> None:
    """Take a field, the body or the signature of another frame."""
    other = others[int(rng.integers(len(others)))].frame
    start, stop = _field(rng)
    choice = rng.random()
    if choice < 0.25:
        start, stop = HEADER_BYTES, -SIGNATURE_BYTES
    elif choice < 0.5:
        start, stop = -SIGNATURE_BYTES, len(data)
    data[start:stop] = other[start : stop if stop <= 0 or choice >= 0.5 else None]


def lie_about_length(rng: np.random.Generator, data: bytearray, others: list[Target]) -> None:
    """State another count or length."""
    struct.pack_into("<IQ", data, 16, int(rng.integers(1 << 32)), int(rng.integers(1 << 63)))


def scramble(rng: np.random.Generator, data: bytearray, others: list[Target]) -> None:
    """Random bytes altogether, or a random body."""
    start = 0 if rng.random() < 0.3 else HEADER_BYTES
    data[start:] = rng.bytes(len(data) - start)


MUTATIONS: tuple[Callable[[np.random.Generator, bytearray, list[Target]], None], ...] = (
    flip,
    set_field,
    cut,
    insert,
    exchange,
    lie_about_length,
    scramble,
)


def _place(rng: np.random.Generator, data: bytearray) -> int:
    return int(rng.integers(min(len(data), HEADER_BYTES) if rng.random() < 0.5 else len(data)))


def _field(rng: np.random.Generator) -> tuple[int, int]:
    number = int(rng.integers(len(FIELDS) - 1))
    return FIELDS[number], FIELDS[number + 1]


def mutate(rng: np.random.Generator, target: Target, others: list[Target]) -> tuple[bytes, bool]:
    """A hostile frame, and whether its sender signed it."""
    data = bytearray(target.frame)
    for _ in range(1 + int(rng.random() < 0.3)):
        if len(data) > HEADER_BYTES + SIGNATURE_BYTES:
            MUTATIONS[int(rng.integers(len(MUTATIONS)))](rng, data, others)
    who = rng.random()
    if who < 0.25 and len(data) > SIGNATURE_BYTES:
        digest = hashlib.blake2b(data[:-SIGNATURE_BYTES], digest_size=32).digest()
        signer = SENDER if who < 0.125 else STRANGER
        data[-SIGNATURE_BYTES:] = bytes.fromhex(signer.sign("frame", digest))
        return bytes(data), signer is SENDER
    return bytes(data), False


def may_be_accepted(data: bytes, signed: bool, target: Target) -> bool:
    """Whether what the parser accepted is what it may accept, found out in another way."""
    if data == target.frame:
        return True
    header = bytearray(data[:HEADER_BYTES])
    if target.header.kind == "sum" and 1 <= int.from_bytes(header[16:20], "little") <= target.parameters.max_holders:
        header[16:20] = target.frame[16:20]  # a sender may sign a sum of any number of updates
    if not signed or len(data) != len(target.frame) or header != target.frame[:HEADER_BYTES]:
        return False
    words = target.parameters.num_words if target.header.kind != "sample" else 1 + DEGREE
    if target.parameters.scheme == "seal" and target.header.kind != "sample":
        words += target.parameters.num_polynomials * DEGREE
    return all(word < MODULUS for (word,) in struct.iter_unpack("<Q", data[HEADER_BYTES : HEADER_BYTES + 8 * words]))


def fuzz(frames: int, *, seed: int) -> Tally:
    """Throw so many frames at the parser."""
    rng, everything, tally = np.random.default_rng(seed), targets(), Tally(frames=frames)
    for number in range(frames):
        target = everything[int(rng.integers(len(everything)))]
        data, signed = mutate(rng, target, everything)
        tally.unchanged += data == target.frame
        _parse(tally, data, signed, target, traced=number % TRACED == 0)
    return tally


def _parse(tally: Tally, data: bytes, signed: bool, target: Target, *, traced: bool) -> None:
    parse = parse_sample_frame if target.header.kind == "sample" else parse_frame
    if traced:
        tracemalloc.start()
    start, accepted = time.process_time(), False
    try:
        parse(data, expected=target.header, sender=SENDER.public, parameters=target.parameters)
        accepted = True
    except FrameRefused as refused:
        tally.refusals[refused.problem.split(" of ")[0].split(", ")[0]] += 1
    except BaseException:
        tally.other_exceptions += 1
    if traced:
        tally.largest_allocation = max(tally.largest_allocation, tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    else:
        tally.slowest_ms = max(tally.slowest_ms, 1000 * (time.process_time() - start))
    if accepted:
        right = may_be_accepted(data, signed, target)
        tally.accepted_wrongly += not right
        tally.accepted_signed += right and data != target.frame


def main() -> None:
    """Throw, and print the tally."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20,000 frames")
    parser.add_argument("--frames", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the tally there")
    arguments = parser.parse_args()
    start = time.perf_counter()
    tally = fuzz(20_000 if arguments.quick else arguments.frames, seed=arguments.seed)
    facts: dict[str, Any] = {
        "frames": tally.frames,
        "accepted although not signed as they are": tally.accepted_wrongly,
        "exceptions other than FrameRefused": tally.other_exceptions,
        "accepted, being signed by the sender as they are": tally.accepted_signed,
        "left unchanged by chance": tally.unchanged,
        "slowest parse, ms of processor time": round(tally.slowest_ms, 2),
        f"largest allocation, bytes (every {TRACED}th frame traced)": tally.largest_allocation,
        "largest frame, bytes": max(len(target.frame) for target in targets()),
        "seconds in all": round(time.perf_counter() - start, 1),
    }
    table = Table("what", "how many", title=f"Hostile frames, seed {arguments.seed}")
    for name, value in facts.items():
        table.add_row(name, f"{value:,}")
    table.add_section()
    for reason, count in tally.refusals.most_common():
        table.add_row(f"refused: {reason}", f"{count:,}")
    Console(width=max(Console().width, 100)).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps([facts | {"refusals": dict(tally.refusals)}], indent=1))
    if tally.accepted_wrongly or tally.other_exceptions:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
