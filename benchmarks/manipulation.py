"""Does gaming pay? Attacks on the path value on scikit-learn's digits, with and without the guards.

    python benchmarks/manipulation.py [--quick] [--json FILE]

Ten holders train an MLP by federated averaging, in the clear; contributions, error bars and the rule of paying alike
are the package's own. Each row is what the attacker is paid over what it is paid when honest, in the median over seeds.

Guards: sizes are certified and no holder weighs more than 25 % (``training.maximum_weight``); updates are cut at the
fixed point's bound, a little above the largest coordinate of an honest update, and shortened to the median length of
honest ones (``training.maximum_update_norm``); what a round gains by going on as the last one did is shared by size
(``valuation.known_path=by_size``); who first takes part after half of the rounds counts for nothing
(``valuation.latest_start``); one legal person is one holder, so that parts of one are one again; records that an
earlier-registered holder has too (private set intersection) do not count.

What they rest on: the length is kept by the holder's own, unchanged program (in the modes with noise clip norm and rate
keep it); a changed one can send what it likes under encryption, and is paid for what that did to the model. Size, known
path and late start are computed from what everybody sees.
"""

import argparse
import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

from fedjoint.agreement.terms import ModelTerms
from fedjoint.agreement.weights import most_counted
from fedjoint.conduct.reference import ReferenceSet
from fedjoint.data.duplicates import DuplicateAnswerer, DuplicateSeeker, record_digests, without
from fedjoint.data.records import Examples
from fedjoint.models.modules import make_module
from fedjoint.models.tasks import task_of
from fedjoint.models.training import PlainPlan, train_plainly
from fedjoint.models.vector import parameters_to_vector
from fedjoint.pool.materiality import groups_within_error, pay_alike
from fedjoint.pool.shares import shares_from_contributions
from fedjoint.training.local_update import shortened
from fedjoint.valuation.aumann_shapley import path_gradient, path_nodes
from fedjoint.valuation.guards import entitled, late_joiners, split_known
from fedjoint.valuation.uncertainty import ErrorBars, sampling_covariance

HOLDERS, ROUNDS, LOCAL_STEPS, RATE, CAP = 10, 6, 6, 0.4, 0.25
TASK, MODULE = task_of("multiclass"), make_module(ModelTerms(kind="mlp", hidden=(16,)), 64, outputs=10, seed=0)
ATTACKS = (
    "free_rider_noise",
    "free_rider_replay",
    "free_rider_zero",
    "label_flip_half",
    "label_flip_all",
    "split_in_two",
    "duplicate_of_another",
    "copy_as_second_member",
    "size_times_3",
    "update_times_3",
    "late_joiner",
)
ATTACKER = "h0"


@dataclass(frozen=True, kw_only=True)
class Party:
    """One member of the federation, honest or not; ``declared`` is its size in the agreement."""

    examples: Examples
    declared: int
    owner: str
    scale: float = 1.0
    sends: str = "update"  # or noise, replay, zero
    first_round: int = 0


