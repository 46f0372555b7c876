"""``fedjoint holder start``: the node."""

from __future__ import annotations

from pathlib import Path

import click

from fedjoint.cli.holder_home import home_option

__all__ = ["command"]


@click.command("start")
@home_option
def command(folder: Path) -> None:
    """Take part in the runs of agreements that you signed, until SIGTERM or Ctrl-C.

    One process, connections outward only. What it does is a line of JSON each on standard error. A task that is being
    done when it is told to stop is done to its end; whatever was cut off goes on at the next start.

    \b
    Examples:
      fedjoint holder start --home bern
      FEDJOINT_HOLDER_LOG_LEVEL=debug fedjoint holder start --home bern
    """
    from fedjoint.cli.holder_home import opened
    from fedjoint.logs import log_to
    from fedjoint.node.process import run_node

    home, settings = opened(folder)
    log_to(level=settings.log_level)
    run_node(home, settings)
