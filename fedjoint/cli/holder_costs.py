"""``fedjoint holder costs``: sign what a run's tasks cost this node, as it metered them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fedjoint.cli.holder_home import home_option, json_option

__all__ = ["command"]


@click.command("costs")
@click.argument("agreement", metavar="AGREEMENT")
@click.option("--run", "run_id", metavar="ID", help="Of several runs under it, the one that is meant.")
@click.option("--gpu-seconds", type=click.IntRange(min=0), default=0, show_default=True, help="Metered by yourself.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="For fedjoint pool settle --costs.")
@home_option
@json_option
def command(agreement: str, run_id: str | None, gpu_seconds: int, out: Path, folder: Path, as_json: bool) -> None:
    """Sign the processor seconds that this node metered for a run; they are paid at the agreed rate, before profit.

    The exchange holds them against the run's record: no more than agreed for each round that names this holder.

    \b
    Example:
      fedjoint holder costs 3f0c9a41 --out north-costs.json --home north
    """
    from fedjoint.agreement.canonical import canonical_bytes
    from fedjoint.cli.holder_home import opened, say
    from fedjoint.errors import ConfigError
    from fedjoint.files import replace_file
    from fedjoint.node.metering import metered_by
    from fedjoint.pool.compute_costs import MeteredCosts, sign_costs
    from fedjoint.strict import plain

    home, _ = opened(folder)
    identity, metered = home.load_identity(), metered_by(home, agreement)
    chosen = [run_id] if run_id is not None else list(metered.cpu_ms)
    if len(chosen) != 1 or chosen[0] not in metered.cpu_ms:
        raise ConfigError("--run", expected=f"one of: {', '.join(sorted(metered.cpu_ms))}")
    costs = MeteredCosts(
        holder=identity.id,
        run_id=chosen[0],
        agreement_sha256=metered.agreement_sha256,
        cpu_seconds=metered.cpu_ms[chosen[0]] // 1_000,
        gpu_seconds=gpu_seconds,
    )
    signed = sign_costs(costs, identity)
    replace_file(out, canonical_bytes(signed))
    if as_json:
        click.echo(json.dumps(plain(signed), indent=2))
        return
    say(f"{out}: {costs.cpu_seconds} CPU and {gpu_seconds} GPU seconds in run {costs.run_id}", "bold")
