"""Exact Shapley values: ours beside plain numpy, coopgame-py, shapiq and pyDVL, on the same games.

    python benchmarks/shapley_engines.py [--quick] [--json FILE]

Two utilities: ``vectorised`` answers all coalitions at once (a linear model's log-loss on 20 records); ``spinning``
takes one coalition a call, 50 microseconds each. ``evaluation`` is all coalitions' utilities and nothing more: what any
exact engine has to spend. Seconds are of processor time, the fastest of many runs, each engine in a process of its own,
and cover the evaluation. The peers are installed into .venv-shapley by this script. pyDVL takes minutes for 15 players.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from peers import Worker, peer_python
from rich.console import Console
from rich.table import Table

WORKER = Path(__file__).parent / "workers" / "shapley_engines.py"
PEERS = ("coopgame-py", "shapiq", "pydvl")
REQUIREMENTS = ["coopgame-py==0.3.0", "shapiq==1.4.1", "pydvl==0.10.0"]
Row = dict[str, Any]


def measure(players: int, utility: str, python: Path | None, *, quick: bool) -> list[Row]:
    """All engines on one game."""
    rows = []
    for engine in ("evaluation", "numpy", "fedjoint", *(PEERS if python else ())):
        if quick and engine == "pydvl" and (players > 10 or utility == "spinning"):
            continue
        with Worker(WORKER, engine, python=python if engine in PEERS else None) as worker:
            worker.ask("prepare", players=players, utility=utility)
            found = worker.ask("measure", seconds=0.3 if quick else 2.0)
        rows.append({"engine": engine, "players": players, "utility": utility, **found})
    exact = np.array(next(row for row in rows if row["engine"] == "numpy")["values"])
    for row in rows:
        values = np.array(row.pop("values"))
        row["max_abs_difference"] = float(np.abs(values - exact).max()) if row["engine"] != "evaluation" else 0.0
    return rows


def table_of(rows: list[Row]) -> Table:
    """One game."""
    seconds = {row["engine"]: row["seconds"] for row in rows}
    table = Table("engine", "ms", "x evaluation", "x fedjoint", "differs from numpy by", "target")
    table.title = f"{rows[0]['players']} players, {rows[0]['utility']} utility"
    for row in rows:
        engine, took = row["engine"], row["seconds"]
        times = f"{took / seconds['evaluation']:.2f}", f"{took / seconds['fedjoint']:,.1f}"
        word = _target(engine, row["utility"], took, seconds)
        table.add_row(engine, f"{1000 * took:,.3f}", *times, f"{row['max_abs_difference']:.0e}", word)
    return table


def _target(engine: str, utility: str, took: float, seconds: dict[str, float]) -> str:
    if utility != "vectorised":
        return ""
    if engine == "fedjoint":
        reached = took <= 1.2 * seconds["evaluation"]
        return f"<= 1.2 x evaluation: {'reached' if reached else 'NOT REACHED'}"
    if engine in ("pydvl", "shapiq"):
        return f">= 20 x fedjoint: {'reached' if took >= 20 * seconds['fedjoint'] else 'NOT REACHED'}"
    return ""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter; pyDVL for 10 players only; peers if installed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    console = Console(width=max(Console().width, 110))
    python = peer_python("shapley", requirements=REQUIREMENTS, install=not arguments.quick)
    if python is None:
        console.print("The peers are left out: they are not installed here. Without --quick this script installs them.")
    rows: list[Row] = []
    for utility in ("vectorised", "spinning"):
        for players in (10, 15):
            if arguments.quick and utility == "spinning" and players > 10:
                continue
            cell = measure(players, utility, python, quick=arguments.quick)
            console.print(table_of(cell))
            rows += cell
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
