"""Post entries with fedjoint's ledger; tell seconds and memory.

    python ledger_fedjoint.py URL ENTRIES PER_TRANSACTION [settle]

Every entry has two sides and is committed with the others of its transaction. With ``settle`` the entries are metered
queries, which are settled every 50,000, and in the end every entry is read and verified.
"""

import json
import resource
import sys
import time

from fedjoint.agreement.terms import MoneyTerms
from fedjoint.pool.ledger import Entry
from fedjoint.pool.revenue import Meter, paid, queries_paid
from fedjoint.pool.settlement_entries import entries_of_settlement
from fedjoint.pool.store_sql import LedgerStore
from fedjoint.pool.waterfall import settle

AT = "2026-11-30T12:00:00Z"
METER = Meter(id="api", buyer="insurer", currency="CNY", price_per_1000_minor=5_000)
TERMS = MoneyTerms(holdback_bp=0)
PERIOD = 50_000


def invoice(number: int) -> tuple[Entry, ...]:
    return paid(f"e{number}", buyer="insurer", amount_minor=5, currency="CNY", at=AT)


def queries(number: int) -> tuple[Entry, ...]:
    return queries_paid(METER, first=number, count=1, at=AT)


def settlement(store: LedgerStore, number: int, brought: object) -> object:
    gross = store.balance("escrow", "CNY").available_minor
    done = settle(gross, {f"h{i}": float(i) for i in range(20)}, terms=TERMS, brought=brought)
    store.post(entries_of_settlement(done, f"period/{number}", terms=TERMS, at=AT))
    return done.carried


def main(url: str, entries: int, per_transaction: int, *, settling: bool) -> None:
    make = queries if settling else invoice
    with LedgerStore.open(url) as store:
        cpu, wall, brought = time.process_time(), time.monotonic(), None
        for start in range(0, entries, per_transaction):
            numbers = range(start, min(entries, start + per_transaction))
            store.post(entry for number in numbers for entry in make(number))
            done = start + len(numbers)
            if settling and (done % PERIOD == 0 or done == entries):
                brought = settlement(store, done, brought)
        times = {"cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - wall}
        cpu = time.process_time()
        problems = store.check() if settling else []
        told = {"verify_cpu_s": time.process_time() - cpu, "problems": len(problems)}
        told["receivable"] = store.balance("receivable:insurer", "CNY").posted_minor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({**times, **told, "peak_rss_mb": peak}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), settling="settle" in sys.argv[4:])
