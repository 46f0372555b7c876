"""All 1,024 coalition models of a round evaluated as one tensor program, beside a loop over the models.

    python benchmarks/coalition_models.py [--quick] [--json FILE]

Ten holders, 2^10 models, one thread, seconds of processor time, medians; the two take turns within each repetition.
A loop takes a model's parameters, runs the module on all records and takes the mean loss, in the same precision;
the losses of all are compared before anything is timed. ``loop`` is what PyTorch documents for models that
are not in the module, ``torch.func.functional_call``; beside it stand ``load_state_dict`` and the fastest plain way,
``vector_to_parameters``. The ratio that is aimed at is to the first. Where ``OPENBLAS_CORETYPE`` holds numpy's products
to an older processor's kernels, the script starts itself again without it, as the processor is what is measured.
"""

import argparse
import json
import os
import statistics
import sys
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
FORCED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
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

    names = [(label, parameter.shape) for label, parameter in own.named_parameters()]
    sizes = [parameter.numel() for parameter in own.parameters()]

    def named(model: torch.Tensor) -> dict[str, torch.Tensor]:
        return {label: part.view(shape) for (label, shape), part in zip(names, model.split(sizes), strict=True)}

    def call(model: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(own, named(model), (inputs,))

    def load(model: torch.Tensor) -> torch.Tensor:
        own.load_state_dict(named(model))
        return own(inputs)

    def write(model: torch.Tensor) -> torch.Tensor:
        nn.utils.vector_to_parameters(model, own.parameters())
        return own(inputs)

    def loop(outputs: Callable[[torch.Tensor], torch.Tensor]) -> list[float]:
        with torch.no_grad():
            return [float(task.per_example_loss(outputs(model), wanted).mean()) for model in models]

    loops = {"loop_s": call, "load_state_dict_s": load, "vector_to_parameters_s": write}

    def batched() -> Any:
        return reference.losses(shares, before=before, updates=updates)

    difference = max(float(np.abs(batched() - np.array(loop(outputs))).max()) for outputs in loops.values())
    assert difference < (1e-12 if precision == "double" else 1e-5), f"{name}: losses differ by {difference}"
    turns: dict[str, list[float]] = {"batched_s": [], **{label: [] for label in loops}}
    for _ in range(repetitions):
        turns["batched_s"].append(cpu(batched)[1])
        for label, outputs in loops.items():
            turns[label].append(cpu(lambda outputs=outputs: loop(outputs))[1])
    seconds = {label: statistics.median(times) for label, times in turns.items()}
    return {
        "model": name,
        "precision": precision,
        "parameters": size,
        "records": len(features),
        "models": len(shares),
        **seconds,
        "ratio": seconds["loop_s"] / seconds["batched_s"],
        "ratio_to_fastest": min(seconds[label] for label in loops) / seconds["batched_s"],
        "max_abs_difference": difference,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    if any(name in os.environ for name in FORCED):  # read once, when numpy was loaded
        free = {name: value for name, value in os.environ.items() if name not in FORCED}
        os.execve(sys.executable, [sys.executable, *sys.argv], free)
    torch.set_num_threads(1)
    rows, table = (
        [],
        Table(
            "model", "precision", "parameters", "batched ms", "loop ms", "loop / batched", "fastest loop / batched", ""
        ),
    )
    for name in references():
        for precision in ("single", "double"):
            row = measure(name, precision, repetitions=3 if arguments.quick else 9)
            rows.append(row)
            target = (name, precision) == ("digits-mlp", "single")
            word = f"{'reached' if row['ratio'] >= TARGET else 'NOT REACHED'} (>= {TARGET:.0f})" if target else ""
            times = (f"{1000 * row[key]:,.1f}" for key in ("batched_s", "loop_s"))
            table.add_row(
                name,
                precision,
                f"{row['parameters']:,}",
                *times,
                f"{row['ratio']:.1f}",
                f"{row['ratio_to_fastest']:.1f}",
                word,
            )
    table.title = f"{1 << HOLDERS:,} models of {HOLDERS} holders' coalitions"
    Console(width=max(Console().width, 120)).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
