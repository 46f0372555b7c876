"""The example of a real exchange and four nodes, run as a stranger would run it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fedjoint.data.datasets.heart import find_heart_csv

EXAMPLE = Path(__file__).parents[2] / "examples" / "four_hospitals" / "run.py"
HOSPITALS = ("cleveland", "hungary", "switzerland", "va-long-beach")


@pytest.mark.skipif(find_heart_csv() is None, reason="the hospitals' data are not installed (extra: demo)")
def test_four_hospitals_over_a_network_come_to_the_figures_of_the_simulation(tmp_path):
    command = [sys.executable, str(EXAMPLE), "--folder", str(tmp_path), "training.rounds=5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "The figures are the same." in done.stdout
    assert re.search(r"verifies: (\d+) of \1 checks passed", done.stdout)
    for hospital in HOSPITALS:
        assert f"{hospital}: stopped with exit code 0" in done.stdout
        log = (tmp_path / hospital / "log.jsonl").read_text()
        assert '"event": "stopped"' in log and "Traceback" not in log
        assert (tmp_path / hospital / "home" / "identity.json").stat().st_mode & 0o777 == 0o600
