"""All 1,024 coalition models of a round evaluated as one tensor program, beside a loop over the models.

    python benchmarks/coalition_models.py [--quick] [--json FILE]

Ten holders, 2^10 models, one thread, seconds of processor time, medians; the two take turns within each repetition.
The loop is PyTorch's plain way: write a model's parameters into the module (``vector_to_parameters``), run it on all
records, take the mean loss; both have the same precision. Losses of both are compared before anything is timed.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from torch import nn

from fedjoint.models.coalitions import CoalitionReference
from fedjoint.models.tasks import task_of
from fedjoint.models.vector import num_parameters
from fedjoint.valuation.games import all_coalitions

HOLDERS, TARGET = 10, 15.0
Row = dict[str, Any]


def references() -> dict[str, tuple[nn.Module, Any, Any, str]]:
    """By name: module, features, targets, task."""
    digits, labels = load_digits(return_X_y=True)
    digits, labels = digits[1200:1500] / 16, labels[1200:1500]
    # The heart demo's model: 23 columns, 230 records of reference; values do not change what it costs.
    heart = np.random.default_rng(0).normal(size=(230, 23))
    ill = (heart[:, 0] > 0).astype(np.int64)
    mlp = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    cnn = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10)
    )
    return {
        "digits-mlp": (mlp, digits, labels, "multiclass"),
        "heart-linear": (nn.Linear(23, 1), heart, ill, "binary"),
        "digits-cnn": (cnn, digits, labels, "multiclass"),
    }


def cpu(function: Callable[[], Any]) -> tuple[Any, float]:
    """Result and seconds of processor time."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def measure(name: str, precision: str, *, repetitions: int) -> Row:
    """One model in one precision."""
    module, features, targets, task_name = references()[name]
    task, kind = task_of(task_name), torch.float64 if precision == "double" else torch.float32  # type: ignore[arg-type]
    generator = np.random.default_rng(1)
    size = num_parameters(module)
    before, updates = generator.normal(size=size) / 10, generator.normal(size=(HOLDERS, size)) / 50
    shares = all_coalitions(HOLDERS).astype(np.float64)
    reference = CoalitionReference(module=module, features=features, targets=targets, task=task, precision=precision)  # type: ignore[arg-type]
    models = torch.from_numpy(before + shares @ updates).to(kind)
    inputs, wanted, own = torch.from_numpy(features).to(kind), torch.from_numpy(targets), module.to(kind)

    def loop() -> list[float]:
        losses = []
        with torch.no_grad():
            for model in models:
                nn.utils.vector_to_parameters(model, own.parameters())
                losses.append(float(task.per_example_loss(own(inputs), wanted).mean()))
        return losses

    def batched() -> Any:
        return reference.losses(shares, before=before, updates=updates)

    difference = float(np.abs(batched() - np.array(loop())).max())
    assert difference < (1e-12 if precision == "double" else 1e-5), f"{name}: losses differ by {difference}"
    turns = [(cpu(batched)[1], cpu(loop)[1]) for _ in range(repetitions)]
    batched_s, loop_s = (statistics.median(times) for times in zip(*turns, strict=True))
    return {
        "model": name,
        "precision": precision,
        "parameters": size,
        "records": len(features),
        "models": len(shares),
        "batched_s": batched_s,
        "loop_s": loop_s,
        "ratio": loop_s / batched_s,
        "max_abs_difference": difference,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows, table = [], Table("model", "precision", "parameters", "batched ms", "loop ms", "loop / batched", "")
    for name in references():
        for precision in ("single", "double"):
            row = measure(name, precision, repetitions=3 if arguments.quick else 9)
            rows.append(row)
            target = (name, precision) == ("digits-mlp", "single")
            word = f"{'reached' if row['ratio'] >= TARGET else 'NOT REACHED'} (>= {TARGET:.0f})" if target else ""
            times = (f"{1000 * row[key]:,.1f}" for key in ("batched_s", "loop_s"))
            table.add_row(name, precision, f"{row['parameters']:,}", *times, f"{row['ratio']:.1f}", word)
    table.title = f"{1 << HOLDERS:,} models of {HOLDERS} holders' coalitions"
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
