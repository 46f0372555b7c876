"""Is every single-byte change of a sample year found?

Question: of 20,000 random single-bit flips in the record, the ledger and a statement of `examples/insurer_pool`, how
many does verification miss? Run: python benchmarks/pool_flips.py [--quick] [--json FILE].
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fedjoint.agreement.canonical import parse_canonical
from fedjoint.errors import FedjointError, PoolError
from fedjoint.pool.exported import POOL_LEDGER, POOL_RECORD, verify_pool
from fedjoint.pool.statement_document import verify_document

STORY = Path(__file__).parents[1] / "examples/insurer_pool/story.py"
FLIPS, QUICK = 20_000, 300


def sample_year(folder: Path):
    """Live the example's year in a folder."""
    spec = importlib.util.spec_from_file_location("story", STORY)
    story = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(story)
    return story.tell(folder, lambda _: None)


def found(check) -> bool:
    """Whether a check refuses."""
    try:
        check()
    except FedjointError:
        return True
    return False


def flip_all(year, name: str, flips: int, chance: random.Random) -> dict[str, object]:
    """Flip one random bit at a time in one file, verify, and put it back."""
    exchange = year.people["exchange"].public
    path = year.folder / ("north.json" if name == "statement" else f"export/{name}")
    whole, missed, start = path.read_bytes(), 0, time.process_time()

    def check() -> None:
        if name == "statement":
            verify_document(parse_canonical(path.read_bytes(), error=PoolError, where=name), exchange)
        else:
            verify_pool(path.parent, exchange)

    check()  # the file as it is passes
    for _ in range(flips):
        place = chance.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :])
        missed += not found(check)
    path.write_bytes(whole)
    seconds = time.process_time() - start
    return {"file": name, "bytes": len(whole), "flips": flips, "missed": missed, "cpu_s": round(seconds, 1)}


def main() -> None:
    """Run the question."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help=f"{QUICK} flips instead of {FLIPS:,}")
    options.add_argument("--json", type=Path, metavar="FILE", help="write the rows")
    given = options.parse_args()
    flips = QUICK if given.quick else FLIPS
    names = (POOL_RECORD, POOL_LEDGER, "statement")
    with tempfile.TemporaryDirectory() as folder:
        year = sample_year(Path(folder))
        rows = [flip_all(year, name, -(-flips // len(names)), random.Random(name)) for name in names]
        year.store.close()
    table = Table("file", "bytes", "flips", "missed", "CPU s", title="Single-bit flips in a sample year")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
