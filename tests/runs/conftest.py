from pathlib import Path

import pytest

from fedjoint.conduct.conducting import ConductedRun
from fedjoint.config import load_config
from fedjoint.simulation.simulate import simulate

SMALL = ["data=breast_cancer", "training.rounds=3", "run.name=small"]


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> ConductedRun:
    folder = tmp_path_factory.mktemp("runs")
    return simulate(load_config([*SMALL, f"run.folder={folder}"]))


@pytest.fixture
def copied_run(small_run: ConductedRun, tmp_path: Path) -> Path:
    """A run's folder that a test may spoil."""
    import shutil

    return Path(shutil.copytree(small_run.folder, tmp_path / "run"))
