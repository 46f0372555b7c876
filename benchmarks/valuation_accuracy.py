"""How near contributions come to what they stand for, on scikit-learn's digits with ten holders.

    python benchmarks/valuation_accuracy.py [--quick] [--json FILE] [--seeds N] [--scenarios NAME ...] [--start NAME]

Setting: pixels / 16, seeded shuffle, 1,200 records to train on, 300 for the reference set; MLP 64-32-10; 10 rounds of
FedAvg, 2 local epochs, batches of 30, SGD 0.15; utility: minus the cross-entropy. Scenarios: ``iid``; ``size``: pairs
of holders have 10, 15, 20, 25 and 30 % of the records; ``label_skew``: a pair has 79 % of two digits; ``flip``: 0 to
20 % wrong labels.

``same_game``: the path value against the exact Shapley value of the same rounds' games, 2^10 coalitions each.
``retraining``: against the Shapley value of 1,024 trainings, one by every coalition. ``path_encrypted`` against
``clear``: computed on ciphertexts, against the same inner products of the same fixed-point updates in the clear; the
largest difference, relative to the mean absolute contribution.

``money_misallocated`` is half the L1 distance of shares (values below zero are paid nothing), the mean over seeds;
``rank_correlation`` is Spearman's. The mean over seeds is aimed at; of the same game the worst seed is stated too:
with ten holders one pair that changes places makes it .988, as under label skew in seed 0, where two holders are .4 %
apart and the path value differs from the Shapley value by as much (more quadrature points change nothing in that).
Values against retraining depend on the start of the training more than one would like: ``--start`` takes ``lecun``
(normal, variance 1 / inputs: the default), ``small`` (deviation 0.1) or ``he``.
"""

import argparse
import functools
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy import stats
from sklearn.datasets import load_digits

from fedjoint.encryption.binding import Binding
from fedjoint.encryption.decryption import open_sample
from fedjoint.encryption.fixed_point import dequantise_sum, quantise
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.parameters import DEGREE, Parameters
from fedjoint.encryption.scheme import make_encryptor
from fedjoint.models.coalitions import CoalitionReference
from fedjoint.models.retraining import RetrainingGame, Shard, local_training
from fedjoint.models.tasks import task_of
from fedjoint.valuation.aumann_shapley import path_gradient
from fedjoint.valuation.encrypted import EncryptedContributions, contribution_of
from fedjoint.valuation.estimate import Sampling
from fedjoint.valuation.methods import RunGames, value_run
from fedjoint.valuation.round_games import RenormalisedGame, RoundGame

HOLDERS, ROUNDS, EPOCHS, BATCH, RATE, POINTS = 10, 10, 2, 30, 0.15, 4
WIDTHS = (64, 32, 10)
SCENARIOS = ("iid", "size", "label_skew", "flip")
#: What was aimed at against retraining; and both multi_round and gtg must be beaten.
MONEY = {"iid": 0.04, "size": 0.06, "label_skew": 0.15, "flip": 0.08}
COMPARED = ("path", "multi_round", "gtg", "leave_one_out", "banzhaf")
Row = dict[str, Any]


class Case(NamedTuple):
    """One scenario with one seed: the trainings' game, and the games of the run by all."""

    retraining: RetrainingGame
    games: RunGames


