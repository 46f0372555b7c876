"""Does every run end well whoever is killed, stopped or cut off while it is on? Real processes, real faults.

    python benchmarks/chaos.py [--quick] [--json FILE] [--trials N] [--seed N] [--folder FOLDER]

One exchange and its holders, each a process of its own, each holder behind a TCP proxy. In each trial they agree and
run, and meanwhile one to three faults come at random moments: kill -9 of anybody (started again a moment later),
SIGSTOP of anybody for longer than a task's deadline, links cut for a while. Every second trial is without privacy, and
its model must be, to the bit, that of an undisturbed run in which the same holders took part in each round; the others
are under local differential privacy with lifetime budgets, which must say exactly what left. Every run that has a
result must verify: its record, its ledger, its money.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from workers.federation import Federation

from fedjoint.agreement.review import load_policy
from fedjoint.agreement.signing import SignedAgreement
from fedjoint.conduct.reference import ReferenceSet
from fedjoint.conduct.reference_file import read_reference
from fedjoint.errors import FedjointError
from fedjoint.exchange.proposing import reference_path
from fedjoint.models.vector import parameters_to_vector
from fedjoint.node.datasets import dataset, examples_of, lifetime_of, size_of
from fedjoint.privacy.events import costs, num_steps
from fedjoint.privacy.receipts import RoundReceipt
from fedjoint.privacy.releases import num_training_steps
from fedjoint.record.log import Event, read_record
from fedjoint.runs.verify import verify_run
from fedjoint.strict import build
from fedjoint.training.coordinator import Coordinator
from fedjoint.training.holder import Holder
from fedjoint.training.local_update import agreed_module
from fedjoint.training.parts import PartedChannel
from fedjoint.training.plan import Kind, Parcel, Refusal
from fedjoint.training.session import Session
from fedjoint.training.workplace import Workplace

ROUNDS = 24
#: Seconds that holders have for a task: longer than a killed one takes to come back.
DEADLINE_S = 15.0
LONGEST_S = 400.0
COMMON = [f"training.rounds={ROUNDS}", "training.learning_rate=1.0", "encryption=seeded", "training.minimum_holders=2"]
MODES = {
    "plain": ["privacy=none"],
    "counted": ["privacy=local", "privacy.epsilon=10", "privacy.noise_multiplier=20"],
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What befalls whom, so many seconds after a run was asked for, and for how long."""

    kind: str
    party: str
    at_s: float
    for_s: float

    def __str__(self) -> str:
        return f"{self.kind} {self.party} at {self.at_s:.1f} s for {self.for_s:.1f} s"


def draw_faults(rng: random.Random, parties: list[str], *, within_s: float) -> list[Fault]:
    """One to three faults."""
    found = []
    for _ in range(rng.randint(1, 3)):
        kind = rng.choice(["kill", "kill", "stop", "cut"])
        lasts = {"kill": (0.0, 2.0), "stop": (DEADLINE_S + 0.5, DEADLINE_S + 2), "cut": (0.5, 8.0)}[kind]
        party = rng.choice(parties)
        found.append(Fault(kind=kind, party=party, at_s=rng.uniform(0, within_s), for_s=rng.uniform(*lasts)))
    return sorted(found, key=lambda fault: fault.at_s)


def act(federation: Federation, fault: Fault) -> list[tuple[float, Callable[[], None]]]:
    """What a fault is to do, and when."""
    process, end = federation.processes[fault.party], fault.at_s + fault.for_s
    if fault.kind == "kill":
        return [(fault.at_s, process.kill), (end, process.start)]
    if fault.kind == "stop":
        return [(fault.at_s, process.stop), (end, process.go_on)]
    proxies = federation.proxies
    cut = [proxies[fault.party]] if fault.party in proxies else list(proxies.values())
    return [(fault.at_s, lambda: [proxy.cut(fault.for_s) for proxy in cut] and None)]


