from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "flwr", "tenseal", "grpc", "sqlalchemy", "matplotlib", "hydra", "omegaconf", "pydantic", "opacus"}


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("module", ["fedjoint", "fedjoint.errors", "fedjoint.cli.main"])
def test_importing_loads_nothing_heavy(module):
    done = python("-c", f"import sys, {module}; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert module in loaded
    assert not loaded & HEAVY


def test_help_needs_nothing_heavy_and_names_the_verbs():
    done = python("-X", "importtime", "-m", "fedjoint", "--help")
    assert done.returncode == 0, done.stderr
    for verb in ("simulate", "verify"):
        assert verb in done.stdout
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "fedjoint" in loaded
    assert not loaded & HEAVY
