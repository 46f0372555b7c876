"""Lifetime budgets of simulated holders: over runs, in a folder."""

import json
import shutil

import pytest
from click.testing import CliRunner

from fedjoint.cli.holder import command
from fedjoint.config import load_config
from fedjoint.errors import PrivacyError, TrainingError
from fedjoint.simulation.budgets import create_missing_ledgers
from fedjoint.simulation.simulate import prepare, simulate

RUN = ["data=breast_cancer", "training.rounds=4", "run.budget_epsilon=4.0", "run.budget_epsilon_if_opened=11.0"]


def configured(folder, *overrides, name):
    return load_config([*RUN, f"run.folder={folder}", f"run.name={name}", f"run.budgets={folder}/budgets", *overrides])


def figures(path):
    return json.loads(CliRunner().invoke(command, ["budget", str(path), "--json"]).stdout)


def test_a_second_run_goes_on_with_the_budgets_and_an_exhausted_one_is_refused_in_words(tmp_path):
    simulate(configured(tmp_path, "privacy=joint", name="first"))
    ledgers = sorted((tmp_path / "budgets").glob("*.ledger"))
    assert len(ledgers) == 4
    first = figures(ledgers[0])
    assert first["reserved"]["fraction"] == 0 and not first["open_reservations"]  # a run that ended keeps nothing
    assert 0.5 < first["spent"]["fraction"] < 1 and 0 < first["if_opened"]["spent"]["fraction"] < 1
    assert set(first["agreements"][0]["purposes"]) == {"sizes"}
    assert set(first["agreements"][1]["purposes"]) == {"training", "contributions"}
    with pytest.raises(TrainingError) as refusal:
        simulate(configured(tmp_path, "privacy=joint", name="second"))
    for words in (ledgers[0].stem, "% is spent", "left", "Agree on more noise or fewer rounds"):
        assert words in str(refusal.value)
    assert not (tmp_path / "second").exists()
    assert figures(ledgers[0])["spent"] == first["spent"]


def test_a_ledger_of_other_records_is_refused(tmp_path):
    config = configured(tmp_path, name="never")
    prepared = prepare(config)
    create_missing_ledgers(config, prepared.dataset, prepared.ledgers, now=lambda: "2026-01-01T00:00:00Z")
    one, other, *_ = sorted((tmp_path / "budgets").glob("*.ledger"))
    for ending in ("", ".counter"):
        shutil.copy2(f"{one}{ending}", f"{other}{ending}")
    with pytest.raises(PrivacyError, match=f"is the ledger of .*{one.stem}'; expected of .*{other.stem}'"):
        simulate(config)


def test_planning_makes_no_ledger(tmp_path):
    prepare(configured(tmp_path, name="never"))
    assert list(tmp_path.iterdir()) == []
