"""``fedjoint holder start``: the node."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from fedjoint.cli.holder_home import home_option

__all__ = ["command"]


@click.command("start")
@click.option(
    "--door",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="SOCKET",
    help="Tasks come from a Flower SuperNode of this machine, which asks at this Unix socket; its folder must be yours "
    "alone.",
)
@home_option
def command(folder: Path, door: Path | None) -> None:
    """Take part in the runs of agreements that you signed, until SIGTERM or Ctrl-C.

    One process, connections outward only. What it does is a line of JSON each on standard error. A task that is being
    done when it is told to stop is done to its end; whatever was cut off goes on at the next start.

    \b
    Examples:
      fedjoint holder start --home bern
      fedjoint holder start --home bern --door /run/fedjoint/bern.sock
      FEDJOINT_HOLDER_LOG_LEVEL=debug fedjoint holder start --home bern
    """
    from fedjoint.cli.holder_home import opened
    from fedjoint.logs import log_to
    from fedjoint.node.process import run_node

    home, settings = opened(folder)
    if door is not None:
        settings = dataclasses.replace(settings, door=str(door.absolute()))
    log_to(level=settings.log_level)
    run_node(home, settings)
