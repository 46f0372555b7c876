import json
import shutil

import pytest

from fedjoint.config import load_config
from fedjoint.errors import RecordError, ValuationError
from fedjoint.runs.own import read_own
from fedjoint.runs.valued import render_valued_run
from fedjoint.runs.verify import verify_run
from fedjoint.simulation.revalue import read_kept_run, revalue
from fedjoint.simulation.simulate import simulate
from fedjoint.simulation.valuing import as_valued_run
from fedjoint.valuation.estimate import Sampling

SMALL = ["data=breast_cancer", "privacy=local", "training.rounds=3", "privacy.insecure_seed=1"]


def run(folder, *overrides):
    return simulate(load_config([*SMALL, f"run.folder={folder}", *overrides]))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return run(
        tmp_path_factory.mktemp("runs"),
        "run.name=kept",
        "valuation.keep_updates=true",
        "training.server_optimizer=momentum",
    )


@pytest.fixture(scope="module")
def read(kept):
    return read_kept_run(kept.folder)


def test_a_run_that_keeps_its_updates_verifies(kept):
    assert all(check.outcome == "passed" for check in verify_run(kept.folder))
    names = {path.name for path in kept.folder.iterdir()}
    assert {"updates.safetensors", "reference.safetensors"} <= names


def test_the_exact_value_is_that_of_the_report(kept, read):
    told = []
    found = revalue(read, "shapley", Sampling(), progress=told.append).estimate.by_player()
    assert sum(told) >= 3 * 2**4 and max(told) <= 2**4
    assert found == pytest.approx({h.id: h.contribution_exact for h in kept.report.holders}, abs=1e-6)


def test_the_path_value_in_the_clear_is_the_one_opened(kept, read):
    again = revalue(read, "path", Sampling())
    gained = kept.report.utility_gain
    assert again.estimate.by_player() == pytest.approx(again.recorded, abs=2e-3 * gained)
    for holder, parts in again.by_round.items():
        assert parts.sum() == pytest.approx(again.recorded[holder], abs=2e-3 * gained)
        by_class = sum(of_class[holder] for of_class in again.by_class.values())
        assert by_class == pytest.approx(parts.sum(), abs=1e-9)
    assert len(again.by_class) == 2


def test_every_holder_has_a_file_of_its_own_beside_the_run(kept, read):
    again = revalue(read, "path", Sampling())
    files = sorted((kept.folder.parent / "kept.own").iterdir())
    assert [path.stem for path in files] == sorted(again.by_round)
    for path in files:
        own = read_own(path)
        assert path.stat().st_mode & 0o777 == 0o600 and own.holder == path.stem
        assert own.by_round == pytest.approx(again.by_round[own.holder], abs=1e-6)
        assert own.by_class == pytest.approx({name: by[own.holder] for name, by in again.by_class.items()}, abs=1e-6)
        assert own.stated == again.recorded[own.holder]


def test_the_page_shows_method_beside_method_by_round_and_by_class(kept, read):
    valued = as_valued_run("kept", read, revalue(read, "leave_one_out", Sampling()))
    page = render_valued_run(valued).decode()
    assert page == render_valued_run(valued).decode() and page.count("<svg") == 3 and "<script" not in page
    for words in ("Path value and leave_one_out", "Contributions round by round", "What each holder&#x27;s data", "±"):
        assert words in page or words.replace("&#x27;", "'") in page
    for holder in kept.report.holders:
        assert holder.name in page


@pytest.mark.parametrize(
    ("method", "words"), [("retraining", "does not hold"), ("magic", "method 'magic'; expected one of: path")]
)
def test_a_method_that_needs_more_than_updates_is_refused(read, method, words):
    with pytest.raises(ValuationError, match=words):
        revalue(read, method, Sampling())


def test_a_run_that_kept_nothing_is_refused(tmp_path):
    folder = run(tmp_path, "run.name=plain").folder
    with pytest.raises(ValuationError, match="keeps no updates in the clear"):
        read_kept_run(folder)


def test_a_changed_update_is_refused(kept, tmp_path):
    folder = shutil.copytree(kept.folder, tmp_path / "changed")
    data = bytearray((folder / "updates.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "updates.safetensors").write_bytes(data)
    with pytest.raises(RecordError, match=r"does not verify: files: changed: updates\.safetensors"):
        read_kept_run(folder)


def test_the_command_prints_values_and_writes_the_page(kept, tmp_path):
    from click.testing import CliRunner

    from fedjoint.cli.value import command

    page = tmp_path / "page.html"
    done = CliRunner().invoke(command, [str(kept.folder), "--method", "gtg", "--json", "--page", str(page)])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [holder["id"] for holder in found["holders"]] == [holder.id for holder in kept.report.holders]
    assert page.read_text().startswith("<!doctype html>")
