"""Does the lifetime ledger survive kill -9? Processes that reserve, charge and release are killed at random moments.

    python benchmarks/budget_kills.py [--quick] [--json FILE] [--kills N] [--seed N]

After each kill the ledger must charge at least what was released (never under-count), and at most one reservation more.
"""

import argparse
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fedjoint.privacy.events import GaussianEvent, Release, costs, num_steps
from fedjoint.privacy.ledger_file import LifetimeLedger, create_ledger
from fedjoint.privacy.lifetime import lifetime_budget

ROUNDS, AGREEMENT = 5, "a" * 64
EVENT = GaussianEvent(sampling_rate=1.0, noise_multiplier=200.0)
STEP = Release(purpose="training", event=EVENT, if_opened=EVENT)


def _now() -> str:
    return "2026-01-01T00:00:00+00:00"


def run_until_killed(ledger_path: Path, releases: Path, generation: int) -> None:
    """Run after run: reserve, charge each round, release it (a byte in a file), and give the rest of some runs back."""
    ledger = LifetimeLedger(ledger_path, now=_now)
    out = os.open(releases, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for number in range(10**6):
        reservation = ledger.reserve(
            f"{generation}-{number}", agreement_sha256=AGREEMENT, releases=(STEP.times(ROUNDS),), unit="record"
        )
        for round_number in range(1, ROUNDS + 1 - number % 3):
            assert ledger.commit(reservation, name=f"round {round_number}", release=STEP)
            os.write(out, b"r")
        ledger.give_back(reservation)


def kill_once(ledger_path: Path, releases: Path, *, generation: int, after_s: float) -> dict[str, int]:
    """Kill one process, and compare what the ledger says with what was released."""
    process = multiprocessing.get_context("fork").Process(
        target=run_until_killed, args=(ledger_path, releases, generation)
    )
    process.start()
    time.sleep(after_s)
    process.kill()
    process.join()
    account = LifetimeLedger(ledger_path, now=_now).account()
    released = releases.stat().st_size if releases.exists() else 0
    held = [reservation for reservation in account.reservations if reservation.is_open]
    lost = num_steps(costs(account.charged)) - released
    ledger = LifetimeLedger(ledger_path, now=_now)
    for reservation in held:  # what a holder does once it knows that the process is gone
        ledger.give_back(reservation.id)
    after = num_steps(costs(ledger.account().charged)) - released
    return {
        "released": released,
        "lost": lost,
        "open": len(held),
        "lost_after": after,
        "under_counted": int(min(lost, after) < 0),
    }


def run_kills(kills: int, *, seed: int, folder: Path) -> list[dict[str, int]]:
    """Kill so many processes, one after the other, on one ledger."""
    moments = random.Random(seed)
    ledger, releases = folder / "ledger", folder / "releases"
    wide = lifetime_budget(1000.0, 1e-5)
    create_ledger(ledger, wide, if_opened=wide, cohort="killed", unit="record", now=_now)
    rows, lost_for_good = [], 0
    for generation in range(kills):
        row = kill_once(ledger, releases, generation=generation, after_s=moments.uniform(0.0, 0.15))
        # a round that was charged and then killed stays charged: what earlier kills lost so is not this one's loss
        row["lost"] -= lost_for_good
        row["lost_after"], lost_for_good = row["lost_after"] - lost_for_good, row["lost_after"]
        rows.append(row)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 kills instead of 200")
    parser.add_argument("--kills", type=int, metavar="N", help="so many kills")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    kills = arguments.kills or (20 if arguments.quick else 200)
    with tempfile.TemporaryDirectory() as folder:
        rows = run_kills(kills, seed=arguments.seed, folder=Path(folder))
    table = Table("after a kill", "kills", title=f"{kills} x kill -9, a reservation is {ROUNDS} steps")
    table.add_row("under-counted (charged < released)", str(sum(row["under_counted"] for row in rows)))
    table.add_row("more than one reservation lost", str(sum(row["lost"] > ROUNDS or row["open"] > 1 for row in rows)))
    for steps, count in sorted(Counter(row["lost"] for row in rows).items()):
        table.add_row(f"{steps} steps held by the open reservation", str(count))
    for steps, count in sorted(Counter(row["lost_after"] for row in rows).items()):
        table.add_row(f"{steps} steps lost once it is given back", str(count))
    table.add_row("steps released in all", f"{rows[-1]['released']:,}")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    bad = any(row["under_counted"] or row["lost"] > ROUNDS or row["open"] > 1 for row in rows)
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
