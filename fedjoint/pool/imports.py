"""Many revenues from a file of JSON lines, read in parts that are posted one by one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from fedjoint.errors import PoolError
from fedjoint.pool.facts import MAX_RECEIVED, Invoice, Queries, Received
from fedjoint.pool.revenue import price_of
from fedjoint.strict import build

__all__ = ["read_revenues", "sum_of"]

_MAX_LINE_BYTES = 10_000


def read_revenues(path: Path, *, currency: str) -> Iterator[Received]:
    """The revenues of a file, at most :data:`fedjoint.pool.facts.MAX_RECEIVED` at a time.

    Args:
        path: Of JSON lines: ``{"id", "buyer", "amount_minor"}`` or
            ``{"meter", "buyer", "price_per_1000_minor", "first", "count"}``; empty lines are passed over.
        currency: ISO 4217 code of all of them.

    Raises:
        PoolError: while iterating, naming the line: malformed or too long.
    """
    with path.open("rb") as file:
        lines = enumerate(iter(lambda: file.readline(_MAX_LINE_BYTES + 1), b""), start=1)
        found = (
            _revenue(line, f"{path.name} line {number}")
            for number, line in lines
            if line.strip() or len(line) > _MAX_LINE_BYTES
        )
        while part := tuple(itertools.islice(found, MAX_RECEIVED)):
            yield Received(
                currency=currency,
                invoices=tuple(one for one in part if isinstance(one, Invoice)),
                queries=tuple(one for one in part if isinstance(one, Queries)),
            )


def _revenue(line: bytes, where: str) -> Invoice | Queries:
    if len(line) > _MAX_LINE_BYTES:
        raise PoolError(f"{where} is too long", expected=f"at most {_MAX_LINE_BYTES} bytes")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise PoolError(f"{where} is no JSON") from None
    metered = isinstance(value, dict) and "meter" in value
    kind: type[Invoice] | type[Queries] = Queries if metered else Invoice
    return build(kind, value, error=PoolError, where=where)


def sum_of(revenues: Iterable[Received]) -> tuple[int, int]:
    """How many revenues there are, and what they come to in minor units.

    Raises:
        PoolError: as the revenues, or a price or number that cannot be.
    """
    count = total = 0
    for received in revenues:
        count += len(received.invoices) + len(received.queries)
        total += sum(invoice.amount_minor for invoice in received.invoices)
        total += sum(price_of(one.price_per_1000_minor, first=one.first, count=one.count) for one in received.queries)
    return count, total
