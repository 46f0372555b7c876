"""Post entries with fedjoint's ledger; tell seconds and memory.

    python ledger_fedjoint.py URL ENTRIES PER_TRANSACTION

Every entry has two sides and is committed with the others of its transaction. One entry, which is not timed, goes
before them: it connects, and makes the accounts.
"""

import json
import resource
import sys
import time

from fedjoint.pool.revenue import paid
from fedjoint.pool.store_sql import LedgerStore

AT = "2026-11-30T12:00:00Z"


def main(url: str, entries: int, per_transaction: int) -> None:
    with LedgerStore.open(url) as store:
        store.post(paid("first", buyer="insurer", amount_minor=5, currency="CNY", at=AT))
        cpu, wall = time.process_time(), time.monotonic()
        for start in range(0, entries, per_transaction):
            numbers = range(start, min(entries, start + per_transaction))
            store.post(
                entry
                for number in numbers
                for entry in paid(f"e{number}", buyer="insurer", amount_minor=5, currency="CNY", at=AT)
            )
        times = {"cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - wall}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({**times, "peak_rss_mb": peak}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
