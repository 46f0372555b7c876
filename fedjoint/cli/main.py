"""``fedjoint``: finds the verb, and turns every error into words and an exit code.

Verbs are loaded when they are called, so that ``fedjoint --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from fedjoint import __version__
from fedjoint.cli.lazy import LazyGroup, Verbs
from fedjoint.errors import ConfigError, FedjointError, InvalidValue

__all__ = ["EXIT_FAILED", "EXIT_INTERRUPTED", "EXIT_OK", "EXIT_USAGE", "cli", "main"]

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130

_VERBS: Verbs = {
    "audit": ("fedjoint.cli.audit", "Attack the privacy that a run agreed upon, on made-up records."),
    "calibrate": ("fedjoint.cli.calibrate", "Choose rounds and noise for an epsilon, without private records."),
    "claim": ("fedjoint.cli.claim", "Claims against a pool: filed, decided, appealed, paid, recovered."),
    "exchange": ("fedjoint.cli.exchange", "Coordinate a consortium: one process on one port."),
    "holder": ("fedjoint.cli.holder", "A holder's node: join, data, review, sign, start, budget, statements."),
    "pool": ("fedjoint.cli.pool", "A compensation pool: revenue, settlement, payout, statements."),
    "registry": ("fedjoint.cli.registry", "Parties and datasets of a pool."),
    "plan": ("fedjoint.cli.plan", "Say what a run will cost, before anything is spent."),
    "simulate": ("fedjoint.cli.simulate", "Run all parties on this machine and write the run's folder."),
    "value": ("fedjoint.cli.value", "Value a finished run by another method, beside what was paid by."),
    "verify": ("fedjoint.cli.verify", "Check a run's folder from its own files alone."),
}


@click.group(cls=LazyGroup, verbs=_VERBS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fedjoint")
def cli() -> None:
    """Train one model across data holders, in private, and pay each by what its data added.

    \b
    Example:
      fedjoint plan
      fedjoint simulate
      fedjoint verify runs/NAME
    """


def main() -> NoReturn:
    """Run the command line; no traceback reaches the user.

    Exit codes: 0 done, 1 the run or a check failed, 2 a wrong option or setting, 130 interrupted.
    """
    # Before they are imported, Flower, Ray and gRPC are told to keep quiet, and torch to use one thread: models of
    # tables are small, and more threads only get into each other's way.
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what it would write between the lines of a log is told in words
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        result = cli.main(standalone_mode=False)  # a verb's exit code comes back as the result
        code = result if isinstance(result, int) else EXIT_OK
    except click.ClickException as problem:
        problem.show()
        code = EXIT_USAGE
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted; nothing was left half-written.", err=True)
        code = EXIT_INTERRUPTED
    except FedjointError as problem:
        _show(problem)
        code = EXIT_USAGE if isinstance(problem, (ConfigError, InvalidValue)) else EXIT_FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_FAILED
    sys.exit(code)


def _show(problem: FedjointError) -> None:
    from rich.console import Console

    from fedjoint.runs.terminal import show_failure

    show_failure(problem, Console(stderr=True))
