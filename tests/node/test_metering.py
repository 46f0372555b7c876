"""What a node counts of its tasks' processor time, and signs."""

import json

import pytest

from fedjoint.errors import AgreementError, ConfigError
from fedjoint.node.home import Home
from fedjoint.node.metering import Meter, metered_by
from tests.node.conftest import fedjoint

AGREEMENT, RUN = "a1" * 32, "ab" * 16


def clock(*seconds):
    return iter(seconds).__next__


def test_the_time_of_tasks_is_added_up_and_kept(tmp_path):
    home = Home(tmp_path)
    meter = Meter(home, clock=clock(10.0, 10.25, 12.0, 13.5))
    with meter.task(AGREEMENT, RUN):
        pass
    assert not home.metered.exists()  # less than a second is written with what follows
    with pytest.raises(ValueError, match="refused"), meter.task(AGREEMENT, RUN):
        raise ValueError("refused")  # it was worked on all the same
    assert metered_by(home, AGREEMENT[:8]).cpu_ms == {RUN: 1_750}
    later = Meter(home, clock=clock(0.0, 0.5))  # another process
    with later.task(AGREEMENT, RUN):
        pass
    later.close()
    assert metered_by(home, AGREEMENT[:8]).cpu_ms == {RUN: 2_250}


def test_tasks_that_overlap_are_not_counted_twice(tmp_path):
    home = Home(tmp_path)
    meter = Meter(home, clock=clock(0.0, 1.0, 3.0, 4.0))
    with meter.task(AGREEMENT, RUN), meter.task(AGREEMENT, "cd" * 16):
        pass
    meter.close()
    assert metered_by(home, AGREEMENT).cpu_ms == {RUN: 1_000, "cd" * 16: 2_000}


def test_an_exchange_that_makes_up_runs_fills_no_disk(tmp_path):
    home = Home(tmp_path)
    meter = Meter(home, clock=clock(*range(0, 240)))
    for number in range(120):
        with meter.task(AGREEMENT, f"{number:032x}"):
            pass
    assert len(metered_by(home, AGREEMENT).cpu_ms) == 100


def test_what_was_metered_is_signed_and_what_was_not_is_said(tmp_path):
    fedjoint("init", tmp_path / "bern", "--id", "bern", "--name", "Bern")
    home, out = Home(tmp_path / "bern"), tmp_path / "costs.json"
    with pytest.raises(AgreementError, match="names 0 agreements"):
        fedjoint("costs", AGREEMENT[:8], "--out", out, "--home", home.folder)
    meter = Meter(home, clock=clock(0.0, 7.9, 8.0, 9.0))
    for run in (RUN, "cd" * 16):
        with meter.task(AGREEMENT, run):
            pass
    with pytest.raises(ConfigError, match=f"{RUN}, {'cd' * 16}"):
        fedjoint("costs", AGREEMENT[:8], "--out", out, "--home", home.folder)
    told = fedjoint("costs", AGREEMENT[:8], "--run", RUN, "--out", out, "--home", home.folder, "--json")
    signed = json.loads(told)
    assert signed["costs"] | {"signature": signed["signature"]} == {
        "holder": "bern",
        "run_id": RUN,
        "agreement_sha256": AGREEMENT,
        "cpu_seconds": 7,
        "gpu_seconds": 0,
        "signature": signed["signature"],
    }
    assert json.loads(out.read_bytes()) == signed
