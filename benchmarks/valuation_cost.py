"""What does valuation add to a whole encrypted run? Share of the run's CPU time spent on contributions.

    python benchmarks/valuation_cost.py [--quick] [--json FILE]

Ten holders train an MLP of about 100,000 parameters for 20 rounds, encrypted, once without privacy (the cheapest
training, so the dearest valuation in comparison) and once under local DP. Counted as valuation: the path gradients, the
inner products with the ciphertexts, and opening the numbers. Not counted on either side: what only a simulation does
afterwards (baselines, exact values, error by the choice of reference records in the clear).

The last two rows tell what ``valuation.error_numbers=4`` adds, of which an exchange's agreements have four: gradients
along four contrasts between groups of reference records, and four more inner products with each ciphertext.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from fedjoint.conduct.reference import Yardstick
from fedjoint.conduct.training import Conditions, train
from fedjoint.config import load_config
from fedjoint.simulation.agreeing import sign_by_all
from fedjoint.simulation.running import grid_of, reference_of
from fedjoint.simulation.simulate import prepare
from fedjoint.training.contributions import PathValuation
from fedjoint.training.session import Session

HOLDERS, RECORDS, COLUMNS = 10, 150, 30
HIDDEN = (420, 205)  # (30 + 1) 420 + (420 + 1) 205 + 205 + 1 = 99,531


class Meter:
    """CPU seconds spent inside some methods of :class:`PathValuation`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def timed(*given: Any, **named: Any) -> Any:
            start = time.process_time()
            try:
                return act(*given, **named)
            finally:
                self.seconds += time.process_time() - start

        return timed


def write_table(path: Path) -> None:
    """Records of one logistic truth, ten holders."""
    rng = np.random.default_rng(0)
    lines = ["holder,target," + ",".join(f"x{column}" for column in range(COLUMNS))]
    truth = rng.normal(size=COLUMNS)
    for number in range(HOLDERS * RECORDS):
        features = rng.normal(size=COLUMNS)
        ill = int(features @ truth + rng.logistic() > 0)
        lines.append(f"site{number % HOLDERS},{ill}," + ",".join(f"{value:.4f}" for value in features))
    path.write_text("\n".join(lines) + "\n")


def measure(privacy: str, rounds: int, folder: Path, *, numbers: int = 0) -> dict[str, object]:
    """One run: training, encryption and valuation, through the real apps."""
    config = load_config(
        [
            f"privacy={privacy}",
            "model=mlp",
            f"model.hidden=[{HIDDEN[0]},{HIDDEN[1]}]",
            "data=table",
            f"data.path={folder / 'table.csv'}",
            "data.holder=holder",
            "data.target=target",
            f"training.rounds={rounds}",
            f"valuation.error_numbers={numbers}",
            "training.local_steps=5",
            "training.learning_rate=0.1",
            "training.sampling_rate=0.5",
        ]
    )
    prepared = prepare(config)
    agreement = sign_by_all(prepared.terms, prepared.parties)
    session = Session(agreement=agreement, run_id="ab" * 16)
    meter, originals = Meter(), (PathValuation.add_round, PathValuation.open)
    PathValuation.add_round, PathValuation.open = map(meter.around, originals)  # type: ignore[method-assign]
    try:
        start = time.process_time()
        train(
            session,
            prepared.parties.coordinator,
            grid_of(prepared.parties),
            Yardstick(reference_of(prepared.division, agreement.terms), agreement.terms.data.schema),
            log=lambda kind, body: None,
            conditions=Conditions(),
        )
        whole = time.process_time() - start
    finally:
        PathValuation.add_round, PathValuation.open = originals  # type: ignore[method-assign]
    return {
        "privacy": privacy,
        "error_numbers": numbers,
        "holders": HOLDERS,
        "parameters": agreement.terms.num_parameters,
        "rounds": rounds,
        "run_cpu_s": whole,
        "valuation_cpu_s": meter.seconds,
        "share": meter.seconds / whole,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="four rounds instead of twenty")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder) / "table.csv")
        rounds = 4 if arguments.quick else 20
        with threadpool_limits(1):  # threads that wait for each other spend processor time too
            rows = [
                measure(privacy, rounds, Path(folder), numbers=numbers)
                for numbers in (0, 4)
                for privacy in ("none", "local")
            ]
    table = Table(
        "privacy", "error numbers", "holders", "parameters", "rounds", "run, CPU s", "valuation, CPU s", "share"
    )
    for row in rows:
        table.add_row(
            *(str(row[key]) for key in ("privacy", "error_numbers", "holders", "parameters", "rounds")),
            *(f"{row[key]:.2f}" for key in ("run_cpu_s", "valuation_cpu_s")),
            f"{row['share']:.1%}",
        )
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