@dataclass(kw_only=True)
class Outcome:
    """What each owner is paid, as a fraction; the largest weighted coordinate sent, and the updates' lengths."""

    paid: dict[str, float] = field(default_factory=dict)
    largest: float = 0.0
    lengths: list[float] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Of an update: of each weighted coordinate, and of its length before it is weighted."""

    coordinate: float
    length: float


def data(setting: str, seed: int) -> tuple[dict[str, Party], Examples]:
    """Ten holders of equal size: iid, or each with mostly two digits; and the reference set."""
    rng = np.random.default_rng(seed)
    features, targets = load_digits(return_X_y=True)
    order = rng.permutation(len(targets))
    features, targets = (features / 16).astype(np.float32)[order], targets.astype(np.int64)[order]
    pool, size = np.arange(1200), 120
    places = []
    for number in range(HOLDERS):
        mine = np.isin(targets[pool], [number, (number + 1) % 10]) if setting == "label_skew" else np.ones(len(pool))
        chance = np.where(mine, 12.0, 1.0)
        chosen = rng.choice(pool, size, replace=False, p=chance / chance.sum())
        places.append(chosen)
        pool = np.setdiff1d(pool, chosen)
    examples = Examples(features=features, targets=targets)
    holders = {
        f"h{number}": Party(examples=examples.take(chosen), declared=size, owner=f"h{number}")
        for number, chosen in enumerate(places)
    }
    return holders, examples.take(np.arange(1200, 1500))


def flipped(examples: Examples, fraction: float, seed: int) -> Examples:
    """Some labels replaced by the next digit."""
    wrong = np.random.default_rng(seed).random(len(examples)) < fraction
    return Examples(features=examples.features, targets=np.where(wrong, (examples.targets + 1) % 10, examples.targets))


def attacked(honest: Mapping[str, Party], attack: str, seed: int) -> dict[str, Party]:
    """The federation with one cheat in it."""
    mine, other = honest[ATTACKER], honest["h1"]
    parties = dict(honest)
    if attack.startswith("free_rider"):
        parties[ATTACKER] = dataclasses.replace(mine, sends=attack.rpartition("_")[2])
    elif attack.startswith("label_flip"):
        fraction = 0.5 if attack.endswith("half") else 1.0
        parties[ATTACKER] = dataclasses.replace(mine, examples=flipped(mine.examples, fraction, seed))
    elif attack == "split_in_two":
        half = mine.declared // 2
        for name, rows in ((ATTACKER, np.arange(half)), ("sybil", np.arange(half, mine.declared))):
            parties[name] = dataclasses.replace(mine, examples=mine.examples.take(rows), declared=half)
    elif attack == "duplicate_of_another":
        both = together([mine.examples, other.examples])
        parties[ATTACKER] = dataclasses.replace(mine, examples=both, declared=len(both))
    elif attack == "copy_as_second_member":
        parties["sybil"] = mine
    elif attack == "size_times_3":
        parties[ATTACKER] = dataclasses.replace(mine, declared=3 * mine.declared)
    elif attack == "update_times_3":
        parties[ATTACKER] = dataclasses.replace(mine, scale=3.0)
    elif attack == "late_joiner":
        parties[ATTACKER] = dataclasses.replace(mine, first_round=ROUNDS - 2)
    return parties


def guarded(parties: Mapping[str, Party]) -> dict[str, Party]:
    """One holder for each owner, with the records that nobody registered before it, and their number certified."""
    kept: dict[str, Party] = {}
    # the attacker registers last; whoever was there before keeps a record that both have
    for name in sorted(parties, key=lambda name: (parties[name].owner == ATTACKER, name)):
        party, examples = parties[name], parties[name].examples
        if party.owner == ATTACKER:  # the others were compared before, and share nothing
            places = duplicates(examples, together([other.examples for other in kept.values()]))
            if len(places) == len(examples):
                continue  # nothing of its own: it is not admitted
            examples = without(examples, places) if places else examples
        if party.owner in kept:
            examples = together([kept[party.owner].examples, examples])
        kept[party.owner] = dataclasses.replace(party, examples=examples, declared=len(examples))
    return kept


def together(several: Sequence[Examples]) -> Examples:
    """Records of several holders in one."""
    return Examples(
        features=np.concatenate([one.features for one in several]),
        targets=np.concatenate([one.targets for one in several]),
    )


def duplicates(mine: Examples, others: Examples) -> tuple[int, ...]:
    """Places of my records that another has too, by private set intersection."""
    seeker = DuplicateSeeker(record_digests(mine, salt=b"benchmark"))
    answerer = DuplicateAnswerer(record_digests(others, salt=b"benchmark"), asker_num_examples=len(mine))
    return seeker.common(*answerer.answer(seeker.request()))


def updates_of(
    parties: Mapping[str, Party], model: np.ndarray, previous: np.ndarray, number: int, seed: int
) -> dict[str, np.ndarray]:
    """What each party sends in a round, unweighted."""
    sent = {}
    for place, (name, party) in enumerate(parties.items()):
        if party.sends == "zero" or number < party.first_round:
            sent[name] = np.zeros(model.size)
            continue
        if party.sends == "replay":
            sent[name] = previous
            continue
        plan = PlainPlan(
            steps=LOCAL_STEPS,
            learning_rate=RATE,
            sampling_rate=0.25,
            expected_batch_size=0.25 * len(party.examples),
            seed=(seed, place, number),
        )
        after = train_plainly(
            MODULE, model, features=party.examples.features, targets=party.examples.targets, task=TASK, plan=plan
        )
        update = (after - model.astype(np.float32)).astype(np.float64) * party.scale
        if party.sends == "noise":
            noise = np.random.default_rng([seed, place, number, 9]).normal(size=update.size)
            update = noise * np.linalg.norm(update) / np.linalg.norm(noise)
        sent[name] = update
    return sent


def play(parties: Mapping[str, Party], reference: ReferenceSet, seed: int, bounds: Bounds | None = None) -> Outcome:
    """Train, value and pay; with bounds, all guards are on."""
    sizes = {name: party.declared for name, party in parties.items()}
    most = most_counted(list(sizes.values()), CAP if bounds else 1.0)
    counted = {name: min(size, most) for name, size in sizes.items()}
    weights = {name: size / sum(counted.values()) for name, size in counted.items()}
    model = parameters_to_vector(MODULE).astype(np.float64)
    previous, outcome = np.zeros(model.size), Outcome()
    values, own, squares = dict.fromkeys(parties, 0.0), dict.fromkeys(parties, 0.0), 0.0
    influence = {name: np.zeros(len(reference.examples)) for name in parties}
    for number in range(ROUNDS):
        sent = updates_of(parties, model, previous, number, seed)
        outcome.lengths += [float(np.linalg.norm(update)) for update in sent.values()]
        steps = {
            name: weights[name] * (shortened(update, bounds.length) if bounds else update)
            for name, update in sent.items()
        }
        outcome.largest = max([outcome.largest, *(float(np.abs(step).max()) for step in steps.values())])
        if bounds:
            steps = {name: np.clip(step, -bounds.coordinate, bounds.coordinate) for name, step in steps.items()}
        moved = sum(steps.values(), np.zeros(model.size))
        after = model + moved
        g = path_gradient(reference.gradient, model, after, points=2)
        if bounds:
            novel = known_by_size(steps, moved, previous, dict.fromkeys(weights, 0.0))
            for name, step in novel.items():
                own[name] += float(g @ step)
            squares += float(np.sum(split_known(g, moved, previous)[0] ** 2))
            steps = known_by_size(steps, moved, previous, weights)
        previous = moved
        for name, step in steps.items():
            values[name] += float(g @ step)
        for node, weight in path_nodes(model, after, points=1):
            found = reference.influences(node, np.stack(list(steps.values())))
            for name, row in zip(steps, found, strict=True):
                influence[name] += weight * row
        model = after
    if bounds:
        starts = [[name for name, party in parties.items() if party.first_round <= number] for number in range(ROUNDS)]
        chance = {name: weights[name] * bounds.length * (squares / model.size) ** 0.5 for name in parties}
        values |= dict.fromkeys(set(parties) - entitled(own, weights, by_chance=chance), 0.0)
        values |= dict.fromkeys(late_joiners(starts, ROUNDS // 2), 0.0)
    errors = ErrorBars(noise=dict.fromkeys(parties, 0.0), sampling=sampling_covariance(influence))
    alike = groups_within_error(values, errors.of_difference, z=1.96)
    shares = pay_alike(shares_from_contributions(values), alike, sizes=sizes)
    for name, party in parties.items():
        outcome.paid[party.owner] = outcome.paid.get(party.owner, 0.0) + float(shares[name])
    return outcome


def known_by_size(
    steps: Mapping[str, np.ndarray], moved: np.ndarray, previous: np.ndarray, weights: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Parts in a step as ``split_known`` has them valued: along the last step by weight, across it by what was sent."""
    length = float(np.linalg.norm(previous))
    if not length:
        return dict(steps)
    along = previous / length
    return {name: step + (weights[name] * (along @ moved) - along @ step) * along for name, step in steps.items()}


