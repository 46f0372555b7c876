"""A run whose exchange and one of whose holders are killed with kill -9 while it is on: real processes, once."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_run_ends_well_although_its_exchange_and_a_holder_are_killed_meanwhile(tmp_path):
    words = ["--trials", "1", "--holders", "3", "--within", "6", "--seed", "44", "--json", str(tmp_path / "rows.json")]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "chaos.py"), *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    faults = row.pop("faults")
    assert [fault.split(" at ")[0] for fault in faults] == ["kill ahus", "kill exchange"]
    assert row == {
        "trial": 0,
        "ended": True,
        "model_identical": True,
        "ledger_balanced": True,
        "budget_exact": True,
    }