def shards_of(scenario: str, seed: int) -> tuple[tuple[Shard, ...], Any, Any]:
    """The holders' records, and features and targets of the reference set."""
    generator = np.random.default_rng(seed)
    features, labels = load_digits(return_X_y=True)
    features = features / 16
    order = generator.permutation(len(features))
    train, held_out = order[:1200], order[1200:1500]
    if scenario == "size":
        parts = np.split(train, np.cumsum(np.repeat([60, 90, 120, 150, 180], 2))[:-1])
    elif scenario == "label_skew":
        pair = np.where(generator.random(1200) < 0.74, labels[train] // 2, generator.integers(0, 5, 1200))
        holder = 2 * pair + generator.integers(0, 2, 1200)
        parts = [train[holder == place] for place in range(HOLDERS)]
    else:
        parts = np.split(train, HOLDERS)
    own = labels.copy()
    if scenario == "flip":
        for place, part in enumerate(parts):
            wrong = generator.choice(part, round(0.2 * place / (HOLDERS - 1) * len(part)), replace=False)
            own[wrong] = (own[wrong] + generator.integers(1, 10, len(wrong))) % 10
    shards = tuple(Shard(features=features[part], targets=own[part], weight=float(len(part))) for part in parts)
    return shards, features[held_out], labels[held_out]


def start_of(kind: str, seed: int) -> Any:
    """Parameters before training: normal weights, zero biases."""
    generator, parts = np.random.default_rng((seed, 7)), []
    for inputs, outputs, gain in zip(WIDTHS, WIDTHS[1:], (2, 1), strict=False):
        deviation = {"small": 0.1, "lecun": inputs**-0.5, "he": (gain / inputs) ** 0.5}[kind]
        parts += [generator.normal(scale=deviation, size=inputs * outputs), np.zeros(outputs)]
    return np.concatenate(parts)


def case_of(scenario: str, seed: int, start: str) -> Case:
    """Train by all, round by round, and keep every round's games."""
    shards, features, targets = shards_of(scenario, seed)
    module = torch.nn.Sequential(
        torch.nn.Linear(WIDTHS[0], WIDTHS[1]), torch.nn.ReLU(), torch.nn.Linear(WIDTHS[1], WIDTHS[2])
    )
    reference = CoalitionReference(module=module, features=features, targets=targets, task=task_of("multiclass"))

    @functools.cache
    def schedule(place: int, number: int) -> Any:
        drawn, size = np.random.default_rng((seed, place, number)), len(shards[place].targets)
        orders = [drawn.permutation(size) for _ in range(EPOCHS)]
        return [order[first : first + BATCH] for order in orders for first in range(0, size, BATCH)]

    retraining = RetrainingGame(
        players=tuple(range(HOLDERS)),
        shards=shards,
        reference=replace(reference, precision="single"),
        start=start_of(start, seed),
        rounds=ROUNDS,
        learning_rate=RATE,
        schedule=schedule,
    )
    weights = np.array([shard.weight for shard in shards])
    before, as_run, renormalised = retraining.start, [], []
    for number in range(1, ROUNDS + 1):
        one = torch.from_numpy(before)[None]
        trained = [
            local_training(one, shard, reference, schedule(place, number), learning_rate=RATE)[0].numpy()
            for place, shard in enumerate(shards)
        ]
        updates = (np.array(trained) - before) * (weights / weights.sum())[:, None]
        parts: Any = {"players": retraining.players, "before": before, "updates": updates, "reference": reference}
        as_run.append(RoundGame(**parts))
        renormalised.append(RenormalisedGame(**parts, weights=weights))
        before = before + updates.sum(axis=0)
    games = RunGames(
        players=retraining.players,
        as_run=tuple(as_run),
        renormalised=tuple(renormalised),
        retraining=(retraining,),
    )
    return Case(retraining, games)


def misallocated(values: Any, truth: Any) -> float:
    """The part of the money that goes to the wrong holder."""
    one, other = (np.clip(each, 0, None) / np.clip(each, 0, None).sum() for each in (values, truth))
    return float(np.abs(one - other).sum() / 2)


def encrypted_error(case: Case) -> float:
    """Largest difference on ciphertexts from the clear, as a part of the mean absolute contribution."""
    updates = [game.updates for game in case.games.as_run if isinstance(game, RoundGame)]
    bound = 1.25 * max(float(np.abs(each).max()) for each in updates)
    size = case.retraining.start.size
    parameters = Parameters(
        scheme="seeded", num_parameters=size, max_holders=HOLDERS, bound=bound, value_bits=16, rounds=ROUNDS
    )
    drawn = np.random.default_rng(5)  # of a key that protects nothing
    secret = drawn.integers(-1, 2, DEGREE, dtype=np.int8)
    key = SecretKey(secret, parameters, Binding(agreement_sha256="ab" * 32, run_id="cd" * 16))
    encryptors = [make_encryptor(SecretKey(secret, parameters, key.binding)) for _ in range(HOLDERS)]
    account, clear = EncryptedContributions(parameters), np.zeros(HOLDERS)
    for number, game in enumerate(case.games.as_run, start=1):
        assert isinstance(game, RoundGame)
        after = game.before + game.updates.sum(axis=0)
        gradient = path_gradient(game.reference.gradient, game.before, after, points=POINTS)
        sent = {}
        for place, encryptor in enumerate(encryptors):
            levels = quantise(game.updates[place], parameters, rounding=drawn)
            sent[str(place)] = encryptor.encrypt(levels, round_number=number, place=place)
            clear[place] += gradient @ dequantise_sum(levels, 1, parameters)
        account.add_round(sent, gradient, rate=1.0)
    masked = account.masked()
    opened, _ = account.opened(masked, [open_sample(key, item.sample) for item in masked])
    found = [
        contribution_of([part for part in opened if part.holder == str(place)], plain_modulus=parameters.plain_modulus)
        for place in range(HOLDERS)
    ]
    return float(np.abs(np.array(found) - clear).max() / np.abs(clear).mean())


def measure(scenario: str, seed: int, start: str) -> Iterator[Row]:
    """All comparisons of one scenario with one seed."""
    case = case_of(scenario, seed, start)
    sampling, values, seconds = Sampling(seed=(seed,), maximum_evaluations=1_000_000), {}, {}
    for method in (*COMPARED, "shapley", "retraining"):
        begun = time.process_time()
        values[method] = value_run(method, case.games, sampling).values
        seconds[method] = time.process_time() - begun
    values["size"], seconds["size"] = np.array([shard.weight for shard in case.retraining.shards]), 0.0
    for method, against in [("path", "shapley"), *((each, "retraining") for each in (*COMPARED, "size"))]:
        one, other = values[method], values[against]
        yield {
            "scenario": scenario,
            "method": method,
            "against": "same_game" if against == "shapley" else against,
            "rank_correlation": float(stats.spearmanr(one, other).statistic) if np.ptp(one) > 0 else None,
            "money_misallocated": misallocated(one, other),
            "seconds": seconds[method],
            "seconds_against": seconds[against],
        }
    error = {"scenario": scenario, "method": "path_encrypted", "against": "clear"}
    yield {**error, "relative_error": encrypted_error(case)}


def means(rows: list[Row]) -> list[Row]:
    """One row a comparison, with the mean of every number over the seeds."""
    grouped: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row["scenario"], row["method"], row["against"]), []).append(row)
    result = []
    for (scenario, method, against), group in grouped.items():
        row = {"scenario": scenario, "method": method, "against": against, "seeds": len(group)}
        for name in group[0].keys() - row.keys():
            known = [each[name] for each in group if each[name] is not None]
            row[name] = float(np.mean(known)) if known else None
        if method == "path" and against == "same_game":  # near ties swap places in one seed: say what the worst was
            row["worst_rank_correlation"] = min(each["rank_correlation"] for each in group)
            row["worst_money_misallocated"] = max(each["money_misallocated"] for each in group)
        result.append(row)
    return result


