"""``fedjoint holder data register``: what the pool's registry has of a data set, kept by its holder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedjoint.cli.holder_home import home_option, json_option

if TYPE_CHECKING:
    from fedjoint.pool.registered import Registered

__all__ = ["command", "show_registration"]


@click.command("register")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@home_option
@json_option
def command(name: str, file: Path, folder: Path, as_json: bool) -> None:
    """Keep what a data set is registered as; from then on nothing is signed or trained that it does not allow.

    FILE is the JSON that fedjoint registry dataset add takes, or what fedjoint registry dataset show ID --json prints.
    Its policy, its certificate and every revocation hold on this node, whatever the exchange says.

    \b
    Example:
      fedjoint holder data register scans scans-north.json --home north
    """
    from datetime import date

    from fedjoint.cli.holder_home import now, opened
    from fedjoint.node.datasets import dataset
    from fedjoint.node.registration import register

    home, _ = opened(folder)
    registered = _read(file)
    register(home, dataset(home, name), registered, day=date.fromisoformat(now()[:10]))
    show_registration(name, registered, as_json=as_json)


def _read(file: Path) -> Registered:
    from fedjoint.cli.pool_session import parse_json_file
    from fedjoint.errors import PoolError
    from fedjoint.pool.registered import Dataset, Registered
    from fedjoint.strict import build

    value: Any = parse_json_file(file)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict) and "dataset" in value:
        return build(Registered, value, error=PoolError, where=file.name)
    return Registered(dataset=build(Dataset, value, error=PoolError, where=file.name))


def show_registration(name: str, registered: Registered, *, as_json: bool) -> None:
    """Tell what a data set is registered as."""
    from fedjoint.cli.holder_home import say
    from fedjoint.strict import plain

    held = registered.dataset
    if as_json:
        click.echo(json.dumps({"name": name, **plain(registered)}, indent=2))
        return
    say(f"'{name}' is registered as '{held.id}', certificate until {held.certificate.valid_until}.", "bold")
    say(f"It may be trained on from {held.policy.not_before} until {held.policy.not_after}, for:")
    for purpose in held.policy.purposes:
        say(f"  {purpose}")
    for event in registered.events:
        say(f"From {event.effective}: {event.kind} ({event.reason})")