def disturb(federation: Federation, faults: list[Fault]) -> None:
    """Let faults happen in their time."""
    began = time.monotonic()
    for at_s, do in sorted((step for fault in faults for step in act(federation, fault)), key=lambda step: step[0]):
        time.sleep(max(0.0, began + at_s - time.monotonic()))
        do()


class Undisturbed:
    """Holders in this process, of whom in each round only those take part that did in another run.

    Args:
        holders: By id.
        membership: Who took part in each round; in later ones nobody does.
    """

    def __init__(self, holders: Mapping[str, Holder], membership: list[set[str]]) -> None:
        self._holders, self._membership = holders, membership

    def exchange(self, kind: Kind, tasks: Mapping[str, Parcel]) -> Iterator[tuple[str, Parcel | Refusal]]:
        """See :class:`fedjoint.training.plan.Channel`."""
        for holder, task in tasks.items():
            number = task.body.round if kind == "train" else 0
            if number and holder not in ([set(), *self._membership, *[set[str]()] * ROUNDS])[number]:
                yield holder, Refusal(code="holder.silent", message="as in the other run")
                continue
            try:
                yield holder, self._holders[holder].answer(kind, task)
            except FedjointError as problem:
                yield holder, Refusal.because(problem)


def undisturbed_model(federation: Federation, agreement: SignedAgreement, membership: list[set[str]]) -> str:
    """SHA-256 of the model of an undisturbed run under the same agreement."""
    terms, holders = agreement.terms, {}
    for party, home in federation.homes.items():
        note = dataset(home, "plain")
        examples, size = examples_of(note, terms.data.schema), size_of(home, note)
        holders[party] = Holder(home.load_identity(), examples, load_policy(home.policy), size=size)
        holders[party].sign(terms)
    opened: list[str] = []
    session = Session(agreement=agreement, run_id="0" * 32)
    coordinator = Coordinator(
        federation.home.load_identity(),
        session,
        start=parameters_to_vector(agreed_module(terms)),
        channel=PartedChannel(Undisturbed(holders, membership), session, Workplace()),
        reference=ReferenceSet.of(read_reference(reference_path(federation.home, agreement.sha256), terms), terms),
        log=lambda kind, body: opened.append(str(body["model_sha256"])) if kind == "round.opened" else None,
    )
    coordinator.prepare()
    trained = [set(summary.contributors) for summary in coordinator.rounds()]
    assert trained == membership, "the undisturbed run had other members"
    return opened[-1]


def bodies(events: tuple[Event, ...], kind: str) -> list[Mapping[str, object]]:
    return [event.body for event in events if event.type == kind]


def budget_is_exact(federation: Federation, run_id: str, steps: int, events: tuple[Event, ...]) -> bool:
    """Whether each holder's ledger says what its receipts say, and nothing is reserved for a run that is over.

    Args:
        federation: The holders.
        run_id: The run.
        steps: Noisy steps of a round; 0 without privacy, where nothing may be charged.
        events: Of its record; none if it has no result.
    """
    for party, home in federation.homes.items():
        ledger = lifetime_of(home, dataset(home, "counted"), now=lambda: "2026-01-01T00:00:00Z")
        assert ledger is not None
        reserved = [one for one in ledger.account().reservations if one.reserved.lineage == run_id]
        for one in reserved:
            if one.is_open:  # its holder was away when the run ended; its operator gives it back, as the manual says
                ledger.give_back(one.id)
        charged = {int(name.removeprefix("round ")) for one in reserved for name in one.names}
        exact = sum(num_steps(costs(one.released)) for one in reserved) == steps * len(charged)
        for body in bodies(events, "round.summed"):
            if said := dict(body["receipts"]).get(party):  # type: ignore[call-overload]
                receipt = build(RoundReceipt, said)
                counted = {number for number in charged if number <= receipt.round}
                exact &= num_training_steps(receipt.releases) == steps * len(counted)
                exact &= not steps or receipt.round in charged
        if not exact:
            return False
    return True


