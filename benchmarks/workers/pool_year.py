"""A pool takes in so many revenues, settles and pays them, is exported and verified; tell seconds and memory.

    python pool_year.py URL EVENTS FOLDER

Revenues are batches of metered queries, 500 in a transaction with the event of the record that names them. They are
settled every 50,000 by contributions of 20 holders, and paid in the end. Verification does the record again and
compares every ledger entry. ``peak_rss_mb`` is the highest of the whole process.
"""

import hashlib
import json
import resource
import sys
import time
from pathlib import Path

from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.agreement.terms import MoneyTerms
from fedjoint.identity.keys import Identity
from fedjoint.pool import desk, receipts
from fedjoint.pool.exported import export_pool, verify_pool
from fedjoint.pool.facts import MAX_RECEIVED, Opened, Queries, Received
from fedjoint.pool.record_store_sql import PoolStore
from fedjoint.pool.registered import DataCertificate, Dataset, Party, Policy, Rights

AT, LATER = "2026-06-30T12:00:00Z", "2026-12-31T12:00:00Z"
HOLDERS = tuple(f"h{number}" for number in range(20))
PERIOD = 50_000
PRICE = 5_000


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def party(name: str, role: str) -> Party:
    return Party(
        identity=Identity.create(name, name).public,
        legal_id=f"CN/{name}",
        certificate_sha256=digest(name),
        role=role,
        valid_from="2026-01-01",
        valid_until="2027-12-31",
    )


def dataset(holder: str) -> Dataset:
    return Dataset(
        id=f"data-{holder}",
        holder=holder,
        title="Records",
        description="Records",
        schema_sha256=digest("schema"),
        quality_report_sha256=digest("quality"),
        num_records=1_000,
        source_proofs=(digest("source"),),
        certificate=DataCertificate(
            number=f"DIP-{holder}",
            registrar="Exchange",
            announced="2026-01-01",
            valid_until="2027-12-31",
            agreement_until="2027-12-31",
        ),
        rights=Rights(holding=holder, processing=holder, operation=holder),
        policy=Policy(purposes=("research",), not_before="2026-01-01", not_after="2027-12-31"),
        deidentification="none needed",
    )


def act(store: PoolStore, decide) -> None:
    store.act(lambda inside: decide(inside.state(), inside))


def open_pool(store: PoolStore, exchange: Identity, *, holdback_bp: int = 1_000) -> None:
    terms = MoneyTerms(holdback_bp=holdback_bp)
    opened = Opened(pool_id="year", exchange=exchange.public, money=terms, claims=ClaimTerms(), tranche_minor=1_000)
    act(store, lambda state, _: desk.open_pool(state, opened, at=AT))
    act(store, lambda state, _: desk.add_party(state, party("insurer", "buyer"), at=AT))
    for holder in HOLDERS:
        act(store, lambda state, _, holder=holder: desk.add_party(state, party(holder, "holder"), at=AT))
        act(store, lambda state, _, holder=holder: desk.add_dataset(state, dataset(holder), at=AT))


def take_in(store: PoolStore, start: int, count: int) -> None:
    batches = tuple(
        Queries(meter="api", buyer="insurer", price_per_1000_minor=PRICE, first=number, count=1)
        for number in range(start, start + count)
    )
    received = Received(currency="CNY", queries=batches)
    act(store, lambda state, books: receipts.receive(state, received, books=books, at=AT))


def settle(store: PoolStore, number: int) -> None:
    settling = desk.Settling(
        id=f"period-{number}",
        gross_minor=store.ledger.balance("escrow", "CNY").posted_minor,
        contributions={holder: 0.1 + place for place, holder in enumerate(HOLDERS)},
        datasets={holder: f"data-{holder}" for holder in HOLDERS},
    )
    act(store, lambda state, books: desk.settle_revenue(state, settling, books=books, at=AT)[0])


def main(url: str, events: int, folder: Path) -> None:
    exchange = Identity.create("exchange", "Exchange")
    with PoolStore.open(url) as store:
        open_pool(store, exchange, holdback_bp=0)
        cpu, wall = time.process_time(), time.monotonic()
        for start in range(0, events, MAX_RECEIVED):
            take_in(store, start, min(MAX_RECEIVED, events - start))
            done = min(start + MAX_RECEIVED, events)
            if done % PERIOD == 0 or done == events:
                settle(store, done)
        act(store, lambda state, books: desk.pay_out(state, "year", books=books, at=LATER))
        told = {"cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - wall}
        cpu = time.process_time()
        export_pool(store, folder, exchange)
        told["export_cpu_s"] = time.process_time() - cpu
        cpu = time.process_time()
        verified = verify_pool(folder, exchange.public)
        told["verify_cpu_s"] = time.process_time() - cpu
        told["receivable"] = store.ledger.balance("receivable:insurer", "CNY").posted_minor
        told["settlements"] = len(verified.settlements)
        told["problems"] = len(store.ledger.check())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({**told, "peak_rss_mb": peak}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
