"""Four hospitals train one model of heart disease, are valued, and are paid: the main path by Python.

    python examples/heart_disease/run.py [KEY=VALUE ...]

The overrides are those of ``fedjoint simulate``; the run's folder stands in ``runs/``.
"""

import sys
from pathlib import Path

from fedjoint.config import load_config
from fedjoint.pool.money import format_minor
from fedjoint.runs.report import Report
from fedjoint.runs.verify import verify_run
from fedjoint.simulation.simulate import simulate


def tell(report: Report) -> None:
    """Print what each hospital gained and is paid."""
    auc = {name: getattr(report.metrics, name)["auc"] for name in ("joint", "pooled", "local_on_all")}
    print(f"AUC on {report.data.num_reference} reference patients:")
    print("  " + ", ".join(f"{name} {value:.3f}" for name, value in auc.items()))
    for holder in report.holders:
        payout = format_minor(holder.payout_minor, report.money.currency)
        print(f"  {holder.name}: contribution {holder.contribution:+.4f}, {holder.share:.1%}, {payout}")


def main(overrides: list[str]) -> Path:
    """Run, tell, and check the folder; returns it."""
    run = simulate(load_config(overrides))
    tell(run.report)
    for check in verify_run(run.folder):
        print(f"  {check.outcome}: {check.name}")
        if check.outcome != "passed":
            sys.exit(f"{run.folder} does not verify: {check.detail}")
    return run.folder


if __name__ == "__main__":
    main(sys.argv[1:])
