"""``fedjoint calibrate``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from fedjoint.simulation.calibrate import Calibration

__all__ = ["command"]


@click.command("calibrate")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--rounds", multiple=True, type=click.IntRange(1, 10_000), help="To try; repeat it. Default: 5 10 20 40 100."
)
@click.option(
    "--rate",
    "rates",
    multiple=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Sampling rate to try; repeat it. Default: 1, and with privacy=local also 0.3.",
)
@click.option("--sizes", metavar="N,N,…", help="Certified number of records of each holder. Default: 150,150,150,150.")
@click.option("--repeats", type=click.IntRange(2, 100), default=3, show_default=True, help="Trainings of a candidate.")
@click.option("--json", "as_json", is_flag=True, help="Print the candidates as JSON; progress goes to stderr.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def command(  # one parameter for each option
    overrides: tuple[str, ...],
    rounds: tuple[int, ...],
    rates: tuple[float, ...],
    sizes: str | None,
    repeats: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find rounds, sampling rate and noise for a target epsilon, and the utility to expect; reads no private record.

    Each candidate is trained with its noise on records made up from the agreed columns' public constants and a made-up
    truth (data=breast_cancer: on these public records). That compares settings; the figure itself is no promise for
    other records. data=table needs data.schema=FILE, as columns are not inferred here.

    \b
    Examples:
      fedjoint calibrate privacy.epsilon=1
      fedjoint calibrate privacy=local privacy.epsilon=3 --sizes 303,294,123,200 --rounds 10 --rounds 40
      fedjoint simulate privacy.epsilon=1 training.rounds=10 training.sampling_rate=1
    """
    from fedjoint.config import load_config

    config = load_config(overrides)
    from rich.console import Console
    from rich.progress import Progress

    from fedjoint.simulation.calibrate import Grid, calibrate
    from fedjoint.strict import plain

    grid = Grid(
        rounds=rounds or Grid.rounds, rates=rates or None, sizes=_numbers(sizes) if sizes else None, repeats=repeats
    )
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("Calibrating …", total=grid.num_trainings(config.privacy.mode))
        found = calibrate(
            config,
            grid,
            overrides=overrides,
            on_trained=lambda name: progress.update(task, advance=1, description=name),
        )
    if as_json:
        click.echo(json.dumps({**plain(found), "command_line": found.command_line}, indent=2))
        return
    _show(found, Console())


def _numbers(text: str) -> tuple[int, ...]:
    from fedjoint.errors import ConfigError

    parts = text.split(",")
    if not all(part.strip().isdecimal() and len(part) <= 9 for part in parts):
        raise ConfigError(f"--sizes {text}", expected="whole numbers with commas between them, such as 303,294,123,200")
    return tuple(map(int, parts))


def _show(found: Calibration, console: Console) -> None:
    from rich.table import Table

    joint = found.mode == "joint"
    title = (
        f"privacy={found.mode}, target epsilon {found.epsilon:g} at delta {found.delta:g} "
        f"({found.adjacency} adjacency, per {found.unit})"
    )
    table = Table("", "rounds", "rate", "noise of a share" if joint else "noise", "epsilon", title=title)
    if joint:
        table.add_column("if opened")
    table.add_column(f"{found.metric.upper()} ± sd")
    for place, one in enumerate(found.candidates):
        opened = [f"{one.epsilon_if_opened:.3f}"] if one.epsilon_if_opened is not None else []
        table.add_row(
            "►" if place == found.recommended else "",
            f"{one.rounds}",
            f"{one.sampling_rate:g}",
            f"{one.noise_multiplier:.3f}",
            f"{one.epsilon:.3f}",
            *opened,
            f"{one.utility:.3f} ± {one.utility_sd:.3f}",
            style="bold" if place == found.recommended else None,
        )
    console.print(table)
    sizes = ", ".join(map(str, found.sizes))
    lines = [f"Trained on {found.data} records of {len(found.sizes)} holders ({sizes}); no private record was read."]
    lines += [f"Not possible: {words}" for words in found.refused]
    lines += ["► fewest rounds within one standard error of the best. For fedjoint simulate or plan:"]
    for line in (*lines, found.command_line):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
