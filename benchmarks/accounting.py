"""Is epsilon right, and quickly? Our account beside reference values, and the time of accounting for whole studies.

    python benchmarks/accounting.py [--quick] [--json FILE] [--cases FILE]

Reference: privacy loss distributions at fine discretisation. Add-or-remove adjacency. `--cases` takes a CSV file with
the columns name, sampling_rate, noise_multiplier, steps, delta, epsilon_pld, epsilon_opacus_prv, epsilon_opacus_rdp.
"""

import argparse
import csv
import io
import json
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.budget import RunBudget
from fedjoint.privacy.events import GaussianEvent
from fedjoint.privacy.lifetime import lifetime_budget, runs_left

CASES = """\
name,sampling_rate,noise_multiplier,steps,delta,epsilon_pld,epsilon_opacus_prv,epsilon_opacus_rdp
n300_b32_e50_s1.0,0.10666666666666667,1.0,469,0.001,12.971596168131212,12.982638187992356,14.602040950642385
n300_b32_e50_s1.0_d5,0.10666666666666667,1.0,469,1e-05,17.202868568891645,17.213694477280807,18.720064517426398
n300_b32_e50_s2.0,0.10666666666666667,2.0,469,1e-05,5.773156320124999,5.783468901301576,6.269804514257708
n300_full_T50_s10,1.0,10.0,50,1e-05,2.9432252399516963,2.9533946437940695,3.1889915626335883
n120_b32_r20x4_s3,0.26666666666666666,3.0,80,0.0001,3.1119021280919896,3.1221433656651434,3.4569519471278154
n5000_b256_e10_s1.5,0.0512,1.5,196,1e-05,2.38599004233123,2.3961512979821524,2.6441725346837504
n60000_b256_e15_s1.1,0.004266666666666667,1.1,3516,1e-05,1.1338750993054267,1.1439580493372103,1.2813000161257395
n300_gauss_T1_s5,1.0,5.0,1,1e-05,0.7255217509989307,0.7355866135926731,0.794522032537103
"""


def measure(case: dict[str, str]) -> dict[str, object]:
    """Our epsilon of one case beside the others'."""
    event = GaussianEvent(
        sampling_rate=float(case["sampling_rate"]),
        noise_multiplier=float(case["noise_multiplier"]),
        count=int(case["steps"]),
    )
    epsilon, reference = epsilon_of((event,), float(case["delta"])), float(case["epsilon_pld"])
    return {
        "name": case["name"],
        "epsilon": epsilon,
        "reference": reference,
        "relative_error": epsilon / reference - 1,
        "opacus_prv": float(case["epsilon_opacus_prv"]),
        "opacus_rdp": float(case["epsilon_opacus_rdp"]),
    }


def time_rounds(holders: int, rounds: int, *, sampling_rate: float) -> float:
    """CPU seconds of holders that charge each round: full batches price it too, sampled ones price the whole plan."""
    start = time.process_time()
    for holder in range(holders):
        noise = 40.0 + holder / 1000  # each its own, so that nothing is remembered from another
        event = GaussianEvent(sampling_rate=sampling_rate, noise_multiplier=noise)
        if sampling_rate < 1:
            whole = GaussianEvent(sampling_rate=sampling_rate, noise_multiplier=noise, count=rounds)
            epsilon_of((whole,), 1e-5)
            continue
        budget = RunBudget(epsilon=8.0, delta=1e-5)
        for _ in range(rounds):
            budget.spend(event)
    return time.process_time() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="no timing of sampled plans")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--cases", type=Path, metavar="FILE", help="other cases than the eight built in")
    arguments = parser.parse_args()
    console = Console()
    rows = [
        measure(case) for case in csv.DictReader(io.StringIO(arguments.cases.read_text() if arguments.cases else CASES))
    ]
    table = Table("case", "ours", "reference", "error %", "Opacus PRV", "Opacus RDP", title="epsilon (add-or-remove)")
    for row in rows:
        others = [f"{row[name]:.4f}" for name in ("epsilon", "reference")]
        table.add_row(
            row["name"],
            *others,
            f"{100 * row['relative_error']:+.4f}",
            f"{row['opacus_prv']:.4f}",
            f"{row['opacus_rdp']:.4f}",
        )
    console.print(table)
    run = (GaussianEvent(sampling_rate=1.0, noise_multiplier=40.0, count=40),)
    naive = int(8.0 / epsilon_of(run, 1e-5))
    fitting = {
        name: runs_left(lifetime_budget(8.0, 1e-5, filter_name=name), (), run) for name in ("gdp", "either", "rdp")
    }
    console.print(
        "Lifetime epsilon 8 at 1e-5, runs of 40 full-batch steps at noise multiplier 40: "
        + ", ".join(f"{count} by {name}" for name, count in (fitting | {"naive addition": naive}).items())
    )
    console.print(
        f"20 holders x 1,000 full-batch rounds, each charged: {time_rounds(20, 1000, sampling_rate=1.0):.2f} s CPU"
    )
    if not arguments.quick:
        epsilon_of((GaussianEvent(sampling_rate=0.1, noise_multiplier=5.0, count=2),), 1e-5)  # the library's import
        console.print(
            f"20 holders x 1,000 sampled rounds, each plan: {time_rounds(20, 1000, sampling_rate=0.1):.2f} s CPU"
        )
    if arguments.json:
        keys = ("name", "epsilon", "reference")
        arguments.json.write_text(json.dumps([{key: row[key] for key in keys} for row in rows], indent=1))


if __name__ == "__main__":
    main()
