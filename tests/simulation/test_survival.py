import numpy as np
import pytest

from fedjoint.config import load_config
from fedjoint.runs.verify import verify_run
from fedjoint.simulation.simulate import simulate


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Three hospitals; the third one's times are noise."""
    random, path = np.random.default_rng(4), tmp_path_factory.mktemp("data") / "times.csv"
    lines = ["site,age,dose,time"]
    for site, signal in (("ahus", 1.0), ("bern", 1.0), ("cork", 0.0)):
        features = random.normal(size=(80, 2))
        times = 100 * random.exponential(np.exp(-signal * (features @ [1.2, -0.8])))
        times = np.where(random.random(80) < 0.3, -times, times)
        lines += [f"{site},{row[0]:.4f},{row[1]:.4f},{time:.4f}" for row, time in zip(features, times, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_times_are_learnt_valued_by_cox_and_verified(table, tmp_path):
    data = ["data=table", f"data.path={table}", "data.holder=site", "data.target=time", "data.task=survival"]
    training = ["training.rounds=8", "training.learning_rate=0.3", "privacy=local", "privacy.insecure_seed=1"]
    run = simulate(load_config([*data, *training, "valuation.utility=cox", f"run.folder={tmp_path}"]))
    report = run.report
    assert report.metrics.joint["concordance"] > 0.6
    found = {holder.id: holder.contribution for holder in report.holders}
    assert sum(found.values()) == pytest.approx(report.utility_gain, rel=0.01)
    exact = {holder.id: holder.contribution_exact for holder in report.holders}
    assert found == pytest.approx(exact, abs=0.05 * report.utility_gain)
    assert found["cork"] == min(found.values())
    assert all(check.outcome == "passed" for check in verify_run(run.folder))
