"""``fedjoint holder data revoke``: a data set is trained on no more from a day on, whatever the exchange says."""

from __future__ import annotations

from pathlib import Path

import click

from fedjoint.cli.holder_home import home_option, json_option

__all__ = ["command"]


@click.command("revoke")
@click.argument("name")
@click.option("--effective", required=True, metavar="DAY", help="First day on which nothing is trained on it.")
@click.option("--reason", required=True, help="In words.")
@home_option
@json_option
def command(name: str, effective: str, reason: str, folder: Path, as_json: bool) -> None:
    """End a data set's registration on this node, for good: from that day on it does no task with these records.

    Have the exchange write the same into the pool's registry: fedjoint registry dataset revoke.

    \b
    Example:
      fedjoint holder data revoke scans --effective 2026-07-01 --reason "consent withdrawn" --home north
    """
    from fedjoint.cli.holder_data_register import show_registration
    from fedjoint.cli.holder_home import opened
    from fedjoint.node.datasets import dataset
    from fedjoint.node.registration import revoke

    home, _ = opened(folder)
    ended = revoke(home, dataset(home, name), effective=effective, reason=reason)
    show_registration(name, ended, as_json=as_json)
