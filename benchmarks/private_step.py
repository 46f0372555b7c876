"""What privacy costs in time: a private training step over the same step without, ours beside stock Opacus.

    python benchmarks/private_step.py [--quick] [--json FILE]

All start from one model and one batch and take the same number of plain SGD steps in one process and one thread. Ours
is the whole of `fedjoint.privacy.local_training.private_update`: clipped sum, cryptographic noise, step. Opacus is
`GradSampleModule` with `DPOptimizer` and torch's noise. Rows: model, method, ratio (medians of CPU time over
repetitions that alternate between the methods).
"""

import argparse
import copy
import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional

from fedjoint.privacy.batch import Batch
from fedjoint.privacy.clipped_sum import choose
from fedjoint.privacy.local_plan import LocalPlan
from fedjoint.privacy.local_training import private_update
from fedjoint.privacy.noise import NoiseSource

PLACES, WORDS, WIDTH = 64, 500, 64
#: At most so many times a step without privacy, and CNN and MLP at least 1.5 times faster than Opacus.
TARGETS = {"logistic": 1.8, "mlp": 3.0, "cnn": 2.0, "transformer": 1.7, "adapters": 1.25}


class Adapter(nn.Module):
    """A linear layer that stays, and a low-rank change to it that is trained."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.base = nn.Linear(width, width)
        self.down, self.up = nn.Linear(width, rank, bias=False), nn.Linear(rank, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both added."""
        return self.base(x) + self.up(self.down(x))


class Block(nn.Module):
    """Attention of four heads and a feed-forward layer, each after a norm."""

    def __init__(self, *, adapters: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
        parts = [Adapter(WIDTH, 4) if adapters else nn.Linear(WIDTH, WIDTH) for _ in range(3)]
        self.query, self.key, self.value = parts
        self.out, self.up, self.down = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 256), nn.Linear(256, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, places, width] to the same."""
        normal = self.norms[0](x)
        heads = [part(normal).unflatten(2, (4, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)]
        x = x + self.out(functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.norms[1](x))))


class Transformer(nn.Module):
    """Two blocks over 64 words, and two classes."""

    def __init__(self, *, adapters: bool) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(PLACES, WIDTH)
        self.blocks = nn.Sequential(Block(adapters=adapters), Block(adapters=adapters))
        self.norm, self.classes = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2)
        if adapters:
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(".down.weight" in name and "base" not in name and "blocks" in name)
            for block in self.blocks:
                block.down.requires_grad_(False)
                for part in (block.query, block.key, block.value):
                    part.up.requires_grad_(True)

    def forward(self, index: torch.Tensor) -> torch.Tensor:
        """Words [n, places] to logits."""
        x = self.words(index) + self.places(torch.arange(PLACES).expand(len(index), PLACES))
        return self.classes(self.norm(self.blocks(x)).mean(1))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model, a batch, and how many steps to take at a time."""

    name: str
    module: nn.Module
    features: np.ndarray
    steps: int

    @property
    def targets(self) -> np.ndarray:
        """Zeros and ones."""
        return np.arange(len(self.features)) % 2


def cases() -> list[Case]:
    """The models of the table."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)

    def table(count: int) -> np.ndarray:
        return generator.normal(size=(count, 30)).astype(np.float32)

    def mlp() -> nn.Module:
        return nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))

    cnn = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1568, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    images = generator.normal(size=(256, 1, 28, 28)).astype(np.float32)
    words = generator.integers(WORDS, size=(32, PLACES))
    return [
        Case(name="logistic (64)", module=nn.Linear(30, 1), features=table(64), steps=200),
        Case(name="mlp 30-64-32 (64)", module=mlp(), features=table(64), steps=100),
        Case(name="mlp 30-64-32 (512)", module=mlp(), features=table(512), steps=50),
        Case(name="cnn 28x28 (256)", module=cnn, features=images, steps=4),
        Case(name="transformer (32)", module=Transformer(adapters=False), features=words, steps=24),
        Case(name="adapters (32)", module=Transformer(adapters=True), features=words, steps=24),
    ]


def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Of each record: logistic for one output, else cross-entropy."""
    if outputs.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(outputs[:, 0], targets.to(outputs.dtype), reduction="none")
    return functional.cross_entropy(outputs, targets, reduction="none")


def non_private(case: Case) -> None:
    """Plain SGD on the mean loss."""
    module = copy.deepcopy(case.module)
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.01)
    _descend(module, optimizer, case)


def opacus(case: Case) -> None:
    """Stock Opacus with hooks."""
    hooked = GradSampleModule(copy.deepcopy(case.module), loss_reduction="mean")
    optimizer = DPOptimizer(
        torch.optim.SGD([p for p in hooked.parameters() if p.requires_grad], lr=0.01),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        expected_batch_size=len(case.features),
    )
    _descend(hooked, optimizer, case)


def _descend(module: nn.Module, optimizer: torch.optim.Optimizer, case: Case) -> None:
    inputs, targets = torch.from_numpy(case.features), torch.from_numpy(case.targets)
    for _ in range(case.steps):
        optimizer.zero_grad(set_to_none=True)
        loss(module(inputs), targets).mean().backward()
        optimizer.step()


def ours(case: Case) -> None:
    """One round of private steps, as a holder takes it."""
    private_update(
        case.module,
        Batch(features=case.features, targets=case.targets),
        per_example_loss=loss,
        plan=LocalPlan(
            clip_norm=1.0,
            noise_multiplier=1.0,
            learning_rate=0.01,
            local_steps=case.steps,
            expected_batch_size=len(case.features),
        ),
        noise=NoiseSource.secure(),
    )


METHODS: dict[str, Callable[[Case], None]] = {"non_private": non_private, "ours": ours, "opacus": opacus}


def measure(case: Case, repetitions: int) -> list[dict[str, object]]:
    """A row for each method."""
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for repetition in range(repetitions + 1):
        for name, method in METHODS.items():
            start = time.process_time()
            method(case)
            if repetition:  # the first warms up
                seconds[name].append(time.process_time() - start)
    plain = seconds["non_private"]
    return [
        {
            "model": case.name,
            "method": name,
            "ratio": statistics.median(one / other for one, other in zip(taken, plain, strict=True)),
        }
        for name, taken in seconds.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 repetitions instead of 25")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--only", metavar="NAME", help="the models whose name starts so")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Full backward hook is firing")  # Opacus' hooks on the first layer
    rows: list[dict[str, object]] = []
    table = Table(
        "model (batch)", "ours by", "ours", "target", "Opacus", "Opacus / ours", title="private over plain step"
    )
    for case in cases():
        if not case.name.startswith(arguments.only or ""):
            continue
        found = measure(case, 5 if arguments.quick else 25)
        rows += found
        ratios = {str(row["method"]): float(str(row["ratio"])) for row in found}
        table.add_row(
            case.name,
            choose(case.module).replace("_", " "),
            f"{ratios['ours']:.2f}",
            f"{TARGETS[case.name.split()[0]]:g}",
            f"{ratios['opacus']:.2f}",
            f"{ratios['opacus'] / ratios['ours']:.2f}",
        )
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
