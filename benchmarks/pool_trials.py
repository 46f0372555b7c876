"""Do the books hold under load? Random waterfalls, writers at the same time, and kill -9 during settlement.

    python benchmarks/pool_trials.py [--quick] [--only TRIAL] [--seed N] [--json FILE]

``waterfalls``: chains of settlements with random rules; every sum, quota and lifetime error is checked exactly.
``writers``: processes that send overlapping, repeated operations in random batches; then the books are replayed
serially. ``kills``: a process that takes in revenue and settles it, record and books, is killed at a random moment;
then the same step is repeated, and in the end the record is done again and must give every entry.
PostgreSQL is started by this script (see postgres.py) with its default, durable settings.
"""

import argparse
import json
import multiprocessing
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from postgres import running_postgres
from rich.console import Console
from rich.table import Table
from workers import pool_year

from fedjoint.agreement.terms import MoneyTerms
from fedjoint.errors import PoolError
from fedjoint.identity.keys import Identity
from fedjoint.pool import desk, receipts
from fedjoint.pool.books import Books
from fedjoint.pool.facts import Invoice, Received
from fedjoint.pool.ledger import Entry, move, post_pending, void_pending
from fedjoint.pool.record_store_sql import PoolStore
from fedjoint.pool.replay import replay
from fedjoint.pool.revenue import paid
from fedjoint.pool.store_sql import LedgerStore
from fedjoint.pool.waterfall import Period, settle

AT = "2026-11-30T12:00:00Z"
WRITERS = {"sqlite": 4, "postgresql": 16}
PERIODS = 1_000
Row = dict[str, Any]


def random_terms(source: random.Random) -> MoneyTerms:
    """Rates that leave the holders something."""
    return MoneyTerms(
        tax_bp=source.randrange(2_000),
        exchange_fee_bp=source.randrange(3_000),
        cpu_hour_minor=1,
        compute_cap_bp=source.randrange(1_000),
        reserve_premium_bp=source.randrange(1_000),
        base_bp=source.choice((0, source.randrange(10_000))),
        base_by=source.choice(("equal", "size")),
        holdback_bp=source.randrange(10_000),
    )


def waterfalls(count: int, *, seed: int) -> Row:
    """Settle so many periods, in chains of a thousand that carry their remainders."""
    source, row = random.Random(seed), Counter[str]()
    largest = Fraction(0)
    for start in range(0, count, PERIODS):
        terms, holders = random_terms(source), [f"h{i}" for i in range(source.randrange(2, 9))]
        sizes = {holder: source.randrange(1, 10_000) for holder in holders}
        brought, owed, got = {}, Counter(), Counter()
        for _ in range(min(PERIODS, count - start)):
            gross = source.choice((source.randrange(100), source.randrange(10**12)))
            # tenths, so that a thousand periods' remainders keep a common denominator of readable length
            contributions = {holder: source.randrange(-20, 80) / 8 for holder in holders}
            compute = {holder: source.randrange(10**6) for holder in holders}
            period = Period(sizes=sizes, compute_minor=compute, reserve_room_minor=source.choice((None, 10**6)))
            done = settle(gross, contributions, terms=terms, brought=brought, period=period)
            parts = done.tax_minor + done.fee_minor + sum(done.compute_minor.values()) + done.reserve_minor
            row["unbalanced"] += parts + sum(done.payouts_minor.values()) + done.suspense_minor != gross
            rest = gross - sum(done.compute_minor.values()) - gross * Fraction(terms.tax_bp, 10_000 + terms.tax_bp)
            premium = gross * Fraction(terms.reserve_premium_bp, 10_000)
            premium = premium if period.reserve_room_minor is None else min(premium, 10**6)
            rest -= gross * Fraction(terms.exchange_fee_bp, 10_000) + premium
            base = Fraction(terms.base_bp, 10_000)
            for holder in holders:
                weight = Fraction(1, len(holders)) if terms.base_by == "equal" else Fraction(sizes[holder])
                weight = weight if terms.base_by == "equal" else weight / sum(sizes.values())
                quota = rest * (base * weight + (1 - base) * done.shares[holder])
                payout = done.payouts_minor[holder]
                row["beyond a unit of its quota"] += abs(quota + brought.get(holder, 0) - payout) >= 1
                owed[holder] += quota
                got[holder] += payout
                error = abs(owed[holder] - got[holder])
                largest = max(largest, error)
                row["lifetime error of a unit"] += error >= 1
            brought = done.carried
    return {
        "trial": "waterfalls",
        "store": None,
        "count": count,
        "problems": sum(row.values()),
        "largest_lifetime_error": round(float(largest), 4),
    }


