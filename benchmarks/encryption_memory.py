"""How much memory a run takes beside the model and its updates: 100 million parameters through every party's own code.

    python benchmarks/encryption_memory.py [--quick] [--scheme seeded|seal] [--json FILE] [--folder FOLDER]

A coordinator and three holders, each in a process of its own, train two rounds over the real apps and, with one value a
word, have contributions measured on the ciphertexts and opened; updates and utility are made up. Told is by how much
the resident memory of the coordinator, and of the holder that grew most, rose at its highest once the key was shared:
model and update are there by then. Both must stay under 300 MB. Large arrays are mapped from files without a name, and
the coordinator keeps its run as an exchange does (up to 25 GB in all, gone at the end), in the folder given.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from peers import Worker
from rich.console import Console
from rich.table import Table

WORKER = Path(__file__).parent / "workers" / "he_round.py"
HOLDERS, LIMIT_MB = 3, 300.0
#: Scheme, values a word, and whether contributions are measured on the ciphertexts.
KINDS = (("seeded", 1, True), ("seeded", 3, False), ("seal", 1, True), ("seal", 3, False))
COLUMNS = ("coordinator_mb", "holder_mb", "coordinator_cpu_s", "holder_cpu_s", "elapsed_s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="4 million parameters, one scheme")
    parser.add_argument("--scheme", choices=("seeded", "seal"), help="only this one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--folder", type=Path, help="where the files go for a while (the system's temporary folder)")
    arguments = parser.parse_args()
    hidden = [2_000, 2_000] if arguments.quick else [4_096] * 7
    rows: list[dict[str, Any]] = []
    kinds = [kind for kind in KINDS if arguments.scheme in (None, kind[0])]
    for scheme, values_per_word, valued in kinds[: 1 if arguments.quick else None]:
        size = {"scheme": scheme, "values_per_word": values_per_word, "valued": valued, "holders": HOLDERS}
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder, Worker(WORKER) as worker:
            rows.append({**size, **worker.ask("round", **size, hidden=hidden, folder=folder)})
        if arguments.json:  # after each: whoever interrupts it keeps what was measured
            arguments.json.write_text(json.dumps(rows, indent=1))
    table = Table(
        "scheme", "k", "contributions", title=f"{rows[0]['parameters']:,} parameters, {HOLDERS} holders, two rounds"
    )
    for name in (*COLUMNS, "under 300 MB"):
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        under = max(row["coordinator_mb"], row["holder_mb"]) < LIMIT_MB
        cells = [f"{row[name]:.1f}" for name in COLUMNS]
        valued = f"measured, sum within {row['gap']:.1e}" if row["valued"] else "not measured"
        table.add_row(row["scheme"], str(row["values_per_word"]), valued, *cells, "yes" if under else "NO")
    Console(width=max(Console().width, 120)).print(table)


if __name__ == "__main__":
    main()
