"""What encryption costs: both schemes beside plain float32, naive TenSEAL CKKS, and NVFlare's own HE path.

    python benchmarks/encryption.py [--quick] [--json FILE] [--chart FILE] [--parameters N ...] [--holders N ...]

Seconds are of processor time. Every scheme runs in a process of its own, and they take turns; medians are told, and of
how many turns. ``encrypt`` is from a holder's float32 values to the bytes it sends; ``check`` is what the coordinator
checks of all replies (ours: length, signature, every word; the others: nothing); ``sum`` is from those bytes to the sum
of all holders; ``decrypt`` from the sum's bytes, as a holder gets them, to floats (ours: checks included). Memory is
the growth of a fresh process: the larger of a holder that encrypts and the coordinator that adds replies as they come.
NVFlare is installed into .venv-nvflare by this script. At 10 M parameters a turn of a peer takes minutes: it has one,
and all stand alone, as they do not fit into memory together (10 GB at most). Rows are written after each cell.
"""

import argparse
import json
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from peers import ROOT, Worker, peer_python
from rich.console import Console
from rich.table import Column, Table

#: Beside what is built, which no commit takes in.
CHART = ROOT / "build" / "encryption.svg"
WORKERS = Path(__file__).parent / "workers"
NVFLARE = ["nvflare[HE]==2.9.0"]
Row = dict[str, Any]


class Contender(NamedTuple):
    """One column of the comparison."""

    scheme: str
    values_per_word: int
    script: str
    arguments: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """As people read it."""
        return f"{self.scheme} k={self.values_per_word}" if self.arguments else self.scheme


CONTENDERS = (
    Contender("fp32", 1, "he_fp32.py"),
    *(Contender("seeded", k, "he_fedjoint.py", ("seeded",)) for k in (4, 3, 2, 1)),
    *(Contender("seal", k, "he_fedjoint.py", ("seal",)) for k in (3, 1)),
    Contender("tenseal_ckks", 1, "he_tenseal.py"),
    Contender("nvflare", 1, "he_nvflare.py"),
)
PEERS = ("tenseal_ckks", "nvflare")
STEPS = ("encrypt_s", "check_s", "sum_s", "addition_s", "decrypt_s", "opening_s", "max_abs_error")


def fits(contender: Contender, holders: int) -> bool:
    """Four values a word have room for 10 holders."""
    return not (contender.values_per_word == 4 and holders > 10)


def turns_of(contender: Contender, parameters: int, holders: int) -> int:
    """How often a contender is measured; those that take turns with each other, alike."""
    if parameters <= 1_000_000:
        return 9 if parameters <= 100_000 or holders == 10 else 3
    return 1 if contender.scheme in PEERS else 3


def measure_cell(parameters: int, holders: int, python: dict[str, Path | None], *, peak: bool) -> list[Row]:
    """All contenders on one size and number of holders."""
    contenders = [one for one in CONTENDERS if fits(one, holders) and (one.scheme != "nvflare" or python)]
    groups = [contenders] if parameters <= 1_000_000 else [[one] for one in contenders]
    return [row for group in groups for row in _measure_group(group, parameters, holders, python, peak=peak)]


def _measure_group(
    group: list[Contender], parameters: int, holders: int, python: dict[str, Path | None], *, peak: bool
) -> list[Row]:
    with ExitStack() as stack:
        workers, rows = [], []
        for one in group:
            worker = stack.enter_context(_worker(one, python))
            size = {"parameters": parameters, "holders": holders, "values_per_word": one.values_per_word}
            # Peers may add a reply again; ours refuses copies, so all of its updates are made.
            distinct = holders if one.arguments else 3 if parameters <= 1_000_000 else 1
            prepared = worker.ask("prepare", **size, distinct=distinct)
            workers.append(worker)
            rows.append({"scheme": one.scheme, **size, **prepared})
        repetitions = turns_of(group[0], parameters, holders)
        turns = [[worker.ask("measure") for worker in workers] for _ in range(repetitions)]
        for place, row in enumerate(rows):
            row.update({step: statistics.median(turn[place][step] for turn in turns) for step in STEPS})
            row["turns"] = repetitions
            if peak:
                row.update(_peak(group[place], workers[place], row, python))
    return rows


def _worker(contender: Contender, python: dict[str, Path | None]) -> Worker:
    return Worker(WORKERS / contender.script, *contender.arguments, python=python.get(contender.scheme))


def _peak(contender: Contender, worker: Worker, row: Row, python: dict[str, Path | None]) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        saved = worker.ask("save", folder=folder)
        size = {name: row[name] for name in ("parameters", "holders", "values_per_word")}
        with _worker(contender, python) as fresh:
            peak = fresh.ask("peak", **size, folder=folder, **saved)
    return {**peak, "peak_rss_mb": max(peak.values())}


def table_of(rows: list[Row]) -> Table:
    """One size and number of holders."""
    first = rows[0]
    table = Table(
        Column("scheme", no_wrap=True),
        *("bytes / parameter", "x fp32", "encrypt ms", "check ms", "sum ms", "decrypt ms", "max error", "peak MB"),
        "turns",
        title=f"{first['parameters']:,} parameters, {first['holders']} holders",
    )
    for row in rows:
        label = f"{row['scheme']} k={row['values_per_word']}" if row["scheme"] in ("seal", "seeded") else row["scheme"]
        peak = f"{row['peak_rss_mb']:,.0f}" if "peak_rss_mb" in row else "-"
        times = (f"{1000 * row[step]:,.2f}" for step in ("encrypt_s", "check_s", "sum_s", "decrypt_s"))
        size = row["bytes_per_parameter"]
        table.add_row(
            label, f"{size:.2f}", f"{size / 4:.2f}", *times, f"{row['max_abs_error']:.1e}", peak, str(row["turns"])
        )
    return table


