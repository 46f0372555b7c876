"""``fedjoint plan``."""

from __future__ import annotations

import json

import click

__all__ = ["command"]


@click.command("plan")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def command(overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what `fedjoint simulate` with the same settings will cost: bytes, seconds on this machine, epsilon.

    Nothing is trained, spent or written.

    \b
    Examples:
      fedjoint plan
      fedjoint plan privacy.epsilon=1 training.rounds=200 encryption=seeded
    """
    from fedjoint.config import load_config

    config = load_config(overrides)
    from fedjoint.simulation.simulate import prepare
    from fedjoint.strict import plain
    from fedjoint.training.preview import preview_costs

    prepared = prepare(config)
    costs = preview_costs(prepared.terms)
    if as_json:
        click.echo(json.dumps(plain(costs), indent=2))
        return
    from rich.console import Console

    from fedjoint.cli.progress import ConsoleProgress, in_words

    console = Console()
    ConsoleProgress(console).data(prepared.dataset, prepared.division)
    for line in in_words(costs):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
