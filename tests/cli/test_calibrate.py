from __future__ import annotations

import json

from click.testing import CliRunner

from fedjoint.cli.calibrate import command
from fedjoint.errors import ConfigError

SMALL = ["--rounds", "2", "--rounds", "4", "--repeats", "2", "--sizes", "40,40", "--quiet"]


def test_the_table_marks_one_candidate_and_ends_with_overrides_to_paste():
    done = CliRunner().invoke(command, ["privacy=local", "privacy.epsilon=2", "--rate", "1", *SMALL])
    assert done.exit_code == 0, done.output
    assert done.stdout.count("│ ►") == 1 and "AUC ± sd" in done.stdout and "no private record was read" in done.stdout
    last = done.stdout.splitlines()[-1].split()
    assert last[:2] == ["privacy=local", "privacy.epsilon=2"]
    assert [text.partition("=")[0] for text in last[2:]] == ["training.rounds", "training.sampling_rate"]


def test_json_lists_every_candidate():
    done = CliRunner().invoke(command, ["privacy.epsilon=2", "--json", *SMALL])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [one["rounds"] for one in found["candidates"]] == [2, 4] and found["recommended"] in (0, 1)
    assert all(one["epsilon"] <= 2 and 0 <= one["utility"] <= 1 for one in found["candidates"])
    assert found["sizes"] == [40, 40] and found["command_line"] == " ".join(found["overrides"])


def test_sizes_that_are_no_numbers_are_refused():
    done = CliRunner().invoke(command, ["--sizes", "40;40"])
    assert isinstance(done.exception, ConfigError) and "303,294,123,200" in str(done.exception)
