from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.config import SimulationConfig, load_config
from fedjoint.errors import ConfigError
from fedjoint.strict import build, plain

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
TABLE = ["data=table", "data.path=p.csv", "data.holder=h", "data.target=t"]
NEEDS = {"data=table": TABLE[1:]}
GROUPS = sorted(f"{path.parent.name}={path.stem}" for path in CONFIGS.glob("*/*.yaml"))


def refused(*overrides: str, words: str, folder: Path | None = None) -> str:
    """The overrides are refused in one line with these words."""
    with pytest.raises(ConfigError, match=words) as error:
        load_config(overrides, config_dir=folder)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the shipped configurations, to be spoilt."""
    return Path(shutil.copytree(CONFIGS, tmp_path / "configs"))


def test_the_defaults_are_the_main_job():
    config = load_config()
    assert (config.data.kind, config.model.kind, config.seed) == ("heart", "linear", 0)
    assert (config.privacy.mode, config.privacy.epsilon, config.privacy.delta) == ("joint", 3.0, 1e-5)
    assert (config.privacy.noise_multiplier, config.privacy.insecure_seed) == (None, None)
    assert (config.encryption.scheme, config.valuation.method) == ("seal", "aumann_shapley")
    assert (config.money.currency, config.money.revenue) == ("CNY", "1000000.00")
    assert config.run.name is None


@pytest.mark.parametrize("option", GROUPS)
def test_every_option_of_every_group_composes(option):
    group, _, name = option.partition("=")
    config = load_config([option, *NEEDS.get(option, [])])
    chosen = plain(getattr(config, group))
    assert name in {"fedavg", "revenue_share", *(str(value) for value in chosen.values())}


def test_the_groups_are_those_of_the_configuration():
    fields = set(SimulationConfig.__dataclass_fields__)
    assert {option.partition("=")[0] for option in GROUPS} == fields - {"title", "purpose", "seed", "run"}


def test_a_configuration_survives_being_written_and_read():
    config = load_config(["model=mlp", "privacy=none", *TABLE])
    assert build(SimulationConfig, plain(config)) == config


@settings(max_examples=5)
@given(rounds=st.integers(1, 10_000), rate=st.floats(1e-9, 1e3), seed=st.integers(0, 2**53 - 1))
def test_numbers_on_the_command_line_arrive_as_they_are(rounds, rate, seed):
    config = load_config([f"training.rounds={rounds}", f"training.learning_rate={rate!r}", f"seed={seed}"])
    assert (config.training.rounds, config.training.learning_rate, config.seed) == (rounds, rate, seed)


@pytest.mark.parametrize(
    ("overrides", "read", "value"),
    [
        (["privacy=none"], lambda c: c.privacy.mode, "none"),
        (["training.rounds=5"], lambda c: c.training.rounds, 5),
        (["training.learning_rate=2"], lambda c: c.training.learning_rate, 2.0),
        (["++seed=3"], lambda c: c.seed, 3),
        (["seed=3", "seed=4"], lambda c: c.seed, 4),
        (["training.rounds=5", "training=fedavg"], lambda c: c.training.rounds, 5),
        (["privacy.noise_multiplier=null"], lambda c: c.privacy.noise_multiplier, None),
        (["run.name=a-b_c.d"], lambda c: c.run.name, "a-b_c.d"),
        (["money.revenue=2500000.75"], lambda c: c.money.revenue_text, "2500000.75"),
        (["title='a = b'"], lambda c: c.title, "a = b"),
        (['title="a, b: {c}"'], lambda c: c.title, "a, b: {c}"),
        (["title="], lambda c: c.title, ""),
        (["title=四家医院"], lambda c: c.title, "四家医院"),
        (["model=mlp", "model.hidden=[8,4]"], lambda c: c.model.hidden, (8, 4)),
        (["title=a=b"], lambda c: c.title, "a=b"),
        (["data=table", "data.path='a=b.csv'", *TABLE[2:]], lambda c: c.data.path, "a=b.csv"),
    ],
)
def test_an_override_says_what_it_says(overrides, read, value):
    assert read(load_config(overrides)) == value


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("training.rond=3", "training.rounds"),
        ("trainnig=fedavg", "training"),
        ("privacy.epsilom=1", "privacy.epsilon"),
        ("sead=1", "seed"),
        ("run={name: x}", "run.name"),
        ("+data=heart", "data"),
        ("data@x=heart", "data"),
        ("~data", "data"),
        ("~data=heart", "data"),
        ("~seed", "seed"),
        ("+seed=1", "seed"),
        ("+training.round=3", "training.rounds"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(override, nearest):
    message = refused(override, words="unknown key in ")
    assert message == f"unknown key in '{override}'. Did you mean '{nearest}'?"


@pytest.mark.parametrize("override", ["+xyzzy=1", "++xyzzy=1", "hydra.verbose=true", "=3", "xyzzy.rounds.x=1"])
def test_a_key_like_no_other_is_refused_with_all_there_are(override):
    message = refused(override, words="unknown key in ")
    assert "Choose one of: data, data.kind, " in message or "Did you mean" in message


def test_a_key_of_another_option_is_unknown():
    refused("data.xyzzy=1", words="unknown key in 'data.xyzzy=1'")
    refused("data=breast_cancer", "data.path=x", words=r"unknown key in 'data\.path=x'")


@pytest.mark.parametrize(
    ("override", "options", "nearest"),
    [
        ("privacy=locl", "joint, local, none", "privacy=local"),
        ("privacy=xyzzy", "joint, local, none", ""),
        ("data=null", "breast_cancer, heart, table", ""),
        ("data=[heart,table]", "breast_cancer, heart, table", ""),
        ("model={kind: mlp}", "linear, mlp", ""),
        ("encryption=", "seal, seeded", ""),
    ],
)
def test_an_unknown_option_is_refused_with_all_there_are(override, options, nearest):
    message = refused(override, words="unknown option in ")
    remedy = f". Did you mean '{nearest}'?" if nearest else ""
    assert message.removeprefix(f"unknown option in '{override}'; expected one of: ").startswith(options)
    assert message.endswith(remedy)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.rounds=x", 'training.rounds = "x" does not fit: Input should be a valid integer'),
        ("training.rounds=5.0", "training.rounds = 5.0 does not fit"),
        ("training.rounds=[5]", r"training.rounds = \[5\] does not fit"),
        ("seed=", 'seed = "" does not fit'),
        ("seed=true", "seed = true does not fit"),
        ("seed=null", "seed = null does not fit"),
        ("title=5", "title = 5 does not fit: Input should be a valid string"),
        ("title=${seed}", "title = 0 does not fit"),
        ("model.hidden=[a]", 'model.hidden.0 = "a" does not fit'),
        ("money.currency=5", "money.currency = 5 does not fit"),
        ("privacy.mode=central", "privacy.mode = \"central\" does not fit: Input should be 'local', 'joint' or 'none'"),
        ("training.learning_rate=nan", "training.learning_rate is not plain JSON"),
        ("privacy.epsilon=-inf", "privacy.epsilon is not plain JSON"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_its_key(override, words):
    refused(override, words=words)


@pytest.mark.parametrize("override", ["", "nokey", "a=b=c][", "title=a,=b", "seed=[1", "seed='1", "a b=3"])
def test_what_is_no_override_is_refused_by_its_text(override):
    message = refused("seed=1", override, words="is no override; expected key=value, such as privacy=none")
    assert message.startswith(f"'{override}' is no override")
    assert ("Quote a value" in message) == ("=" in override)


@pytest.mark.parametrize("override", ["seed=1,2", "seed=range(1,3)", "privacy=local,none", "seed=choice(1,2)"])
def test_a_sweep_is_refused(override):
    refused(override, words=r"is a sweep; expected one value\. Run once for each value")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("title=${nope}", "'nope' not found"),
        ("seed=???", "Missing mandatory value: seed"),
        ("model.hidden={a: 1}", "Error merging override"),
    ],
)
def test_what_cannot_be_put_together_is_refused_in_one_line(override, words):
    refused(override, words=f"the configuration does not fit together: .*{words}")


def test_options_that_need_more_say_what():
    refused("data=table", words=r"data\.path is not set")
    refused("data.kind=table", words=r"data\.path is not set")
    refused("model=mlp", "model.hidden=[]", words=r"model\.hidden = \[\] for kind 'mlp'")


def test_another_folder_of_configurations_may_be_given(copied, monkeypatch):
    (copied / "training" / "long.yaml").write_text((copied / "training" / "fedavg.yaml").read_text())
    monkeypatch.chdir(copied.parent)
    assert load_config(["training=long"], config_dir=Path("configs")).training == load_config().training


def test_a_folder_without_configurations_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        refused(words="holds no configuration; expected a folder with simulate.yaml", folder=folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rounds: [\n", "does not fit together: while parsing"),
        ("rounds: 1\nrounds: 2\n", "found duplicate key rounds"),
        ("rounds: 1\nround: 1\n", "unknown key 'training.round'|missing key 'training"),
        ("rounds: 1\n", "missing key 'training.local_steps'. Add it"),
        ("rounds: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
    ],
)
def test_a_spoilt_file_is_refused(copied, text, words):
    (copied / "training" / "fedavg.yaml").write_text(text)
    refused(words=words, folder=copied)


def test_a_group_that_does_not_exist_in_the_defaults_is_refused(copied):
    (copied / "training" / "fedavg.yaml").unlink()
    refused(words="Could not find 'training/fedavg'", folder=copied)


def test_an_earlier_use_of_hydra_in_the_process_does_not_matter():
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        assert GlobalHydra.instance().is_initialized()
        assert load_config(["seed=7"]).seed == 7
    assert load_config().seed == 0


def test_mode_joint_states_two_epsilons_and_leaves_the_noise_to_be_calibrated():
    privacy = load_config(["privacy=joint"]).privacy
    assert (privacy.mode, privacy.epsilon, privacy.epsilon_if_opened, privacy.colluders) == ("joint", 3.0, 8.0, 1)
    assert privacy.noise_multiplier is None
    assert privacy.contributions_noise_multiplier is None