def operations(count: int, *, seed: int) -> list[Entry]:
    """Distinct entries: revenue, transfers, pending entries, what resolves them, and payouts that may be refused."""
    source, made = random.Random(seed), []
    for number in range(count):
        kind, amount = number % 10, source.randrange(1, 1_000)
        holder, id = f"h{source.randrange(16)}", f"op/{number}"
        if kind < 5:
            made += paid(id, buyer=f"b{number % 20}", amount_minor=amount, currency="CNY", at=AT)
        elif kind == 5:
            made.append(_entry(id, "transfer", {"escrow": -amount, f"payable:{holder}": amount}))
        elif kind in (6, 7):
            made.append(_entry(id, "transfer", {"escrow": -amount, "reserve": amount}, phase="pending"))
        elif kind == 8:
            void, pending = source.random() < 0.5, made[number - 1 - source.randrange(2)]
            made.append((void_pending if void else post_pending)(pending, id=id, at=AT))
        else:
            made.append(_entry(id, "payout", {f"payable:{holder}": -amount, "bank": amount}))
    return made


def _entry(id: str, kind: str, amounts: dict[str, int], **fields: Any) -> Entry:
    return Entry(id=id, at=AT, kind=kind, currency="CNY", postings=move(amounts), **fields)


def write(url: str, mine: list[Entry], seed: int, results: Any) -> None:
    """One writer: its operations in random batches; a batch that is refused is sent one by one."""
    source, tally, new = random.Random(seed), Counter[str](), []
    with LedgerStore.open(url) as store:
        start = 0
        while start < len(mine):
            batch = mine[start : start + source.randrange(1, 20)]
            start += len(batch)
            try:
                groups, posted = [], [store.post(batch)]
            except PoolError:
                groups, posted = [[entry] for entry in batch], []
            for group in groups:
                try:
                    posted.append(store.post(group))
                except PoolError:
                    tally["refused"] += 1
            for done in posted:
                new += done.new
                tally["known"] += len(done.known)
    results.put((tally, new))


