import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "heart_disease" / "run.py"


def test_the_example_runs_from_the_command_line_and_verifies(tmp_path):
    command = [sys.executable, str(EXAMPLE), "training.rounds=3", f"run.folder={tmp_path}", "run.name=example"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "Cleveland" in done.stdout and "CNY" in done.stdout
    assert done.stdout.count("passed:") >= 13 and "failed:" not in done.stdout
    assert (tmp_path / "example" / "report.html").is_file()


def test_the_example_stays_short():
    assert len(EXAMPLE.read_text().splitlines()) <= 60
