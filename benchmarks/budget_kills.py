"""Does the lifetime ledger survive kill -9? Processes that reserve, charge and release are killed at random moments.

    python benchmarks/budget_kills.py [--quick] [--json FILE] [--kills N] [--seed N] [--mode ledger|local|joint|all]

`ledger` writes the file and nothing else; `local` and `joint` are whole runs of three holders that train, through keys
and encryption, one of them with the ledger. After each kill the ledger must charge at least what was released (never
under-count), and at most one reservation more.
"""

import argparse
import json
import multiprocessing
import os
import random
import secrets
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from fedjoint.conduct.reference import Yardstick
from fedjoint.conduct.training import Conditions, train
from fedjoint.config import load_config
from fedjoint.data.datasets.load import load_dataset
from fedjoint.data.division import divide
from fedjoint.privacy.events import GaussianEvent, Release, costs, num_steps
from fedjoint.privacy.ledger_file import LifetimeLedger, create_ledger
from fedjoint.privacy.lifetime import lifetime_budget
from fedjoint.simulation.agreeing import bring_together, compose_terms, sign_by_all
from fedjoint.simulation.running import grid_of, reference_of
from fedjoint.simulation.sizes import released_sizes
from fedjoint.training.session import Session

ROUNDS, AGREEMENT = 5, "a" * 64
MODES = ("ledger", "local", "joint")
#: The holder with the ledger.
BUDGETED = "holder-a"
#: So much noise that a thousand runs fit into one budget.
STUDY = [
    "data=breast_cancer",
    f"training.rounds={ROUNDS}",
    "privacy.epsilon=0.05",
    "privacy.delta=1e-6",
    "privacy.sizes_noise_multiplier=300",
    "encryption=seeded",
]
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


def train_once(mode: str, hear: Callable[[str, int], None], lifetimes: dict[str, LifetimeLedger]) -> None:
    """One run of a breast cancer study over four made-up holders; ``hear`` is told of each update before it is sent.

    Round 0 is the number of a holder's records, which is released once and then kept beside the ledger.
    """
    config = load_config([*STUDY, f"privacy={mode}"])
    dataset = load_dataset(config.data)
    division = divide(dataset, reference_fraction=0.34, minimum_examples=10, seed=0)
    first = [name for name, ledger in lifetimes.items() if not ledger.path.with_suffix(".size.json").exists()]
    sizes = released_sizes(config.privacy, division, ledgers=lifetimes)
    for name in first:
        hear(name, 0)
    parties = bring_together(
        division, observer=lambda holder, number, _: hear(holder, number), lifetimes=lifetimes, sizes=sizes
    )
    terms = compose_terms(config, dataset, division, parties)
    train(
        Session(agreement=sign_by_all(terms, parties), run_id=secrets.token_hex(16)),
        parties.coordinator,
        grid_of(parties),
        Yardstick(reference_of(division, terms), terms.data.schema),
        log=lambda kind, body: None,
        conditions=Conditions(),
    )


def train_until_killed(ledger_path: Path, releases: Path, mode: str) -> None:
    """Run after run; each update of the holder with the ledger is released (a byte in a file)."""
    out = os.open(releases, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def hear(holder: str, round_number: int) -> None:
        if holder == BUDGETED:
            os.write(out, b"r" * (1 + (mode == "joint" and round_number == 1)))  # with round 1 the contributions' noise

    while True:
        train_once(mode, hear, {BUDGETED: LifetimeLedger(ledger_path, now=_now)})


def kill_once(ledger_path: Path, releases: Path, *, generation: int, after_s: float, mode: str) -> dict[str, int]:
    """Kill one process, and compare what the ledger says with what was released."""
    target, arguments = (
        (run_until_killed, (ledger_path, releases, generation))
        if mode == "ledger"
        else (train_until_killed, (ledger_path, releases, mode))
    )
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    time.sleep(after_s)
    process.kill()
    process.join()
    if process.exitcode != -signal.SIGKILL:
        raise RuntimeError(
            f"the process ended by itself with {process.exitcode}: it was not killed, and proves nothing"
        )
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


def seconds_of_a_run(mode: str) -> float:
    """How long one run takes here; the first is not timed, as it loads the libraries that children then have."""
    for _ in range(2):
        start = time.perf_counter()
        train_once(mode, lambda holder, number: None, {})
    return time.perf_counter() - start


def run_kills(kills: int, *, seed: int, folder: Path, mode: str) -> list[dict[str, int]]:
    """Kill so many processes, one after the other, on one ledger."""
    moments = random.Random(seed)
    ledger, releases = folder / f"{mode}.ledger", folder / f"{mode}.releases"
    longest = 0.15 if mode == "ledger" else 2 * seconds_of_a_run(mode)
    wide = lifetime_budget(1000.0 if mode == "ledger" else 40.0, 1e-5)
    create_ledger(ledger, wide, if_opened=wide, cohort="killed", unit="record", now=_now)
    rows, lost_for_good = [], 0
    for generation in track(range(kills), mode, console=Console(stderr=True)):
        row = kill_once(ledger, releases, generation=generation, after_s=moments.uniform(0.0, longest), mode=mode)
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
    parser.add_argument("--mode", choices=[*MODES, "all"], default="all", help="what is killed (default: all)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    kills, bad, rows = arguments.kills or (20 if arguments.quick else 200), False, []
    for mode in MODES if arguments.mode == "all" else [arguments.mode]:
        with tempfile.TemporaryDirectory() as folder:
            of_mode = run_kills(kills, seed=arguments.seed, folder=Path(folder), mode=mode)
        show(mode, of_mode)
        most = ROUNDS + (mode == "joint")
        bad |= any(row["under_counted"] or row["lost"] > most or row["open"] > 1 for row in of_mode)
        rows += [{"mode": mode} | row for row in of_mode]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    raise SystemExit(1 if bad else 0)


def show(mode: str, rows: list[dict[str, int]]) -> None:
    """Print a tally."""
    most = ROUNDS + (mode == "joint")
    table = Table("after a kill", "kills", title=f"{mode}: {len(rows)} x kill -9, a reservation is {most} releases")
    table.add_row("under-counted (charged < released)", str(sum(row["under_counted"] for row in rows)))
    table.add_row("more than one reservation lost", str(sum(row["lost"] > most or row["open"] > 1 for row in rows)))
    for steps, count in sorted(Counter(row["lost"] for row in rows).items()):
        table.add_row(f"{steps} releases held by the open reservation", str(count))
    for steps, count in sorted(Counter(row["lost_after"] for row in rows).items()):
        table.add_row(f"{steps} releases lost once it is given back", str(count))
    table.add_row("released in all", f"{rows[-1]['released']:,}")
    Console().print(table)


if __name__ == "__main__":
    main()
