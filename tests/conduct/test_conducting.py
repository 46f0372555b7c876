"""A run conducted by somebody who sees no record and no update: what it leaves, and that anyone can verify it."""

import dataclasses
import json
import os
import secrets
from contextlib import closing

import pytest

from fedjoint.conduct.conducting import Commission, conduct_run
from fedjoint.conduct.training import Conditions, RunSuspended
from fedjoint.config import load_config
from fedjoint.errors import PoolError, RecordError, TrainingError
from fedjoint.record.log import RunRecord
from fedjoint.runs.folder import NewRunFolder
from fedjoint.runs.report import read_report
from fedjoint.runs.verify import verify_run
from fedjoint.simulation.agreeing import sign_by_all
from fedjoint.simulation.comparing import describe_data
from fedjoint.simulation.running import grid_of, reference_of
from fedjoint.simulation.simulate import prepare
from fedjoint.training.checkpoint import MemoryStore
from fedjoint.training.coordinator import Coordinator
from fedjoint.training.session import Session


def commissioned(folder, *overrides, name="a-run"):
    prepared = prepare(load_config(["data=breast_cancer", "training.rounds=2", "privacy=none", *overrides]))
    agreement = sign_by_all(prepared.terms, prepared.parties)
    commission = Commission(
        session=Session(agreement=agreement, run_id=secrets.token_hex(16)),
        coordinator=prepared.parties.coordinator,
        reference=reference_of(prepared.division, agreement.terms),
        data=describe_data(prepared.dataset, prepared.division),
        folder=folder,
        name=name,
        gross_minor=100_000,
        buyer="buyer",
        now=lambda: "2026-01-01T00:00:00.000Z",
    )
    return commission, prepared.parties


def conducted(commission, parties, *, reachable=None, **conditions):
    with closing(parties):
        return conduct_run(commission, grid_of(parties, reachable=reachable), conditions=Conditions(**conditions))


def test_a_gate_that_does_not_open_leaves_no_folder_and_no_message(tmp_path):
    asked = []

    def gate(terms, day):
        asked.append((terms, day.isoformat()))
        raise PoolError("the registry does not allow this run")

    commission, parties = commissioned(tmp_path)
    with pytest.raises(PoolError, match="does not allow this run"):
        conducted(dataclasses.replace(commission, gate=gate), parties, reachable=lambda *_: pytest.fail("a message"))
    assert asked == [(commission.terms, "2026-01-01")]
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_insight_is_complete_verifies_and_claims_no_comparison(tmp_path):
    heard = []
    run = conducted(*commissioned(tmp_path), on_round=heard.append)
    report = read_report(run.folder / "report.json")
    assert report == run.report
    assert [summary.round for summary in heard] == [1, 2]
    assert not report.metrics.compared and report.metrics.joint["auc"] is not None
    assert all(holder.contribution_exact is None and not holder.own_model for holder in report.holders)
    assert {check.outcome for check in verify_run(run.folder)} == {"passed"}


def test_where_contributions_are_not_measured_nothing_is_said_of_exact_ones(tmp_path):
    run = conducted(*commissioned(tmp_path, "valuation=none"))
    assert run.report.contributions.misallocated is None
    assert {check.outcome for check in verify_run(run.folder)} == {"passed"}


def test_a_run_that_cannot_be_trained_leaves_no_folder(tmp_path):
    with pytest.raises(TrainingError, match="take part"):
        conducted(*commissioned(tmp_path), reachable=lambda holder, message_type: False)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_never_overwritten(tmp_path):
    (tmp_path / "a-run").mkdir()
    with pytest.raises(RecordError, match="exists"):
        conducted(*commissioned(tmp_path))


class Killed(BaseException):
    """The process is gone: nothing of ours runs any more."""


@pytest.mark.parametrize("event", ["round.opened", "contributions.opened", "run.settled", "run.closed"])
def test_a_run_that_was_killed_goes_on_and_no_event_is_written_twice(tmp_path, monkeypatch, event):
    commission, parties = commissioned(tmp_path / "runs", "training.rounds=3")
    commission = dataclasses.replace(commission, work=tmp_path / "work")
    store, write = MemoryStore(), RunRecord.append

    def killing(record, kind, body):
        found = write(record, kind, body)
        if kind == event:
            raise Killed
        return found

    def conducting():
        conduct_run(commission, grid_of(parties), conditions=Conditions(store=store))

    with closing(parties):
        with monkeypatch.context() as patched:
            patched.setattr(RunRecord, "append", killing)
            patched.setattr(Coordinator, "finish", lambda coordinator: None)  # a killed one says nothing
            patched.setattr(NewRunFolder, "__exit__", lambda folder, *error: os.close(folder._lock))
            with pytest.raises(Killed):
                conducting()
        assert not (tmp_path / "runs" / "a-run").exists()
        conducting()
    folder = tmp_path / "runs" / "a-run"
    assert {check.outcome for check in verify_run(folder)} == {"passed"}
    kinds = [json.loads(line).get("type") for line in (folder / "record.jsonl").read_text().splitlines()]
    assert kinds.count("run.settled") == kinds.count("run.opened") == kinds.count("run.closed") == 1
    assert kinds.count("round.opened") == 3


def test_a_suspended_run_keeps_its_files_and_its_holders(tmp_path):
    commission, parties = commissioned(tmp_path / "runs", "training.rounds=3")
    commission, store = dataclasses.replace(commission, work=tmp_path / "work"), MemoryStore()

    def suspend(summary):
        raise RunSuspended("told to stop")

    with closing(parties):
        with pytest.raises(RunSuspended):
            conduct_run(commission, grid_of(parties), conditions=Conditions(store=store, on_round=suspend))
        assert (tmp_path / "work" / "record.jsonl").exists()
        run = conduct_run(commission, grid_of(parties), conditions=Conditions(store=store))
    assert len(run.report.rounds) == 3
    assert {check.outcome for check in verify_run(run.folder)} == {"passed"}


def test_a_closed_run_whose_files_were_altered_is_not_published(tmp_path, monkeypatch):
    commission, parties = commissioned(tmp_path / "runs")
    commission, store = dataclasses.replace(commission, work=tmp_path / "work"), MemoryStore()
    conditions = Conditions(store=store)
    with closing(parties):
        with monkeypatch.context() as patched:
            patched.setattr(NewRunFolder, "publish", lambda folder: (_ for _ in ()).throw(Killed))
            patched.setattr(NewRunFolder, "__exit__", lambda folder, *error: os.close(folder._lock))
            with pytest.raises(Killed):
                conduct_run(commission, grid_of(parties), conditions=conditions)
        (tmp_path / "work" / "model.safetensors").write_bytes(b"another")
        with pytest.raises(RecordError, match="are not those that its record names"):
            conduct_run(commission, grid_of(parties), conditions=conditions)
