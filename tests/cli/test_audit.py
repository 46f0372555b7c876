import json

import pytest
from click.testing import CliRunner

from fedjoint.agreement.terms import PrivacyTerms
from fedjoint.cli.audit import command
from fedjoint.errors import RecordError
from tests.fakes import make_consortium


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit") / "demo"
    folder.mkdir()
    privacy = PrivacyTerms(mode="local", epsilon=3.0, delta=1e-5, clip_norm=1.0, noise_multiplier=4.0)
    agreement = make_consortium(privacy=privacy, rounds=2).session.agreement
    (folder / "agreement.json").write_bytes(agreement.to_bytes())
    return folder


def test_an_audit_prints_json_and_leaves_a_page_with_pictures_beside_the_run(run):
    done = CliRunner().invoke(command, [str(run), "--json", "--quiet"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert {"membership", "inversions", "mode", "run"} <= report.keys()
    place = run.with_name("demo-audit")
    assert json.loads((place / "audit.json").read_bytes()) == report
    page = (place / "audit.html").read_text()
    assert page.count("<svg") == 2 and "<script" not in page and "no proof" in page
    assert sorted(file.name for file in run.iterdir()) == ["agreement.json"]


def test_a_refuted_claim_exits_with_one(run, tmp_path, monkeypatch):
    import numpy as np

    from fedjoint.privacy.noise import NoiseSource

    monkeypatch.setattr(NoiseSource, "gaussian", lambda self, shape, *, sd: np.zeros(shape))
    done = CliRunner().invoke(command, [str(run), "--quiet", "--folder", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "REFUTED" in done.stdout and "who took part?" in done.stdout


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    done = CliRunner().invoke(command, [str(tmp_path), "--quiet"])
    assert isinstance(done.exception, RecordError)
    assert "agreement.json cannot be read" in str(done.exception)


def test_a_place_that_cannot_be_written_is_refused(run, tmp_path):
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(command, [str(run), "--quiet", "--folder", str(tmp_path / "file" / "below")])
    assert isinstance(done.exception, RecordError)
    assert "cannot be written" in str(done.exception)
