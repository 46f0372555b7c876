"""How near is the error that holders open, by the choice of reference records, to what every update in the clear gives?

    python benchmarks/sampling_errors.py [--quick] [--json FILE]

Runs of the demo (920 patients of four hospitals) with ``valuation.error_numbers`` of 4 and 8, in each privacy mode.
Each holder's standard error from the numbers that were opened is divided by the one that a simulation computes from all
updates. From J numbers a ratio spreads by about 1 / sqrt(2 J) around 1; the mean square of the ratios is 1 if the
variance is right. Under ``joint`` the numbers' own noise adds to it.

JSON rows: privacy, numbers, runs, median_ratio, mean_square_ratio, spread, expected_spread.
"""

import argparse
import json
import math
import statistics
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from fedjoint.config import load_config
from fedjoint.simulation.simulate import simulate

MODES = ("none", "local", "joint")


def ratios(privacy: str, numbers: int, seed: int, folder: Path) -> list[float]:
    """Of one run, a ratio for each holder."""
    run = simulate(
        load_config(
            [
                f"privacy={privacy}",
                f"valuation.error_numbers={numbers}",
                f"seed={seed}",
                "training.rounds=30",
                f"run.folder={folder}",
                f"run.name={privacy}-{numbers}-{seed}",
            ]
        )
    )
    found = []
    for holder in run.report.holders:
        assert holder.sampling_error is not None and holder.sampling_exact
        found.append(holder.sampling_error / holder.sampling_exact)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="four runs of a setting instead of twenty, four numbers only"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    settings = [(privacy, numbers) for privacy in MODES for numbers in ((4,) if arguments.quick else (4, 8))]
    seeds = range(4 if arguments.quick else 20)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for privacy, numbers in track(settings, "settings", console=Console(stderr=True), transient=True):
            found = [one for seed in seeds for one in ratios(privacy, numbers, seed, Path(folder))]
            rows.append(
                {
                    "privacy": privacy,
                    "numbers": numbers,
                    "runs": len(seeds),
                    "median_ratio": statistics.median(found),
                    "mean_square_ratio": statistics.fmean(one**2 for one in found),
                    "spread": statistics.stdev(found),
                    "expected_spread": 1 / math.sqrt(2 * numbers),
                }
            )
    table = Table("privacy", "numbers", "runs", "median ratio", "mean square ratio", "spread", "expected spread")
    for row in rows:
        figures = (f"{row[key]:.2f}" for key in list(row)[3:])
        table.add_row(str(row["privacy"]), str(row["numbers"]), str(row["runs"]), *figures)
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
