"""A pool as plain files that anybody can verify: its record, its books, its last checkpoint, in canonical JSON.

``record.jsonl`` holds the events and, as its last line, the signed checkpoint of all of them; ``ledger.jsonl`` the
entries in the order they were posted. Verification does the record again and compares every entry.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.errors import FedjointError, PoolError, RecordError
from fedjoint.files import replace_file_in_parts
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.pool.passing_books import PassingBooks
from fedjoint.pool.record_store_sql import PoolStore
from fedjoint.pool.replay import replay
from fedjoint.pool.state import PoolState, fold
from fedjoint.record.checkpoint import Checkpoint, SignedCheckpoint, require_signed, sign_checkpoint
from fedjoint.record.log import Event
from fedjoint.record.merkle import Frontier, leaf_hash
from fedjoint.strict import build

__all__ = ["POOL_LEDGER", "POOL_RECORD", "checkpoint_of", "export_pool", "sign_pool", "verify_pool"]

POOL_RECORD, POOL_LEDGER = "record.jsonl", "ledger.jsonl"
_MAX_LINE_BYTES = 8 << 20
T = TypeVar("T")


def sign_pool(store: PoolStore, coordinator: Identity, *, at: str) -> SignedCheckpoint:
    """Sign a checkpoint of the whole record, or give the one that is there if nothing happened since.

    Raises:
        PoolError: the pool was never opened, or by another coordinator.
    """
    frontier, rules = Frontier(), store.state().rules
    if rules.exchange != coordinator.public:
        raise PoolError(f"'{coordinator.id}' does not keep this pool", expected=f"the keys of '{rules.exchange.id}'")
    for event in store.events():
        frontier.append(leaf_hash(canonical_bytes(event)))
    kept = store.checkpoints()
    if kept and kept[-1].checkpoint.size == frontier.size:
        return kept[-1]
    checkpoint = Checkpoint(origin=f"pool/{rules.pool_id}", size=frontier.size, root=frontier.root().hex(), at=at)
    signed = sign_checkpoint(checkpoint, coordinator)
    store.keep_checkpoint(signed)
    return signed


def export_pool(store: PoolStore, folder: Path, coordinator: Identity) -> SignedCheckpoint:
    """Write record and books as files, under a checkpoint of now.

    Raises:
        PoolError: as :func:`sign_pool`, or something was recorded meanwhile.
        OSError: the folder cannot be written.
    """
    signed = sign_pool(store, coordinator, at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"))
    folder.mkdir(parents=True, exist_ok=True)
    events = (canonical_bytes(event) + b"\n" for event in itertools.islice(store.events(), signed.checkpoint.size))
    replace_file_in_parts(folder / POOL_RECORD, itertools.chain(events, [canonical_bytes(signed) + b"\n"]))
    replace_file_in_parts(folder / POOL_LEDGER, (canonical_bytes(entry) + b"\n" for entry in store.ledger.entries()))
    if store.state().size != signed.checkpoint.size:
        raise PoolError("something was recorded while the pool was exported", remedy="Export it again.")
    return signed


def verify_pool(folder: Path, coordinator: PublicIdentity | None = None) -> PoolState:
    """Do an exported pool again and compare everything.

    Args:
        folder: With record and ledger.
        coordinator: Whose pool it must be; None takes the one that the record names, which proves less: a folder made
            anew by somebody else would pass as well.

    Returns:
        The pool's state at the end.

    Raises:
        FedjointError: names the line: not canonical, not as it was signed, or not what the rules give.

    Guarantees:
        A change of any byte of either file is found. Memory does not grow with the number of revenues or entries.
    """
    record = folder / POOL_RECORD
    frontier, first, last = Frontier(), None, None
    for where, line in _lines(record):  # nothing is believed before it is known who signed it
        if last is not None:
            frontier.append(leaf_hash(last[1]))
        first, last = first or (where, line), (where, line)
    if first is None or last is None or not frontier.size or b'"checkpoint"' not in last[1][:16]:
        raise RecordError(f"{POOL_RECORD} ends without a checkpoint", remedy="The file was cut: get it again.")
    signed = _read(SignedCheckpoint, last[1], last[0])
    rules = fold([_read(Event, first[1], first[0])]).rules
    if coordinator is not None and rules.exchange != coordinator:
        raise RecordError(
            f"this is a pool of '{rules.exchange.id}'", expected=f"one of '{coordinator.id}' with its keys"
        )
    require_signed(signed, rules.exchange)
    found = (signed.checkpoint.origin, signed.checkpoint.size, signed.checkpoint.root)
    if found != (f"pool/{rules.pool_id}", frontier.size, frontier.root().hex()):
        raise RecordError(f"{POOL_RECORD} is not what '{rules.exchange.id}' signed", remedy="A line was changed.")
    events = (_read(Event, line, where) for where, line in itertools.islice(_lines(record), frontier.size))
    return _replayed(events, folder / POOL_LEDGER)


def checkpoint_of(folder: Path) -> SignedCheckpoint:
    """The checkpoint that ends an export's record; its signature is for :func:`verify_pool` to check.

    Raises:
        RecordError: there is none.
    """
    last = deque(_lines(folder / POOL_RECORD), maxlen=1)
    where, line = last[0] if last else (POOL_RECORD, b"")
    return _read(SignedCheckpoint, line, where)


def _replayed(events: Iterable[Event], ledger: Path) -> PoolState:
    state, lines = PoolState(), _lines(ledger)
    with PassingBooks() as books:
        for event, after, entries in replay(events, books):
            state = after
            for expected in entries:
                where, line = next(lines, (ledger.name, b""))
                if line != canonical_bytes(expected):
                    raise PoolError(
                        f"{where} is not entry '{expected.id}', which event {event.seq} ({event.type}) gives",
                        remedy="The books were changed: get them again.",
                    )
    for where, _ in lines:
        raise PoolError(f"{where} belongs to no event of the record")
    return state


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    if not path.is_file():
        raise RecordError(f"there is no {path}", remedy="Name a folder that fedjoint pool export wrote.")
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE_BYTES + 1), b""), start=1):
            if not line.endswith(b"\n") or len(line) > _MAX_LINE_BYTES:
                raise RecordError(f"{path.name} line {number} is cut off or too long")
            yield f"{path.name} line {number}", line[:-1]


def _read(kind: type[T], line: bytes, where: str) -> T:
    try:
        return build(kind, parse_canonical(line, error=RecordError, where=where), error=RecordError, where=where)
    except FedjointError as problem:
        raise RecordError(str(problem) if where in str(problem) else f"{where}: {problem}") from None
