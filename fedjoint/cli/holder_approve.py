"""``fedjoint holder approve``: model code that may run on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from fedjoint.cli.holder_home import home_option, yes_option
from fedjoint.errors import ConfigError

__all__ = ["command"]


@click.command("approve")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--withdraw", metavar="SHA256", help="Approve this code no more.")
@home_option
@yes_option
def command(file: Path | None, withdraw: str | None, folder: Path, yes: bool) -> None:
    """Approve a file of model code, by its hash: agreements that name it may be signed, and the node runs it.

    It runs with all the rights of the node. Read it, or have it read, and compare its hash with the agreement's.
    Without FILE: list what is approved.

    \b
    Examples:
      fedjoint holder approve network.py
      fedjoint holder approve --withdraw 3f0c9a41
    """
    from fedjoint.agreement.canonical import sha256_hex
    from fedjoint.cli.holder_home import opened, say
    from fedjoint.models.code import read_code
    from fedjoint.node.approval import approve_code, withdraw_code

    home, _ = opened(folder)
    if file is not None and withdraw is not None:
        raise ConfigError("FILE and --withdraw", expected="one of them")
    if withdraw is not None:
        say(f"Withdrawn: {withdraw_code(home, withdraw)}")
    elif file is not None:
        source = read_code(file)
        say(f"{file}: {len(source.splitlines())} lines, SHA-256 {sha256_hex(source)}", "bold")
        if not yes:
            click.confirm("Have you read it, and may it run on this machine?", abort=True)
        say(f"Approved; kept as {approve_code(home, source)}")
    else:
        approved = sorted(path.stem for path in home.models.glob("*.py"))
        say("\n".join(approved) if approved else "No model code is approved here.")
