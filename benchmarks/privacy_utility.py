"""What each privacy mode costs in utility: ``python benchmarks/privacy_utility.py [--quick] [--json FILE]``.

Holders' updates, noise, fixed point and the step on the sum are those of ``fedjoint simulate``. Encryption is left out:
decryption is exact, so it changes no figure. Rows: dataset, mode, epsilon, seed, metric, value.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fedjoint.config import load_config
from fedjoint.encryption.fixed_point import dequantise_sum
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.models.vector import parameters_to_vector
from fedjoint.simulation.reference import ReferenceSet
from fedjoint.simulation.simulate import Prepared, prepare
from fedjoint.training.aggregate import apply_sum
from fedjoint.training.local_update import LocalTrainer, agreed_module, noise_source
from fedjoint.training.optimizer import start_state

Row = dict[str, object]

#: Nothing but the mode and epsilon differs from what a user gets.
DEMO = (
    ("none", None, ["privacy=none"]),
    *(("local", epsilon, ["privacy=local", f"privacy.epsilon={epsilon}"]) for epsilon in (1.0, 3.0)),
    *(("joint", epsilon, ["privacy=joint", f"privacy.epsilon={epsilon}"]) for epsilon in (1.0, 3.0)),
)


def train(prepared: Prepared) -> np.ndarray:
    """The final model of a run."""
    terms = prepared.terms
    ids = tuple(sorted(terms.holder_ids))
    trainers = [
        LocalTrainer(terms=terms, holder_id=held.id, examples=held.examples, noise=noise_source(terms.privacy, held.id))
        for held in prepared.division.holders
    ]
    state = start_state(parameters_to_vector(agreed_module(terms)), terms.training)
    for number in range(1, terms.training.rounds + 1):
        levels = np.sum([trainer.levels(state.model, number) for trainer in trainers], axis=0, dtype=np.uint64)
        assert np.isfinite(dequantise_sum(levels, len(ids), agreed_parameters(terms))).all()
        state = apply_sum(state, levels, ids, terms)
    return state.model


def demo(seeds: Sequence[int]) -> Iterator[Row]:
    """The heart demo with its own settings, on the exchange's reference set."""
    for mode, epsilon, overrides in DEMO:
        for seed in seeds:
            prepared = prepare(load_config([f"seed={seed}", *overrides]))
            reference = ReferenceSet.of(prepared.division, prepared.terms)
            model = train(prepared)
            ids = prepared.terms.holder_ids
            homes = [reference.metrics_of(model, holder)["accuracy"] for holder in ids]
            found = {
                **reference.metrics(model),
                "mean_accuracy_of_holders": statistics.fmean(home for home in homes if home is not None),
            }
            for metric, value in found.items():
                yield {
                    "dataset": "heart",
                    "mode": mode,
                    "epsilon": epsilon,
                    "seed": seed,
                    "metric": metric,
                    "value": value,
                }


def summary(rows: Sequence[Row]) -> list[str]:
    """Mean and standard deviation over the seeds, a line for each mode, epsilon and metric."""
    groups: dict[tuple[object, ...], list[float]] = {}
    for row in rows:
        key = (row["dataset"], row["mode"], row["epsilon"], row["metric"])
        groups.setdefault(key, []).append(float(str(row["value"])))
    lines = []
    for (dataset, mode, epsilon, metric), values in groups.items():
        name = f"{dataset} {mode}" + ("" if epsilon is None else f" epsilon {epsilon:g}")
        lines.append(f"{name:24} {metric:26} {statistics.fmean(values):.3f} ± {statistics.pstdev(values):.3f}")
    return lines


def main() -> None:
    """Measure, print, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two seeds instead of five")
    parser.add_argument("--json", type=Path, help="where to write the rows")
    given = parser.parse_args()
    rows = list(demo(range(2 if given.quick else 5)))
    print("\n".join(summary(rows)))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
