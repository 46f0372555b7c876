"""What a simulation says of how many records each holder has."""

import re

import numpy as np
import pytest

from fedjoint.config import load_config
from fedjoint.privacy.lifetime_account import LifetimeAccount
from fedjoint.simulation.simulate import prepare, simulate
from fedjoint.simulation.sizes import released_sizes

#: Training records of the sites; with a reference fraction of .3 these stay of 250, 330 and 410.
SITES = {"north": 250, "south": 330, "west": 410}


def configured(tmp_path, *overrides):
    chance, path = np.random.default_rng(0), tmp_path / "table.csv"
    rows = [f"{site},{chance.integers(20, 90)},{chance.integers(0, 2)}" for site, n in SITES.items() for _ in range(n)]
    path.write_text("\n".join(["site,age,ill", *rows, "tiny,50,1", "tiny,40,0", "tiny,44,0"]) + "\n")
    columns = ["data=table", f"data.path={path}", "data.holder=site", "data.target=ill"]
    return load_config([*columns, f"run.folder={tmp_path}", "run.name=run", "training.rounds=2", *overrides])


@pytest.mark.parametrize("mode", ["local", "joint"])
def test_nothing_in_a_private_runs_folder_tells_how_many_records_a_holder_has(tmp_path, mode):
    config = configured(tmp_path, f"privacy={mode}", "privacy.insecure_seed=5", "valuation.quadrature_points=1")
    true = {len(holder.examples) for holder in prepare(config).division.holders}
    done = simulate(config)
    stated = {holder.num_examples for holder in done.report.holders}
    assert len(true) == 3 and not true & stated
    assert "sizes" in {cost.purpose for cost in done.report.privacy.account}
    files = [path for path in done.folder.rglob("*") if path.suffix in {".json", ".jsonl", ".html"}]
    assert len(files) >= 6
    for path in files:
        numbers = set(map(int, re.findall(r"(?<![\w.+-])\d{3}(?![\w.])", path.read_text())))
        assert not true & numbers, f"{path.name} tells {true & numbers}"
    assert all("tiny" not in one.reason and "3" not in one.reason for one in done.report.data.left_out)


def test_certified_sizes_are_stated_as_they_are_and_cost_nothing(tmp_path):
    prepared = prepare(configured(tmp_path, "privacy.sizes_noise_multiplier=null"))
    assert [one.num_examples for one in prepared.terms.holders] == [
        len(holder.examples) for holder in prepared.division.holders
    ]
    assert prepared.terms.releases.sizes_noise_multiplier is None


def test_without_privacy_sizes_are_stated_as_they_are(tmp_path):
    config = configured(tmp_path, "privacy=none", "privacy.sizes_noise_multiplier=5")
    assert released_sizes(config.privacy, prepare(config).division) == {}


def test_a_size_is_charged_once_and_told_again_in_later_runs(tmp_path):
    def spent(name):
        account: LifetimeAccount = found.ledgers[name].account()
        return [(release.purpose, release.event.count) for release in account.spent]

    config = configured(tmp_path, f"run.budgets={tmp_path / 'budgets'}")
    found = prepare(config, spending=True)
    again = prepare(config, spending=True)
    assert [one.num_examples for one in again.terms.holders] == [one.num_examples for one in found.terms.holders]
    assert spent("north") == [("sizes", 1)]
    prepare(
        configured(tmp_path, f"run.budgets={tmp_path / 'budgets'}", "privacy.sizes_noise_multiplier=20"), spending=True
    )
    assert sum(count for _, count in spent("north")) == 2  # with other noise it is another release
