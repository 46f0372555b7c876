"""Random operations on books, good and bad, for every store alike."""

from __future__ import annotations

from hypothesis import strategies as st

from fedjoint.pool.ledger import Entry, move, post_pending, void_pending

AT = "2026-11-30T12:00:00Z"
ACCOUNTS = ("receivable:b", "escrow", "reserve", "payable:h", "bank")
ROUTES = (
    ("invoice", "receivable:b", "escrow"),
    ("premium", "escrow", "reserve"),
    ("payable", "escrow", "payable:h"),
    ("payout", "payable:h", "bank"),
    ("claim", "reserve", "payable:h"),
    ("correction", "payable:h", "escrow"),
)
_WHAT = ("post", "post", "pend", "settle", "part", "void", "again", "forge")
_BYTES = 3


def _operations(source: bytes) -> list[tuple[str, int, int, str]]:
    """Three bytes are an operation: to draw bytes is much quicker than to draw tuples."""
    return [
        (_WHAT[what % 8], which % 41, 1 + amount % 9, ("CNY", "CNY", "USD")[what // 8 % 3])
        for what, which, amount in zip(*(source[place::_BYTES] for place in range(_BYTES)), strict=False)
    ]


#: What to do, the route or the number of an earlier operation, an amount, and whether in two currencies.
OPERATIONS = st.binary(max_size=10 * _BYTES).map(_operations)


def entries_of(operations: list[tuple[str, int, int, str]], prefix: str) -> list[tuple[Entry, ...]]:
    """One batch for each operation; every third one carries another entry along, which stands or falls with it."""
    made: list[Entry] = []
    batches: list[tuple[Entry, ...]] = []
    for number, (what, which, amount, currency) in enumerate(operations):
        entry = _entry(what, f"{prefix}/{number}", made[which % len(made)] if made else None, (which, amount, currency))
        linked = _moved(f"{prefix}/{number}/linked", which + 1, amount, currency) if number % 3 == 2 else None
        batches.append((entry,) if linked is None else (entry, linked))
        made.append(entry)
    return batches


def _entry(what: str, id: str, earlier: Entry | None, how: tuple[int, int, str]) -> Entry:
    which, amount, currency = how
    if what == "pend":
        return _moved(id, which, amount, currency, phase="pending")
    if earlier is not None and what == "again":
        return earlier
    if earlier is not None and what == "forge":
        return _moved(earlier.id, which, amount + 10, currency)
    if earlier is not None and what in ("settle", "part", "void") and earlier.phase == "pending":
        least = {posting.account: (posting.amount_minor > 0) * 2 - 1 for posting in earlier.postings}
        if what == "void":
            return void_pending(earlier, id=id, at=AT)
        return post_pending(earlier, id=id, at=AT, amounts=least if what == "part" else None)
    return _moved(id, which, amount, currency)


def _moved(id: str, which: int, amount: int, currency: str, phase: str = "posted") -> Entry:
    kind, source, into = ROUTES[which % len(ROUTES)]
    return Entry(
        id=id, at=AT, kind=kind, currency=currency, postings=move({source: -amount, into: amount}), phase=phase
    )