def check(federation: Federation, agreement: SignedAgreement, run_id: str, *, private: bool) -> dict[str, object]:
    """What became of a run that is over."""
    run = federation.entry(run_id)
    row: dict[str, object] = {"ended": run.ended_at is not None, "model_identical": None, "ledger_balanced": None}
    events: tuple[Event, ...] = ()
    if run.state == "finished":
        folder = federation.home.runs / run.name
        row["ledger_balanced"] = all(one.outcome == "passed" for one in verify_run(folder))
        coordinator = agreement.terms.coordinator
        witnesses = {holder.identity.id: holder.identity for holder in agreement.terms.holders}
        events = read_record(folder / "record.jsonl", agreement.sha256, coordinator, witnesses=witnesses).events
        opened = bodies(events, "round.opened")
        if not private:
            summed = {body["round"]: set(body["receipts"]) for body in bodies(events, "round.summed")}  # type: ignore[call-overload]
            membership = [summed[body["round"]] for body in opened]
            row["model_identical"] = opened[-1]["model_sha256"] == undisturbed_model(federation, agreement, membership)
    steps = agreement.terms.training.local_steps if private else 0
    return row | {"budget_exact": budget_is_exact(federation, run_id, steps, events)}


def try_once(federation: Federation, number: int, faults: list[Fault]) -> tuple[dict[str, object], str, float]:
    """One agreement, one run, its faults, and what came of it: a row, words, and the seconds that it took."""
    name = ("plain", "counted")[number % 2]
    federation.wait_for_all()
    sha256 = federation.agree(name, [*COMMON, *MODES[name], f"seed={number + 1}"])
    run_id = federation.begin(sha256, f"trial-{number}")
    began = time.monotonic()
    disturb(federation, faults)
    while federation.entry(run_id).ended_at is None and time.monotonic() < began + LONGEST_S:
        for process in federation.processes.values():
            process.fallen()
            process.start()
        time.sleep(0.2)
    took = time.monotonic() - began
    federation.wait_for_all()
    with federation.store() as store:
        agreement = store.agreements.get(sha256).agreement
    row = check(federation, agreement, run_id, private=name == "counted")
    run = federation.entry(run_id)
    words = f"{run.state}, {run.round} rounds, {took:.0f} s: {run.words}"
    return {"trial": number, "faults": [str(fault) for fault in faults], **row}, words, took


KEYS = ("ended", "model_identical", "ledger_balanced", "budget_exact")


def main() -> None:
    """Try, check, and print the tally."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="4 trials instead of 60")
    parser.add_argument("--trials", type=int, metavar="N", help="so many")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the faults")
    parser.add_argument("--holders", type=int, choices=(3, 4), default=4, help="4 unless said otherwise")
    parser.add_argument("--within", type=float, metavar="S", help="faults come so soon; else within an undisturbed run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--folder", type=Path, help="where to leave everything; otherwise a temporary folder")
    options = parser.parse_args()
    trials, rng, console = options.trials or (4 if options.quick else 60), random.Random(options.seed), Console()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.folder or Path(scratch)).resolve()
        federation = Federation(folder, deadline_s=DEADLINE_S, holders=options.holders)
        try:
            # in the first everything is loaded; a second one is as quick as they get
            warming = (0,) if options.within else (0, 2)
            took_s = [try_once(federation, trials + trials % 2 + extra, [])[2] for extra in warming]
            for number in range(trials):
                faults = draw_faults(rng, list(federation.processes), within_s=options.within or took_s[-1])
                row, words, _ = try_once(federation, number, faults)
                rows.append(row)
                said = ", ".join(f"{key} {row[key]}" for key in KEYS)
                console.print(f"{number}: {'; '.join(row['faults'])} -> {words} ({said})", soft_wrap=True)
        finally:
            federation.close()
    table = Table("", "yes", "no", "not asked", title=f"{trials} runs under faults, {ROUNDS} rounds")
    for key in KEYS:
        said = [row[key] for row in rows]
        table.add_row(key.replace("_", " "), *(str(said.count(value)) for value in (True, False, None)))
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    raise SystemExit(0 if all(row[key] is not False for row in rows for key in KEYS) else 1)


if __name__ == "__main__":
    main()