def writers(store_name: str, url: str, count: int, *, seed: int) -> Row:
    """Send so many operations, two thirds of them distinct, from several processes, and replay what was kept."""
    source, number = random.Random(seed), WRITERS[store_name]
    distinct = operations(count * 2 // 3, seed=seed)
    sent = [*distinct, *source.choices(distinct, k=count - len(distinct))]
    # nearly in order, so that most entries find what they need; neighbours go to different writers
    order = sorted(range(count), key=lambda i: int(sent[i].id[3:]) + source.randrange(200))
    LedgerStore.open(url).close()
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    began = time.monotonic()
    processes = [
        context.Process(target=write, args=(url, [sent[i] for i in order[w::number]], seed + w, results))
        for w in range(number)
    ]
    for process in processes:
        process.start()
    told = [results.get() for _ in processes]
    for process in processes:
        process.join()
    seconds = time.monotonic() - began
    tally = sum((tally for tally, _ in told), Counter())
    new = Counter(id for _, ids in told for id in ids)
    with LedgerStore.open(url) as store:
        serial, kept = Books(), Counter[str]()
        for entry in store.entries():
            serial.post([entry])  # a limit that did not hold at its turn would be refused here
            kept[entry.id] += 1
        wrong = [*store.check(), *(id for id in kept | new if kept[id] != new[id] or kept[id] != 1)]
        if serial.standings() != store.standings():
            wrong.append("balances differ from the serial replay")
    return {
        "trial": "writers",
        "store": store_name,
        "count": count,
        "writers": number,
        "posted": sum(kept.values()),
        "known": tally["known"],
        "refused": tally["refused"],
        "problems": len(wrong),
        "seconds": round(seconds, 1),
    }


def settle_period(store: PoolStore, number: int) -> None:
    """Take in a period's revenue and divide it, as ``fedjoint pool import`` and ``settle`` do; both may be repeated."""
    amount, name = 1_000_003 + number, f"p{number}"
    received = Received(currency="CNY", invoices=(Invoice(id=name, buyer="insurer", amount_minor=amount),))
    pool_year.act(store, lambda state, books: receipts.receive(state, received, books=books, at=pool_year.AT))
    settling = desk.Settling(
        id=name,
        gross_minor=amount,
        contributions={holder: float(i + 1) for i, holder in enumerate(pool_year.HOLDERS)},
        datasets={holder: f"data-{holder}" for holder in pool_year.HOLDERS},
    )
    if name not in store.state().settlements:
        pool_year.act(store, lambda state, books: desk.settle_revenue(state, settling, books=books, at=pool_year.AT)[0])


def settle_until_killed(url: str, first: int, out: Connection) -> None:
    """Settle period after period, and say so each time before."""
    with PoolStore.open(url) as store:
        for number in range(first, first + 10**6):
            out.send_bytes(b".")
            settle_period(store, number)


def found_after(store: PoolStore, number: int) -> str:
    """What a killed process left of a period: nothing, its revenue, all of it, or something that must not be."""
    name, ledger = f"p{number}", store.ledger
    settled = name in store.state().settlements
    there = [ledger.entry(f"{name}/{part}") is not None for part in ("waterfall", "payables")]
    there += [ledger.entry(f"{name}/holdback/{holder}") is not None for holder in pool_year.HOLDERS]
    if all(there) and settled and ledger.entry(f"invoice/{name}") is not None:
        return "all"
    if any(there) or settled:
        return "half"
    return "nothing" if ledger.entry(f"invoice/{name}") is None else "its revenue"


def kills(store_name: str, url: str, count: int, *, seed: int) -> Row:
    """Kill so many settlements; each is looked at, then repeated, twice; in the end the record is done again."""
    source, row, first = random.Random(seed), Counter[str](), 0
    with PoolStore.open(url) as store:
        pool_year.open_pool(store, Identity.create("exchange", "Exchange"))
    for _ in range(count):
        context = multiprocessing.get_context("fork")
        listening, telling = context.Pipe(duplex=False)
        process = context.Process(target=settle_until_killed, args=(url, first, telling))
        process.start()
        listening.recv_bytes()
        time.sleep(source.uniform(0, 0.3))
        process.kill()
        process.join()
        with PoolStore.open(url) as store:
            while (found := found_after(store, first)) == "all":
                first += 1
            row["half-posted"] += found == "half"
            for _again in range(2):
                settle_period(store, first)
            row["not completed"] += found_after(store, first) != "all"
            first += 1
    with PoolStore.open(url) as store:
        problems = store.ledger.check()
        standing = {account: amount for (_, account), amount in store.ledger.balances().items()}
        told = [entry for _, _, entries in replay(store.events()) for entry in entries]
        row["not what the record gives"] += told != list(store.ledger.entries())
        row["not settled once"] += list(store.state().settlements) != [f"p{number}" for number in range(first)]
    expected = sum(1_000_003 + number for number in range(first))
    row["lost or made"] += standing["receivable:insurer"] != -expected or standing["escrow"] != 0
    wrong = sum(row.values()) + len(problems)
    return {"trial": "kills", "store": store_name, "count": count, "settled": first, "problems": wrong}


@contextmanager
def stores() -> Iterator[dict[str, str]]:
    """An empty database of each kind."""
    with tempfile.TemporaryDirectory() as folder, running_postgres({"max_connections": "60"}) as postgresql:
        yield {"sqlite": f"sqlite:///{folder}/ledger.sqlite", "postgresql": postgresql}


def run(only: str, *, quick: bool, seed: int) -> Iterator[Row]:
    """The trials, one row each."""
    if only in ("all", "waterfalls"):
        yield waterfalls(2_000 if quick else 100_000, seed=seed)
    for trial, small, full in ((writers, 600, 100_000), (kills, 5, 300)):
        if only in ("all", trial.__name__):
            with stores() as urls:
                for name, url in urls.items():
                    yield trial(name, url, small if quick else full, seed=seed)


def main() -> None:
    """Run, print, and fail if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less than a minute")
    parser.add_argument("--only", choices=("all", "waterfalls", "writers", "kills"), default="all")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    rows, table = [], Table("trial", "store", "count", "problems", "more", title="the books under load")
    for row in run(arguments.only, quick=arguments.quick, seed=arguments.seed):
        rows.append(row)
        more = {key: value for key, value in row.items() if key not in ("trial", "store", "count", "problems")}
        told = ", ".join(f"{key} {value:,}" for key, value in more.items())
        table.add_row(row["trial"], row["store"] or "-", f"{row['count']:,}", str(row["problems"]), told)
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    raise SystemExit(1 if any(row["problems"] for row in rows) else 0)


if __name__ == "__main__":
    main()
