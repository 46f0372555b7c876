import contextlib
import io
import json
import subprocess
import sys

import pytest

from fedjoint.cli.main import main

RUN = ["data=breast_cancer", "training.rounds=2"]


def run_fedjoint(*arguments, cwd="."):
    """The command line in this process: its output and its exit code."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(cwd), pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["fedjoint", *arguments])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    return subprocess.CompletedProcess(arguments, ended.value.code, out.getvalue(), err.getvalue())


def start_fedjoint(*arguments):
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "fedjoint", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    done = start_fedjoint("simulate", *RUN, "run.name=demo", f"run.folder={folder}", "--json")
    assert done.returncode == 0, done.stderr
    return folder / "demo", json.loads(done.stdout)


def test_simulate_prints_the_report_as_json_and_keeps_progress_apart(simulated):
    folder, report = simulated
    assert report == json.loads((folder / "report.json").read_bytes())
    for key in ("agreement_sha256", "dataset", "privacy", "metrics", "rounds", "holders", "utility_gain", "money"):
        assert key in report
    assert {"mode", "delta"} <= report["privacy"].keys()
    assert {"joint", "pooled", "local_on_all", "local_own"} <= report["metrics"].keys()
    assert all({"auc", "accuracy"} <= report["metrics"][name].keys() for name in report["metrics"])
    assert all("auc" in entry for entry in report["rounds"])
    wanted = {"id", "num_examples", "epsilon", "contribution", "contribution_exact", "share", "payout_minor"}
    assert all(wanted <= holder.keys() for holder in report["holders"])
    assert {"gross_minor", "fee_minor", "reserve_minor", "distributed_minor", "currency"} <= report["money"].keys()
    assert report["bytes_up_per_round"] > 0 and report["timings_s"]


def test_simulate_prints_tables_for_people(tmp_path):
    done = run_fedjoint("simulate", *RUN, f"run.folder={tmp_path}")
    assert done.returncode == 0, done.stderr
    for word in ("payout", "contribution", "epsilon", "fedjoint verify", "report.html"):
        assert word.lower() in done.stdout.lower()
    assert "Traceback" not in done.stdout + done.stderr


def test_verify_exits_zero_with_a_line_for_each_check(simulated):
    done = run_fedjoint("verify", str(simulated[0]))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 14 and all(line.startswith("ok") for line in lines)


def test_verify_exits_one_and_names_the_place(simulated, tmp_path):
    import shutil

    folder = shutil.copytree(simulated[0], tmp_path / "copy")
    page = folder / "report.html"
    page.write_bytes(page.read_bytes() + b" ")
    done = run_fedjoint("verify", str(folder))
    assert done.returncode == 1
    assert any(line.startswith("FAIL") and "report.html" in line for line in done.stdout.splitlines())
    checks = json.loads(run_fedjoint("verify", str(folder), "--json").stdout)
    assert [check["name"] for check in checks if check["outcome"] == "failed"] == ["files"]


def test_verify_of_no_folder_is_one_line(tmp_path):
    done = start_fedjoint("verify", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "no run folder" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.round=5", "training.rounds"),
        ("trainin.rounds=5", "training.rounds"),
        ("training.rounds=many", "training.rounds"),
        ("privacy=lokal", "local"),
        ("privacy", "key=value"),
        ("+privacy.noise=3", "privacy.noise"),
    ],
)
def test_a_wrong_override_fails_in_one_readable_line(override, words, tmp_path):
    done = run_fedjoint("simulate", override, f"run.folder={tmp_path}")
    assert done.returncode == 2
    assert words in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 4  # one sentence, wrapped at 80 columns


def test_an_unknown_verb_fails_with_usage():
    done = start_fedjoint("simulat")
    assert done.returncode == 2 and "simulat" in done.stderr


def test_plan_prints_bytes_seconds_and_epsilon_and_writes_nothing(tmp_path):
    done = run_fedjoint("plan", *RUN, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("up", "down", "encrypt", "decrypt", "epsilon", "add-or-remove"):
        assert word in done.stdout
    figures = json.loads(run_fedjoint("plan", *RUN, "--json", cwd=tmp_path).stdout)
    assert figures["bytes_up"] > 0 and figures["epsilon"] <= figures["epsilon_limit"]
    assert list(tmp_path.iterdir()) == []


def test_plan_shows_what_was_inferred_of_a_table_and_writes_it_for_correction(tmp_path):
    rows = [f"{site},{age},{age % 2}" for site in ("Basel", "Bern") for age in range(20, 50)]
    (tmp_path / "t.csv").write_text("\n".join(["site,age,ill", *rows]))
    table = ["data=table", "data.path=t.csv", "data.holder=site", "data.target=ill"]
    done = run_fedjoint("plan", *table, "--write-schema", "s.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Inferred from the records" in done.stdout and "20 to 49" in done.stdout
    again = run_fedjoint("plan", *table, "data.schema=s.yaml", "--write-schema", "s.yaml", cwd=tmp_path)
    assert again.returncode == 1 and "exists" in again.stderr
    declared = (tmp_path / "s.yaml").read_text().replace("origin: inferred", "origin: declared")
    (tmp_path / "d.yaml").write_text(declared)
    done = run_fedjoint("plan", *table, "data.schema=d.yaml", cwd=tmp_path)
    assert done.returncode == 0 and "Inferred" not in done.stdout


@pytest.mark.parametrize("verb", [[], ["plan"], ["simulate"], ["verify"]])
def test_every_help_has_an_example(verb):
    done = run_fedjoint(*verb, "--help")
    assert done.returncode == 0 and "Example" in done.stdout and "fedjoint " in done.stdout


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv=['fedjoint','--help']\n"
        "import fedjoint.cli.main as m\n"
        "try: m.main()\nexcept SystemExit: pass\n"
        "heavy={'torch','flwr','tenseal','grpc','sqlalchemy','matplotlib','hydra','numpy','pydantic'}&set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version_is_printed():
    import fedjoint

    done = run_fedjoint("--version")
    assert done.returncode == 0 and fedjoint.__version__ in done.stdout
