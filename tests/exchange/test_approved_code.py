"""A model of foreign code: signed and run only where somebody has approved exactly that file."""

import pytest

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.errors import AgreementError
from fedjoint.runs.report import read_report
from fedjoint.runs.verify import verify_run
from tests.exchange.conftest import nodes
from tests.exchange.test_exchange import propose, start_run
from tests.fakes import SIZES
from tests.models.test_code import GOOD
from tests.node.conftest import fedjoint


@pytest.fixture
def file(tmp_path):
    (tmp_path / "residual.py").write_bytes(GOOD)
    return tmp_path / "residual.py"


def test_a_holder_signs_and_runs_code_that_it_approved_by_hash(exchange, homes, tmp_path, file):
    sha256 = propose(exchange, tmp_path, "model.kind=code", f"model.code={file}")
    page = fedjoint("review", sha256[:12], "--home", homes[0].folder, code=1)
    assert f"model.code_sha256 = {sha256_hex(GOOD)}" in page and "foreign code" in page
    with pytest.raises(AgreementError, match="beyond your policy"):
        fedjoint("sign", sha256[:12], "--yes", "--home", homes[0].folder)
    for home in homes:
        assert sha256_hex(GOOD) in fedjoint("approve", file, "--yes", "--home", home.folder)
        fedjoint("sign", sha256[:12], "--yes", "--home", home.folder)
    with nodes(exchange, homes):
        start_run(exchange, sha256)
        run = exchange.ended()
    assert (run.state, run.words) == ("finished", "all agreed rounds were trained")
    folder = exchange.home.runs / run.name
    assert {check.outcome for check in verify_run(folder)} == {"passed"}
    assert {one.contributors for one in read_report(folder / "report.json").rounds} == {tuple(SIZES)}


def test_a_holder_that_withdraws_its_approval_takes_no_part_and_changed_code_neither(exchange, homes, tmp_path, file):
    sha256 = propose(exchange, tmp_path, "model.kind=code", f"model.code={file}")
    for home in homes:
        fedjoint("approve", file, "--yes", "--home", home.folder)
        fedjoint("sign", sha256[:12], "--yes", "--home", home.folder)
    digest = sha256_hex(GOOD)
    assert digest in fedjoint("approve", "--home", homes[0].folder)
    fedjoint("approve", "--withdraw", digest[:8], "--home", homes[0].folder)
    assert "No model code is approved" in fedjoint("approve", "--home", homes[0].folder)
    with nodes(exchange, homes):
        start_run(exchange, sha256)
        run = exchange.ended()
    assert {one.contributors for one in read_report(exchange.home.runs / run.name / "report.json").rounds} == {
        ("bern", "cork")
    }
