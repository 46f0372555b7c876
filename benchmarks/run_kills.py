"""Does a run survive kill -9 of its process? Real `fedjoint simulate` processes are killed at random moments.

    python benchmarks/run_kills.py [--quick] [--json FILE] [--kills N] [--seed N]

After each kill no run may stand in the folder but those that verify whole, and what the killed process had collected
must go when the next run begins. Moments are drawn between the start of the process and the end of an undisturbed run.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fedjoint.runs.verify import verify_run

ROUNDS = 40


def start(folder: Path, name: str) -> subprocess.Popen[bytes]:
    """A real run, of its own process."""
    settings = ["data=breast_cancer", f"training.rounds={ROUNDS}", "encryption=seeded", f"run.name={name}"]
    return subprocess.Popen(
        [sys.executable, "-m", "fedjoint", "simulate", *settings, f"run.folder={folder}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent), "OMP_NUM_THREADS": "1"},
    )


def whole(run: Path) -> bool:
    """Whether a run's folder passes every check."""
    return all(check.outcome == "passed" for check in verify_run(run))


def kill_once(folder: Path, *, name: str, after_s: float) -> dict[str, int | float]:
    """Kill one run, and look at what it left."""
    process = start(folder, name)
    time.sleep(after_s)
    process.kill()
    killed = process.wait() == -signal.SIGKILL
    run = folder / name
    return {
        "after_s": round(after_s, 3),
        "killed": int(killed),
        "collecting": len(list(folder.glob(f".{name}.*.partial"))),
        "half_written": int(run.exists() and not whole(run)),
        "finished": int(run.exists()),
    }


def main() -> None:
    """Kill, look, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 kills instead of 100")
    parser.add_argument("--kills", type=int, metavar="N", help="so many kills")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    kills = arguments.kills or (3 if arguments.quick else 100)
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder, began = Path(temporary), time.monotonic()
        start(folder, "undisturbed").wait()
        longest = time.monotonic() - began
        rows = []
        for n in range(kills):
            rows.append(kill_once(folder, name=f"run-{n}", after_s=moments.uniform(0, longest)))
            if arguments.json:  # after each: whoever interrupts it keeps what was found
                arguments.json.write_text(json.dumps(rows, indent=1))
        start(folder, "last").wait()
        left = len(list(folder.glob(".*")))
        survivors = whole(folder / "undisturbed") and whole(folder / "last")
    table = Table("after a kill", "how many", title=f"{kills} x kill -9 within {longest:.1f} s, {ROUNDS} rounds")
    for name, words in (
        ("killed", "processes that were still running"),
        ("collecting", "had begun to collect a run's files"),
        ("finished", "had finished: the run verifies"),
        ("half_written", "runs half-written"),
    ):
        table.add_row(words, str(sum(int(row[name]) for row in rows)))
    table.add_row("left of killed runs after one more run", str(left))
    Console().print(table)
    raise SystemExit(0 if survivors and not left and not any(row["half_written"] for row in rows) else 1)


if __name__ == "__main__":
    main()
