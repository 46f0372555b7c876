"""How much memory an update of any size takes: 100 million parameters from file to file, in both schemes.

    python benchmarks/encryption_memory.py [--quick] [--json FILE] [--folder FOLDER]

Each step runs in a fresh process, of which the growth of the resident memory at its highest is told: a holder that
encrypts its values, the coordinator that adds the frames of three holders, a holder that opens the sum. All must stay
under 300 MB. The files (up to 8 GB, and one after another) go into a temporary folder.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from peers import Worker
from rich.console import Console
from rich.table import Table

WORKER = Path(__file__).parent / "workers" / "he_files.py"
HOLDERS, LIMIT_MB = 3, 300.0
STEPS = ("encrypt", "sum", "decrypt")


def measure(scheme: str, values_per_word: int, parameters: int, folder: str) -> dict[str, Any]:
    """One round, each step in a process of its own."""

    def ask(what: str, **arguments: Any) -> dict[str, Any]:
        with Worker(WORKER) as worker:
            return worker.ask(
                "step", what=what, size=[folder, scheme, parameters, HOLDERS, values_per_word], **arguments
            )

    ask("draw")
    holders = [ask("encrypt", place=place) for place in range(HOLDERS)]
    steps = {"encrypt": holders[0], "sum": ask("sum"), "decrypt": ask("decrypt")}
    row: dict[str, Any] = {"scheme": scheme, "values_per_word": values_per_word, "parameters": parameters}
    row |= {f"{step}_{name}": value for step, facts in steps.items() for name, value in facts.items()}
    return row | {"holders": HOLDERS, "max_abs_error": ask("error")["result"]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="4 million parameters")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--folder", type=Path, help="where the files go for a while (the system's temporary folder)")
    arguments = parser.parse_args()
    parameters = 4_000_000 if arguments.quick else 100_000_000
    rows = []
    table = Table("scheme", "k", title=f"{parameters:,} parameters, {HOLDERS} holders, from file to file")
    for step in STEPS:
        for name in ("MB", "CPU s", "s"):
            table.add_column(f"{step} {name}", justify="right")
    table.add_column("under 300 MB")
    for scheme in ("seeded", "seal"):
        for values_per_word in (3, 1):
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                row = measure(scheme, values_per_word, parameters, folder)
            rows.append(row)
            cells = [f"{row[f'{step}_{name}']:.1f}" for step in STEPS for name in ("peak_mb", "cpu_s", "elapsed_s")]
            under = max(row[f"{step}_peak_mb"] for step in STEPS) < LIMIT_MB
            table.add_row(scheme, str(values_per_word), *cells, "yes" if under else "NO")
    Console(width=max(Console().width, 130)).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