def targets_of(rows: list[Row]) -> Table | None:
    """What was aimed at for 1 M parameters and 10 holders, and what was reached."""
    cell = {
        (row["scheme"], row["values_per_word"]): row
        for row in rows
        if (row["parameters"], row["holders"]) == (10**6, 10)
    }
    if ("nvflare", 1) not in cell:
        return None
    nvflare, plain, table = cell["nvflare", 1], cell["fp32", 1], Table("figure", "seal", "", "seeded", "")
    table.title = "1,000,000 parameters, 10 holders: targets"

    def line(name: str, values: list[float], limits: tuple[float, float] | None, *, at_least: bool = False) -> None:
        cells = []
        for place, value in enumerate(values):
            if limits is None:
                cells += [f"{value:.3g}", ""]
                continue
            reached = value >= limits[place] if at_least else value <= limits[place]
            sign = ">=" if at_least else "<="
            cells += [f"{value:.3g} ({sign} {limits[place]:.3g})", "reached" if reached else "NOT REACHED"]
        table.add_row(name, *cells)

    three, one = ([cell[scheme, k] for scheme in ("seal", "seeded")] for k in (3, 1))
    line("bytes per parameter, k = 3", [row["bytes_per_parameter"] for row in three], (5.5, 2.7))
    line("bytes per parameter, k = 1", [row["bytes_per_parameter"] for row in one], (16.5, 8.1))
    for step, limits in (("encrypt_s", (6, 15)), ("sum_s", (200, 500)), ("decrypt_s", (2, 4))):
        ratios = [nvflare[step] / row[step] for row in three]
        line(f"{step[:-2]}, NVFlare / ours", ratios, limits, at_least=True)
    line("sum / plain float32 sum", [row["sum_s"] / plain["sum_s"] for row in three], (4, 1.5))
    line("peak memory, ours / NVFlare", [row["peak_rss_mb"] / nvflare["peak_rss_mb"] for row in three], (1 / 8, 1 / 15))
    table.add_section()
    line("check and sum, NVFlare / ours", [nvflare["sum_s"] / (row["check_s"] + row["sum_s"]) for row in three], None)
    line("decrypt without receiving, NVFlare / ours", [nvflare["opening_s"] / row["opening_s"] for row in three], None)
    line("additions alone, NVFlare / ours", [nvflare["addition_s"] / row["addition_s"] for row in three], None)
    line("bytes, NVFlare / ours", [nvflare["bytes_per_parameter"] / row["bytes_per_parameter"] for row in three], None)
    return table


def draw(rows: list[Row], path: Path) -> None:
    """The largest size for which there are 10 holders (or the most there are), as bars on logarithmic axes."""
    mpl.use("Agg")
    from matplotlib import pyplot

    holders = 10 if any(row["holders"] == 10 for row in rows) else max(row["holders"] for row in rows)
    sizes = {row["parameters"] for row in rows if row["holders"] == holders}
    parameters = 10**6 if 10**6 in sizes else max(sizes)
    shown = [row for row in rows if (row["parameters"], row["holders"]) == (parameters, holders)]
    labels = [one.label for row in shown for one in CONTENDERS if one[:2] == (row["scheme"], row["values_per_word"])]
    figures = ("bytes_per_parameter", "bytes per parameter", 1), ("encrypt_s", "encrypt, ms", 1000)
    figures += ("sum_s", "coordinator's sum, ms", 1000), ("decrypt_s", "decrypt, ms", 1000)  # type: ignore[assignment]
    figure, axes = pyplot.subplots(1, 4, figsize=(13, 3.4), sharey=True, layout="constrained")
    for axis, (name, title, scale) in zip(axes, figures, strict=True):
        values = [scale * row[name] for row in shown]
        colours = ["#2b6cb0" if row["scheme"] in ("seal", "seeded") else "#a0aec0" for row in shown]
        bars = axis.barh(labels, [max(value, 1e-2) for value in values], color=colours)
        axis.bar_label(
            bars, [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in values], padding=2, fontsize=8
        )
        axis.set(title=title, xscale="log")
        axis.margins(x=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.suptitle(f"{parameters:,} parameters, {holders} holders (processor time, medians)", fontsize=11)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100,000 parameters, 3 holders; NVFlare only if installed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--chart", type=Path, metavar="FILE", default=CHART, help="write the chart there (.svg, .png)")
    parser.add_argument("--parameters", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000], metavar="N")
    parser.add_argument("--holders", type=int, nargs="+", default=[3, 10, 20], metavar="N")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.parameters, arguments.holders = [100_000], [3]
    console = Console(width=max(Console().width, 128))
    nvflare = peer_python("nvflare", requirements=NVFLARE, install=not arguments.quick)
    if nvflare is None:
        console.print("NVFlare is left out: it is not installed here. Without --quick this script installs it.")
    python: dict[str, Path | None] = {"nvflare": nvflare} if nvflare else {}
    rows: list[Row] = []
    for parameters in arguments.parameters:
        for holders in arguments.holders:
            peak = holders == 10 or len(arguments.holders) == 1
            cell = measure_cell(parameters, holders, python, peak=peak)
            console.print(table_of(cell))
            rows += cell
            if arguments.json:  # after each cell: whoever interrupts it keeps what was measured
                arguments.json.write_text(json.dumps(rows, indent=1))
    targets = targets_of(rows)
    if targets:
        console.print(targets)
    arguments.chart.parent.mkdir(parents=True, exist_ok=True)
    draw(rows, arguments.chart)
    console.print(f"Chart: {arguments.chart}", highlight=False)


if __name__ == "__main__":
    main()
