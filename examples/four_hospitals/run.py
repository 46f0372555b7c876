"""Four hospitals and an exchange as processes of their own: they enrol, sign, train, settle and shut down.

    python examples/four_hospitals/run.py [--namespaces] [--folder FOLDER] [KEY=VALUE ...]

Every command is one that a person would type; their output is shown as the hospitals' IT sees it. At the end the
figures are compared with those of ``fedjoint simulate`` with the same settings. The overrides are those of ``fedjoint
simulate`` and come after ``privacy=none`` (which each hospital's policy has to allow) and 20 rounds.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hospitals import Hospital, write_files
from places import Loopback, Namespaces, namespaces_are_possible
from safetensors.numpy import load_file

from fedjoint.config import load_config
from fedjoint.runs.report import read_report
from fedjoint.runs.verify import verify_run
from fedjoint.simulation.simulate import simulate

REVENUE = "100000.00"
#: What the demonstration agrees on, if nothing else is asked for. An exchange has four numbers of each holder opened
#: for the error of its contribution; a simulation, which sees every update, would have none.
SETTINGS = ["privacy=none", "training.rounds=20", "training.learning_rate=1.0", "valuation.error_numbers=4"]


class Party:
    """One party's shell: its folder, and where its commands run."""

    def __init__(self, name: str, place: Loopback | Namespaces, folder: Path) -> None:
        self.name, self.folder = name, folder
        self._prefix = [*place.prefix(name), sys.executable, "-m", "fedjoint"]

    def run(self, *command: str, quiet: bool = False) -> str:
        """Run a command to its end; what it printed."""
        if not quiet:
            print(f"\n{self.name} $ fedjoint {' '.join(command)}", flush=True)
        done = subprocess.run([*self._prefix, *command], cwd=self.folder, capture_output=True, text=True, check=False)
        if not quiet:
            print("".join(f"  | {line}\n" for line in done.stdout.splitlines()), end="", flush=True)
        if done.returncode:
            sys.exit(f"{self.name}: fedjoint {' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    @contextmanager
    def running(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process that goes on until it is told to stop; its log goes to a file."""
        log = self.folder / "log.jsonl"
        print(f"\n{self.name} $ fedjoint {' '.join(command)} 2> {log.name} &", flush=True)
        with log.open("wb") as stream:
            process = subprocess.Popen([*self._prefix, *command], cwd=self.folder, stdout=stream, stderr=stream)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            print(f"{self.name}: stopped with exit code {process.wait(timeout=120)}", flush=True)


def prepare(exchange: Party, hospitals: list[Party], names: dict[str, str], address: str) -> None:
    """Each hospital makes its folder, joins by its invitation, and adds its table."""
    for party in hospitals:
        exchange.run("exchange", "invite", party.name, "--name", names[party.name], "--home", "home")
        invitation = exchange.folder / f"{party.name}.invitation"
        invitation.rename(party.folder / "invitation")  # by a courier, say: it is a secret until it is used
        party.run("holder", "init", "home", "--id", party.name, "--name", names[party.name])
        policy = party.folder / "home" / "policy.yaml"
        policy.write_text(policy.read_text().replace("modes: [local, joint]", "modes: [local, joint, none]"))
        party.run("holder", "join", address, "--invite", "invitation", "--home", "home")
        # How many patients these hospitals had is published: it needs no noise.
        party.run(
            "holder", "data", "add", "heart.csv", "--schema", "schema.yaml", "--size-noise", "0", "--home", "home"
        )


def agree(exchange: Party, hospitals: list[Party], settings: list[str], citation: str) -> str:
    """The exchange proposes; each hospital reads the page and signs. Returns the agreement's hash."""
    proposed = exchange.run(
        "exchange", "propose", *settings, "--dataset", "heart", "--reference", "reference.csv",
        "--citation", citation, "--home", "home", "--json",
    )  # fmt: skip
    agreement = str(json.loads(proposed)["sha256"])
    for number, party in enumerate(hospitals):
        party.run("holder", "review", agreement[:16], "--home", "home", quiet=number > 0)
        party.run("holder", "sign", agreement[:16], "--yes", "--home", "home", quiet=number > 0)
    return agreement


def conduct(exchange: Party, agreement: str, *, within_s: float = 600.0) -> Path:
    """Have the exchange run the agreement, and wait for the run's folder."""
    exchange.run("exchange", "run", agreement, "--revenue", REVENUE, "--name", "heart", "--home", "home")
    folder, end = exchange.folder / "home" / "runs" / "heart", time.monotonic() + within_s
    while not folder.is_dir():
        time.sleep(0.5)
        failed = '"failed"' in (exchange.folder / "log.jsonl").read_text()
        if failed or time.monotonic() > end:
            sys.exit(f"the run did not end well:\n{exchange.run('exchange', 'status', '--home', 'home', quiet=True)}")
    return folder


def listeners(process: subprocess.Popen[bytes]) -> list[str]:
    """Addresses on which anything listens in a process's network namespace."""
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process.pid}/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A":  # TCP_LISTEN
                found.append(str(int(local.rpartition(":")[2], 16)))
    return sorted(set(found))


def compare(folder: Path, simulated: Path) -> bool:
    """Print both runs' figures side by side; whether they are the same."""
    reports = [read_report(one / "report.json") for one in (folder, simulated)]
    models = [load_file(one / "model.safetensors") for one in (folder, simulated)]
    print(f"\n{'':24}{'four processes':>20}{'fedjoint simulate':>20}")
    same = all(models[0][name].tobytes() == values.tobytes() for name, values in models[1].items())
    print(f"{'model':24}{'the same bytes' if same else 'ANOTHER MODEL':>40}")
    rows = [("AUC of the joint model", *(f"{report.metrics.joint['auc']:.6f}" for report in reports))]
    for ours, theirs in zip(reports[0].holders, reports[1].holders, strict=True):
        rows.append((f"{ours.id} contribution", f"{ours.contribution:.9f}", f"{theirs.contribution:.9f}"))
        rows.append((f"{ours.id} payout", str(ours.payout_minor), str(theirs.payout_minor)))
    for name, *values in rows:
        print(f"{name:24}{values[0]:>20}{values[1]:>20}")
        same &= values[0] == values[1]
    print("The figures are the same." if same else "THE FIGURES DIFFER.")
    return same


def story(
    place: Loopback | Namespaces, hospitals: list[Hospital], citation: str, folder: Path, settings: list[str]
) -> Path:
    """Everything from the exchange's first command to its last; returns the run's folder."""
    address = f"{place.exchange_host}:{place.exchange_port()}"
    exchange = Party("exchange", place, folder / "exchange")
    parties = [Party(one.id, place, folder / one.id) for one in hospitals]
    exchange.run("exchange", "init", "home", "--name", "Heart exchange", "--host", address)
    with ExitStack() as up:
        serving = up.enter_context(exchange.running("exchange", "start", "home"))
        prepare(exchange, parties, {one.id: one.name for one in hospitals}, address)
        agreement = agree(exchange, parties, settings, citation)
        nodes = [up.enter_context(party.running("holder", "start", "--home", "home")) for party in parties]
        run = conduct(exchange, agreement)
        exchange.run("exchange", "status", "--home", "home")
        if isinstance(place, Namespaces):
            print(f"\nListening at the exchange: port {', '.join(listeners(serving))}")
            print(f"Listening at the hospitals: {[listeners(node) for node in nodes]}")
        for party in parties:
            party.run("holder", "statements", "--home", "home")
    return run


def main() -> int:
    """Run the story, verify the run's folder, and compare it with a simulation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--namespaces", action="store_true", help="each party in a network namespace of its own (root)")
    parser.add_argument("--folder", type=Path, help="where to leave everything; otherwise a temporary folder")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_args()
    settings = [*SETTINGS, *options.overrides]
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = (options.folder or Path(scratch)).resolve()
        files = write_files(load_config(["data=heart", *settings]), folder)
        if files is None:
            print("Skipped: the hospitals' data are not installed: pip install 'fedjoint[demo]'")
            return 0
        if options.namespaces and not namespaces_are_possible():
            print("Skipped: network namespaces need root, and `ip netns` on this machine")
            return 0
        hospitals, citation = files
        place = Namespaces("exchange", [one.id for one in hospitals]) if options.namespaces else Loopback()
        stack.callback(place.close)
        run = story(place, hospitals, citation, folder, settings)
        checks = list(verify_run(run))
        passed = sum(check.outcome == "passed" for check in checks)
        print(f"\nThe run's folder verifies: {passed} of {len(checks)} checks passed")
        run_options = [f"run.folder={folder}", "run.name=simulated", f"money.revenue={REVENUE}"]
        simulate(load_config(["data=heart", *settings, *run_options]))
        return 0 if compare(run, folder / "simulated") else 1


if __name__ == "__main__":
    sys.exit(main())
