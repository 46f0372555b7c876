import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedjoint.cli.holder import command
from fedjoint.cli.main import cli
from fedjoint.errors import ConfigError, PrivacyError
from fedjoint.privacy.events import GaussianEvent, Release
from fedjoint.privacy.ledger_file import LifetimeLedger

CREATE = ["--create", "--epsilon", "8", "--delta", "1e-5", "--cohort", "heart clinic"]


def ask(*arguments):
    result = CliRunner().invoke(command, ["budget", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "patients.ledger"
    assert ask(path, *CREATE).exit_code == 0
    return path


def charge(path: Path, *, rounds: int) -> str:
    """A run of 40 rounds, of which some were released."""
    ledger = LifetimeLedger(path, now=lambda: "2026-01-01T00:00:00+00:00")
    event = GaussianEvent(sampling_rate=1.0, noise_multiplier=10.0, count=40)
    run = Release(purpose="training", event=event, if_opened=event)
    held = ledger.reserve("run-1", agreement_sha256="ab" * 32, releases=(run,), unit="record")
    for number in range(1, rounds + 1):
        ledger.commit(held, name=f"round {number}", release=run.times(1))
    return held


def test_a_new_budget_is_all_left(path):
    figures = json.loads(ask(path, "--json").stdout)
    assert (figures["cohort"], figures["unit"], figures["adjacency"]) == ("heart clinic", "record", "add-or-remove")
    assert (figures["epsilon"], figures["delta"]) == (8.0, 1e-5)
    assert (figures["spent"]["fraction"], figures["reserved"]["fraction"], figures["left"]["fraction"]) == (0, 0, 1)
    assert figures["agreements"] == figures["open_reservations"] == []


def test_the_account_names_spent_reserved_and_left_and_the_agreements_add_up(path):
    held = charge(path, rounds=10)
    figures = json.loads(ask(path, "--json").stdout)
    parts = [figures[name]["fraction"] for name in ("spent", "reserved", "left")]
    assert sum(parts) == pytest.approx(1)
    assert parts[1] == pytest.approx(3 * parts[0])  # ten of forty rounds
    assert figures["if_opened"]["epsilon"] == 24.0  # three times the limit, unless another was asked for
    assert 0 < figures["if_opened"]["spent"]["fraction"] < parts[0]
    (agreement,) = figures["agreements"]
    assert agreement["purposes"] == {"training": agreement["epsilon"]}
    assert agreement["agreement_sha256"] == "ab" * 32
    assert (agreement["spent"], agreement["reserved"]) == (pytest.approx(parts[0]), pytest.approx(parts[1]))
    assert [one["id"] for one in figures["open_reservations"]] == [held]


def test_people_are_shown_a_bar_the_adjacency_the_delta_and_the_filter(path):
    charge(path, rounds=20)
    shown = " ".join(ask(path).stdout.split())
    for words in (
        "heart clinic",
        "add-or-remove of one record",
        "delta 1e-05",
        "spent 7.6 %",
        "reserved 7.6 %",
        "were opened: epsilon 24",
    ):
        assert words in shown
    for words in ("left 84.8 %", "GDP filter", "agreement", "ab" * 8, "run-1", "--give-back"):
        assert words in shown
    assert "████▒▒▒▒░" in shown or "####====." in shown


def test_what_a_killed_run_reserved_can_be_given_back(path):
    held = charge(path, rounds=10)
    figures = json.loads(ask(path, "--give-back", held, "--json").stdout)
    assert figures["reserved"]["fraction"] == 0 and figures["spent"]["releases"] == 10
    with pytest.raises(PrivacyError, match="was given back"):
        ask(path, "--give-back", held)


def test_the_filter_and_the_unit_are_chosen_at_creation(tmp_path):
    figures = json.loads(ask(tmp_path / "l", *CREATE, "--filter", "gdp", "--unit", "patient", "--json").stdout)
    assert (figures["filter"]["chosen"], figures["unit"]) == ("gdp", "patient")
    assert figures["left"]["epsilon"] == pytest.approx(8.0)


@pytest.mark.parametrize(
    "arguments",
    [CREATE[:-2], ["--create"], ["--epsilon", "9"], ["--epsilon-if-opened", "9"], [*CREATE, "--give-back", "x"]],
)
def test_options_that_do_not_go_together_are_refused_and_nothing_is_written(tmp_path, arguments):
    with pytest.raises(ConfigError):
        ask(tmp_path / "l", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_is_there_is_not_made_again_and_one_that_is_not_says_how(path, tmp_path):
    with pytest.raises(PrivacyError, match="exists"):
        ask(path, *CREATE)
    with pytest.raises(PrivacyError, match="--create"):
        ask(tmp_path / "none")


@pytest.mark.parametrize("verb", [["holder"], ["holder", "budget"]])
def test_every_help_has_an_example(verb):
    shown = CliRunner().invoke(cli, [*verb, "--help"])
    assert shown.exit_code == 0 and f"fedjoint {' '.join(verb)}" in shown.stdout.partition("Example")[2]
