import json

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from fedjoint.cli.main import cli
from fedjoint.conduct.block_values import value_blocks
from fedjoint.config import load_config
from fedjoint.errors import RecordError, ValuationError
from fedjoint.simulation.simulate import simulate

SMALL = ["data=breast_cancer", "privacy=local", "training.rounds=2", "privacy.insecure_seed=1"]


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    agreed = ["valuation.audit_blocks=1", "training.server_optimizer=momentum", f"run.folder={folder}"]
    return simulate(load_config([*SMALL, *agreed, "run.name=audited"]))


def test_opened_sums_are_worth_what_their_members_were_paid_by(audited):
    (found,) = value_blocks(audited.folder, audited.folder / "reference.safetensors")
    assert found.members == tuple(sorted(holder.id for holder in audited.report.holders)) and found.rounds == 2
    assert found.paid_by == pytest.approx(sum(holder.contribution for holder in audited.report.holders))
    assert found.difference == pytest.approx(0, abs=1e-3 * audited.report.utility_gain)
    assert found.exact == pytest.approx(audited.report.utility_gain, rel=1e-6)  # one block of all gains everything


def test_the_command_prints_them(audited):
    said = CliRunner().invoke(cli, ["value", str(audited.folder), "--method", "blocks", "--json"])
    assert said.exit_code == 0 and json.loads(said.stdout)[0]["rounds"] == 2
    assert "paid by" in CliRunner().invoke(cli, ["value", str(audited.folder), "--method", "blocks"]).output


def test_a_changed_sum_is_found(audited):
    path = audited.folder / "blocks.safetensors"
    before = path.read_bytes()
    sums = load_file(path)
    sums["1/0"] = sums["1/0"] + np.uint64(1)
    save_file(sums, path)
    try:
        with pytest.raises(RecordError, match="does not verify"):
            value_blocks(audited.folder, audited.folder / "reference.safetensors")
    finally:
        path.write_bytes(before)


def test_a_run_without_opened_blocks_is_refused(audited, monkeypatch):
    monkeypatch.setattr("fedjoint.conduct.block_values.read_blocks", lambda *of: {})
    with pytest.raises(ValuationError, match="no opened sums of blocks"):
        value_blocks(audited.folder, audited.folder / "reference.safetensors")
