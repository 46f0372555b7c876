"""How fast the ledger posts beside python-accounting, and whether its memory grows with the number of events.

    python benchmarks/pool.py [--quick] [--no-peer] [--events N ...] [--json FILE]

All post entries of two sides to a database on disk. python-accounting commits each entry; ours is measured so too,
and with 500 entries a transaction. ``postings_per_s`` are per second of the client's processor time,
``wall_postings_per_s`` of the clock, medians of repetitions that take turns. ``settled`` rows are whole pools:
metered queries are taken in, settled every 50,000, paid, exported, and the export is verified, in one process.
python-accounting is installed into .venv-python-accounting by this script, without its MySQL driver; PostgreSQL is
started by it too (postgres.py).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peers import ROOT, peer_python
from postgres import running_postgres
from rich.console import Console
from rich.table import Table

WORKERS = Path(__file__).parent / "workers"
PEER = ["sqlalchemy>=2.1.4,<2.2", "python-dateutil>=2.9.0,<3", "psycopg[binary]==3.3.9"]
Row = dict[str, Any]


@contextmanager
def database(store: str):
    """The URL of an empty database."""
    if store == "postgresql":
        with running_postgres() as url:
            yield url
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/ledger.sqlite"


def worker(python: str | Path, script: str, *arguments: str) -> Row:
    """What a worker tells in its last line."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    command = [python, WORKERS / script, *arguments]
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def fedjoint(store: str, entries: int, per_transaction: int) -> Row:
    """Ours, on an empty database."""
    with database(store) as url:
        return worker(sys.executable, "ledger_fedjoint.py", url, str(entries), str(per_transaction))


def python_accounting(python: Path, store: str, entries: int) -> Row:
    """The peer, on an empty database."""
    with database(store) as url:
        driver = url.replace("postgresql://", "postgresql+psycopg://")
        told = worker(python, "ledger_python_accounting.py", driver, str(entries))
    if abs(float(told["balance"])) != 5 * (entries + 1):
        raise SystemExit(f"python-accounting's balance is {told['balance']}")
    return told


def install_peer(*, install: bool) -> Path | None:
    """python-accounting asks for a MySQL driver that needs a compiler and MySQL; it runs without."""
    python = peer_python("python-accounting", requirements=PEER, install=install)
    if python is not None and install:
        pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "python-accounting==2.0.0"]
        subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
    return python


def throughput(store: str, peer: Path | None, *, quick: bool) -> list[Row]:
    """Rows of one store: ours one by one and in batches, and the peer's."""
    few, many = (100, 500) if quick else (300, 10_000)
    contenders: list[tuple[str, int, int, Callable[[], Row]]] = [
        ("fedjoint", 1, few, lambda: fedjoint(store, few, 1)),
        ("fedjoint", 500, many, lambda: fedjoint(store, many, 500)),
    ]
    if peer is not None:
        contenders.append(("python-accounting", 1, few, lambda: python_accounting(peer, store, few)))
    told: dict[int, list[Row]] = {number: [] for number in range(len(contenders))}
    for _repetition in range(1 if quick else 3):
        for number, (*_, measure) in enumerate(contenders):
            told[number].append(measure())
    return [
        {
            "store": store,
            "system": system,
            "entries_per_transaction": size,
            "postings_per_s": round(statistics.median(2 * events / row["cpu_s"] for row in told[number])),
            "wall_postings_per_s": round(statistics.median(2 * events / row["wall_s"] for row in told[number])),
            "events": events,
            "peak_rss_mb": round(max(row["peak_rss_mb"] for row in told[number])),
        }
        for number, (system, size, events, _) in enumerate(contenders)
    ]


def settled(store: str, events: int) -> Row:
    """One row: so many revenues taken in, settled, paid, exported and verified by a pool."""
    with database(store) as url, tempfile.TemporaryDirectory() as folder:
        row = worker(sys.executable, "pool_year.py", url, str(events), folder)
    if row["problems"] or row["receivable"] != -5 * events:
        raise SystemExit(f"the books of {events} events are wrong: {row}")
    return {
        "store": store,
        "system": "fedjoint",
        "entries_per_transaction": 500,
        "postings_per_s": round(2 * events / row["cpu_s"]),
        "wall_postings_per_s": round(2 * events / row["wall_s"]),
        "events": events,
        "peak_rss_mb": round(row["peak_rss_mb"]),
        "settled": True,
        "exported_events_per_s": round(events / row["export_cpu_s"]),
        "verified_events_per_s": round(events / row["verify_cpu_s"]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less than a minute, once the peer is installed")
    parser.add_argument("--no-peer", action="store_true", help="do not install or run python-accounting")
    parser.add_argument("--events", type=int, nargs="+", metavar="N", help="so many events settled")
    parser.add_argument("--store", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    peer, rows = None if arguments.no_peer else install_peer(install=True), []
    for store in arguments.store or ("sqlite", "postgresql"):
        rows += throughput(store, peer, quick=arguments.quick)
        for events in arguments.events or ((1_000,) if arguments.quick else (10_000, 100_000, 1_000_000)):
            rows.append(settled(store, events))
    table = Table("store", "system", "entries a transaction", "postings/s (processor)", "postings/s (clock)", "events")
    table.add_column("peak MB")
    for row in rows:
        told = (row[k] for k in ("entries_per_transaction", "postings_per_s", "wall_postings_per_s", "events"))
        what = " settled, verified" if row.get("settled") else ""
        table.add_row(row["store"], row["system"] + what, *(f"{n:,}" for n in told), str(row["peak_rss_mb"]))
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