def measure(setting: str, seed: int) -> list[dict[str, object]]:
    """All attacks in one setting and one split, with and without guards."""
    honest, examples = data(setting, seed)
    reference = ReferenceSet(examples=examples, module=MODULE, task=TASK)
    base = play(honest, reference, seed)
    bounds = Bounds(coordinate=1.1 * base.largest, length=statistics.median(base.lengths))
    safe = play(guarded(honest), reference, seed, bounds)
    rows = []
    for attack in ATTACKS:
        parties = attacked(honest, attack, seed)
        loose = play(parties, reference, seed).paid[ATTACKER] / base.paid[ATTACKER]
        tight = play(guarded(parties), reference, seed, bounds).paid[ATTACKER] / safe.paid[ATTACKER]
        rows += [
            {"attack": attack, "setting": setting, "guarded": known, "payoff_ratio": ratio}
            for known, ratio in ((False, loose), (True, tight))
        ]
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one split instead of three")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[tuple[str, str, bool], list[float]] = {}
    for setting in ("iid", "label_skew"):
        for seed in range(1 if arguments.quick else 3):
            for row in measure(setting, seed):
                found.setdefault((row["attack"], setting, row["guarded"]), []).append(row["payoff_ratio"])
    rows = [
        {"attack": attack, "setting": setting, "guarded": known, "payoff_ratio": statistics.median(ratios)}
        for (attack, setting, known), ratios in found.items()
    ]
    table = Table("attack", "setting", "no guards", "guards", title="Attacker's payoff over its payoff when honest")
    for attack, setting, known in found:
        if not known:
            pair = [statistics.median(found[attack, setting, guards]) for guards in (False, True)]
            table.add_row(attack, setting, *(f"{ratio:.2f}" for ratio in pair))
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