def verdict(row: Row, rows: list[Row]) -> str:
    """What was aimed at, and whether it was reached."""
    scenario, method, against = row["scenario"], row["method"], row["against"]
    if method == "path_encrypted":
        return f"<= 1e-4: {'reached' if row['relative_error'] <= 1e-4 else 'NOT REACHED'}"
    if method != "path":
        return ""
    if against == "same_game":
        reached = row["rank_correlation"] >= 0.99 and row["money_misallocated"] <= 0.005
        worst = f"worst seed {row['worst_rank_correlation']:.3f}, {row['worst_money_misallocated']:.4f}"
        return f"rank >= .99, money <= .005: {'reached' if reached else 'NOT REACHED'} ({worst})"
    others = [
        each["money_misallocated"]
        for each in rows
        if (each["scenario"], each["against"]) == (scenario, against) and each["method"] in ("multi_round", "gtg")
    ]
    reached = row["money_misallocated"] <= MONEY[scenario] and row["money_misallocated"] < min(others)
    return f"money <= {MONEY[scenario]}, best of the three: {'reached' if reached else 'NOT REACHED'}"


def table_of(rows: list[Row]) -> Table:
    """All comparisons."""
    table = Table("scenario", "method", "against", "rank", "money", "CPU s", "target")
    for row in rows:
        rank = "-" if row.get("rank_correlation") is None else f"{row['rank_correlation']:.3f}"
        money = (
            f"{row['money_misallocated']:.4f}" if "money_misallocated" in row else f"{row['relative_error']:.1e} rel."
        )
        took = f"{row['seconds']:.2f}" if "seconds" in row else ""
        label = row["scenario"], row["method"], row["against"]
        table.add_row(*label, rank, money, took, verdict(row, rows), end_section=row["method"] == "path_encrypted")
    return table


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="iid and flip with one seed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each scenario")
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=SCENARIOS, metavar="NAME")
    parser.add_argument("--start", choices=("small", "lecun", "he"), default="lecun", help="how training starts")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.scenarios = 1, ("iid", "flip")
    torch.set_num_threads(1)
    console, found = Console(width=max(Console().width, 130)), []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("trainings by every coalition", total=len(arguments.scenarios) * arguments.seeds)
        for scenario in arguments.scenarios:
            for seed in range(arguments.seeds):
                found += list(measure(scenario, seed, arguments.start))
                progress.advance(task)
    rows = means(found)
    console.print(table_of(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
