"""Does joining pay? Joint, pooled and local models of heart disease over several splits, without privacy.

    python benchmarks/main_path.py [--quick] [--json FILE]

One row for each seed: AUC on all reference patients of the joint model, of one trained on pooled records, and the mean
of the hospitals' own; how far the contributions are from summing to the utility gained, and their rank correlation with
the exact Shapley values of the same games.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from fedjoint.config import load_config
from fedjoint.simulation.simulate import simulate

#: Key of a row to its heading.
COLUMNS = {
    "joint": "joint",
    "pooled": "pooled",
    "local_on_all": "local",
    "joint_minus_pooled": "j - p",
    "joint_minus_local": "j - l",
    "sum_gap": "gap",
    "rank_correlation": "rank",
}


def measure(seed: int, folder: str) -> dict[str, float]:
    """One whole run without privacy."""
    report = simulate(load_config(["privacy=none", f"seed={seed}", f"run.folder={folder}"])).report
    joint, pooled, local = (getattr(report.metrics, name)["auc"] for name in ("joint", "pooled", "local_on_all"))
    return {
        "seed": seed,
        "joint": joint,
        "pooled": pooled,
        "local_on_all": local,
        "joint_minus_pooled": joint - pooled,
        "joint_minus_local": joint - local,
        "sum_gap": report.contributions.gap,
        "rank_correlation": report.contributions.rank_correlation,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seeds instead of five")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(seed, folder) for seed in range(2 if arguments.quick else 5)]
    table = Table("seed", *COLUMNS.values(), title="Heart disease, privacy=none: AUC on all reference patients")
    for row in rows:
        table.add_row(str(row["seed"]), *(f"{row[name]:.4f}" for name in COLUMNS))
    table.add_section()
    table.add_row("mean", *(f"{statistics.mean(row[name] for row in rows):.4f}" for name in COLUMNS))
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
