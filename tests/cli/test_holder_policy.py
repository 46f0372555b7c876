"""A holder writes its policy, sees what it says, and holds an agreement against it."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from fedjoint.agreement.review import HolderPolicy, load_policy
from fedjoint.cli.main import cli
from fedjoint.config import load_config
from fedjoint.errors import AgreementError
from fedjoint.simulation.simulate import prepare, simulate
from tests.fakes import LOCAL_PRIVACY, make_consortium


def policy(*arguments, code=0):
    result = CliRunner().invoke(cli, ["holder", "policy", *map(str, arguments)], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert (result.return_value or 0) == code, result.output
    return result.output


@pytest.fixture(scope="module")
def agreement(tmp_path_factory):
    """Of epsilon 50, with exact sizes."""
    path = tmp_path_factory.mktemp("agreed") / "agreement.json"
    path.write_bytes(make_consortium(privacy=LOCAL_PRIVACY).agreement.to_bytes())
    return path


def test_a_new_file_says_every_limit_with_its_meaning_and_is_the_owners_alone(tmp_path):
    file = tmp_path / "bern.yaml"
    assert "Written" in policy(file)
    assert load_policy(file) == HolderPolicy()
    text = file.read_text()
    for name in HolderPolicy.__dataclass_fields__:
        assert text.count(f"\n{name}: ") == 1
    assert text.count("#") >= len(HolderPolicy.__dataclass_fields__)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_shown_and_left_as_it_is(tmp_path):
    file = tmp_path / "bern.yaml"
    file.write_text("maximum_epsilon: 1.5\n")
    shown = policy(file)
    assert "maximum_epsilon" in shown and "1.5" in shown and shown.count("changed") == 1
    assert file.read_text() == "maximum_epsilon: 1.5\n"
    assert json.loads(policy(file, "--json"))["policy"]["maximum_epsilon"] == 1.5


def test_what_is_beyond_the_policy_is_named_and_the_exit_code_is_one(tmp_path, agreement):
    file = tmp_path / "bern.yaml"
    policy(file)
    shown = policy(file, "--check", agreement, code=1)
    assert "privacy.epsilon" in shown and "at most 8" in shown and "would not be signed" in shown
    found = json.loads(policy(file, "--check", agreement.parent, "--json", code=1))["differences"]
    assert {one["field"] for one in found} == {"privacy.epsilon", "releases.sizes_noise_multiplier"}


def test_an_agreement_within_the_policy_is_said_to_be(tmp_path, agreement):
    file = tmp_path / "bern.yaml"
    file.write_text("maximum_epsilon: 50\nallow_exact_size: true\n")
    assert "is within this policy" in policy(file, "--check", agreement)


def test_files_that_are_no_policy_or_no_agreement_are_refused_in_words(tmp_path, agreement):
    file = tmp_path / "bern.yaml"
    with pytest.raises(AgreementError, match="cannot be read"):
        policy(file, "--check", agreement)
    with pytest.raises(AgreementError, match=r"ending in \.yaml"):
        policy(tmp_path / "bern.txt")
    with pytest.raises(AgreementError, match="cannot be written"):
        policy(tmp_path / "nowhere" / "bern.yaml")
    policy(file)
    with pytest.raises(AgreementError, match="cannot be read"):
        policy(file, "--check", tmp_path)


def test_a_policy_that_others_may_write_is_refused(tmp_path):
    file = tmp_path / "bern.yaml"
    policy(file)
    file.chmod(0o620)
    with pytest.raises(AgreementError, match="chmod go-w"):
        load_policy(file)


def settings(tmp_path, *overrides):
    folders = [f"run.folder={tmp_path}", f"run.policies={tmp_path / 'policies'}"]
    return load_config(["data=breast_cancer", "training.rounds=2", *folders, *overrides])


def test_a_simulated_holder_with_a_policy_of_its_own_signs_nothing_beyond_it(tmp_path):
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "holder-b.yaml").write_text("maximum_epsilon: 1.0\n")
    with pytest.raises(AgreementError, match=r"'holder-b' does not sign: privacy\.epsilon = 3 where .* at most 1"):
        simulate(settings(tmp_path))
    signed = prepare(settings(tmp_path, "privacy.epsilon=1"))
    assert all(holder.sign(signed.terms) for holder in signed.parties.holders)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [("stranger.yaml", "", "is of no holder"), ("holder-a.yaml", "maximum_epsilom: 1", "Did you mean")],
)
def test_a_policy_file_that_is_nobodys_or_malformed_ends_a_simulation_before_it_begins(tmp_path, name, text, words):
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / name).write_text(text)
    with pytest.raises(AgreementError, match=words):
        prepare(settings(tmp_path))


def test_a_folder_of_policies_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(AgreementError, match="is no folder"):
        prepare(settings(tmp_path))


def test_less_noise_in_any_release_than_the_policy_asks_for_is_a_difference():
    from fedjoint.agreement.release_terms import ReleaseTerms
    from fedjoint.agreement.review import review

    terms = make_consortium(privacy=LOCAL_PRIVACY).terms
    terms = replace(terms, releases=ReleaseTerms(sizes_noise_multiplier=3.0))
    limits = HolderPolicy(maximum_epsilon=50, minimum_noise_multiplier=4.0)
    assert [one.field for one in review(terms, limits)] == [
        "privacy.noise_multiplier",
        "releases.sizes_noise_multiplier",
    ]
