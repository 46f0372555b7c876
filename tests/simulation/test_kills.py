"""A run that is killed in the middle of encryption, a sum or a decryption leaves nothing that looks like a run."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from fedjoint.config import load_config
from fedjoint.runs.verify import verify_run
from fedjoint.simulation.simulate import simulate

#: A real ``fedjoint simulate`` for each step of a round, which kills itself in the middle of that step.
KILLED = """
import importlib, json, os, signal, sys
import fedjoint.simulation.simulate
from fedjoint.cli.main import main

def kill_itself_in(module, name, number):
    original, calls = getattr(module, name), 0
    def count(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)
    setattr(module, name, count)

ends = []
for module, name, number in json.loads(sys.argv[1]):
    process = os.fork()
    if not process:
        kill_itself_in(importlib.import_module("fedjoint.encryption." + module), name, number)
        sys.argv = ["fedjoint", "simulate", *sys.argv[2:]]
        main()
    ends.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
    ends.append(sorted(os.listdir(sys.argv[-1].removeprefix("run.folder="))))
print(json.dumps(ends))
"""
#: Encryption, sum, decryption: each at the fifth call of what works on a block.
STEPS = (("scheme", "encode", 5), ("ciphertext", "_add_piece", 5), ("decryption", "decode", 5))


def test_a_run_that_is_killed_leaves_no_run_and_the_next_one_tidies_up(tmp_path):
    overrides = ["data=breast_cancer", "training.rounds=3", "encryption=seeded", "run.name=one"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(STEPS), *overrides, f"run.folder={tmp_path}"],
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    *_, last = done.stdout.splitlines()
    ends = json.loads(last)
    assert ends[::2] == [-signal.SIGKILL] * 3
    for names in ends[1::2]:
        (leftover,) = names  # what the killed run before had left is gone
        assert leftover.startswith(".one.") and leftover.endswith(".partial")
    finished = simulate(load_config([*overrides, f"run.folder={tmp_path}"]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "one.own"]  # its holders' own files beside it
    assert all(check.outcome == "passed" for check in verify_run(finished.folder))
