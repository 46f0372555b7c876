from __future__ import annotations

import dataclasses

import pytest

from fedjoint.config import load_config
from fedjoint.data.datasets.heart import HEART_SCHEMA
from fedjoint.data.schema_file import write_schema
from fedjoint.errors import ConfigError, PrivacyError
from fedjoint.simulation import calibrate as module
from fedjoint.simulation.calibrate import Candidate, Grid, calibrate
from fedjoint.training.preview import preview_costs

SMALL = Grid(rounds=(3, 6), rates=(1.0,), repeats=2, sizes=(60, 60, 60))


@pytest.fixture(autouse=True)
def no_records_are_loaded(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("private records were asked for")

    monkeypatch.setattr("fedjoint.data.datasets.load.load_dataset", refuse)
    monkeypatch.setattr("fedjoint.data.datasets.load.load_heart", refuse)
    monkeypatch.setattr("fedjoint.data.datasets.load.load_table", refuse)
    monkeypatch.setattr("fedjoint.data.datasets.table.read_table", refuse)
    monkeypatch.setattr("fedjoint.data.datasets.heart.find_heart_csv", refuse)


@pytest.mark.parametrize("mode", ["local", "joint"])
def test_every_candidate_meets_the_target_without_wasting_it(mode):
    overrides = [f"privacy={mode}", "privacy.epsilon=2"]
    heard = []
    found = calibrate(load_config(overrides), SMALL, overrides=overrides, on_trained=heard.append)
    assert len(found.candidates) == 2 and not found.refused and len(heard) == SMALL.num_trainings(mode)
    assert all(1.99 < one.epsilon <= 2 for one in found.candidates)
    assert (found.candidates[0].epsilon_if_opened is not None) == (mode == "joint")
    assert found.candidates[0].noise_multiplier < found.candidates[1].noise_multiplier
    assert found.metric == "auc" and found.sizes == (60, 60, 60) and found.data == "synthetic"


def test_the_recommended_overrides_compose_to_a_run_within_the_target_with_the_noise_that_was_printed():
    overrides = ["data=breast_cancer", "privacy.epsilon=2", "training.rounds=7"]
    found = calibrate(load_config(overrides), dataclasses.replace(SMALL, sizes=None), overrides=overrides)
    chosen = found.candidates[found.recommended]
    config = load_config(found.overrides)
    assert found.overrides[:2] == tuple(overrides[:2]) and found.command_line.count("training.rounds=") == 1
    assert (config.training.rounds, config.training.sampling_rate) == (chosen.rounds, chosen.sampling_rate)
    terms = module._terms(config, *_public(config), schedule=(config.training.rounds, config.training.sampling_rate))
    assert terms.privacy.noise_multiplier == chosen.noise_multiplier
    assert preview_costs(terms).epsilon == chosen.epsilon <= 2


def _public(config):
    dataset, divisions = module._material(config, Grid())
    assert dataset.name == "breast_cancer"
    return dataset, divisions[0]


def test_more_epsilon_buys_more_utility():
    def utility(epsilon):
        config = load_config(["privacy=local", f"privacy.epsilon={epsilon}", "privacy.sizes_noise_multiplier=null"])
        return max(one.utility for one in calibrate(config, SMALL).candidates)

    assert utility(8) > utility(0.1) + 0.03


def test_the_same_settings_give_the_same_figures():
    config = load_config(["privacy=local"])
    assert calibrate(config, SMALL) == calibrate(config, SMALL)


def test_columns_of_a_table_come_from_a_declared_schema_and_patients_are_counted(tmp_path):
    table = ["data=table", "data.path=nowhere.csv", "data.holder=hospital", "data.target=disease", "privacy=local"]
    with pytest.raises(ConfigError, match="inferred from private records"):
        calibrate(load_config(table), SMALL)
    write_schema(HEART_SCHEMA, tmp_path / "schema.yaml")
    declared = [*table, f"data.schema={tmp_path / 'schema.yaml'}", "privacy.unit=patient", "data.patient=id"]
    assert calibrate(load_config(declared), SMALL).candidates


@pytest.mark.parametrize(
    ("overrides", "words"),
    [(["privacy=none"], "no noise to choose"), (["privacy.noise_multiplier=3"], "is what is to be found")],
)
def test_where_nothing_is_to_be_chosen_that_is_said(overrides, words):
    with pytest.raises(ConfigError, match=words):
        calibrate(load_config(overrides), SMALL)


def test_candidates_that_no_run_could_have_are_listed_and_only_such_are_an_error():
    config = load_config(
        ["privacy=local", "privacy.epsilon=3e-6", "privacy.delta=1e-8", "privacy.sizes_noise_multiplier=null"]
    )
    found = calibrate(config, dataclasses.replace(SMALL, rounds=(1, 9)))
    assert [one.rounds for one in found.candidates] == [1]
    assert len(found.refused) == 1 and "9 rounds at rate 1: epsilon = 3e-06" in found.refused[0]
    with pytest.raises(PrivacyError, match="no candidate could be run"):
        calibrate(config, dataclasses.replace(SMALL, rounds=(9,)))


def test_the_fewest_rounds_within_a_standard_error_of_the_best_are_recommended():
    def candidate(rounds, utilities):
        return Candidate(
            rounds=rounds,
            sampling_rate=1.0,
            noise_multiplier=1.0,
            epsilon=1.0,
            epsilon_if_opened=None,
            utility=sum(utilities) / 3,
            utility_sd=0.0,
        )

    utilities = [[0.5, 0.6, 0.7], [0.79, 0.82, 0.78], [0.8, 0.8, 0.8]]
    found = [candidate(rounds, values) for rounds, values in zip((5, 10, 20), utilities, strict=True)]
    assert module._recommended(found, utilities) == 1
    assert module._recommended(found, [[0.5, 0.6, 0.7], [0.79, 0.78, 0.79], [0.8, 0.8, 0.8]]) == 2
