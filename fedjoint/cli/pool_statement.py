"""``fedjoint pool statement`` and ``witness``: what parties are told, and how they stand by it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fedjoint.cli.pool_session import Session, key_option, now, parse_json_file, pool_command

__all__ = ["COMMANDS"]


@click.command("statement")
@click.argument("holder")
@click.argument("period", nargs=2, metavar="FIRST_DAY LAST_DAY")
@click.option("--dataset", metavar="ID", help="Of one dataset of the holder's: income, contributions, costs.")
@click.option("--format", "kind", type=click.Choice(["json", "html", "pdf"]), default="json", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write.")
@key_option
@pool_command
def statement(
    session: Session,
    *,
    holder: str,
    period: tuple[str, str],
    dataset: str | None,
    kind: str,
    out: Path,
    key: Path,
) -> None:
    """Issue a party's signed statement of a period, with proof that the pool's record has it.

    JSON is what fedjoint verify checks; a page (html, pdf) says the same for people, and its signed JSON is written
    beside it.

    \b
    Example:
      fedjoint pool statement north 2026-01-01 2026-12-31 --out north.json --key exchange.key
      fedjoint pool statement north 2026-01-01 2026-12-31 --dataset scans --format pdf --out a.pdf --key exchange.key
    """
    from fedjoint.agreement.canonical import canonical_bytes
    from fedjoint.errors import ConfigError
    from fedjoint.files import replace_file
    from fedjoint.identity.keys import Identity
    from fedjoint.pool.statement_document import AnyStatement, issue, state_of_dataset, state_of_holder
    from fedjoint.pool.statement_page import render_statement
    from fedjoint.pool.statement_weasyprint import render_pdf, require_pdf

    if kind == "pdf":
        require_pdf()  # before anything is recorded
    first_day, last_day = period
    coordinator, at = Identity.load(key), now()
    with session.store() as store:
        if dataset is None:
            found: AnyStatement = state_of_holder(store, holder, first_day=first_day, last_day=last_day)
        else:
            found = state_of_dataset(store, dataset, first_day=first_day, last_day=last_day)
            if found.holder != holder:
                raise ConfigError(f"dataset '{dataset}' is not that of '{holder}'", expected=f"'{found.holder}'")
        document = issue(store, [found], coordinator, at=at)[0]
    signed = out if kind == "json" else out.with_suffix(".json")
    replace_file(signed, canonical_bytes(document))
    if kind != "json":
        page = render_statement(document)
        replace_file(out, page if kind == "html" else render_pdf(page))
    session.show(document, [f"{out}: the statement of '{dataset or holder}' from {first_day} until {last_day}"])


@click.command("witness")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="EXPORT")
@click.option("--exchange", type=click.Path(path_type=Path), required=True, help="JSON of the exchange's public keys.")
@click.option("--seen", type=click.Path(path_type=Path), required=True, help="Your own file of what you saw last.")
@click.option("--key", type=click.Path(path_type=Path), required=True, help="Your key file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def witness(folder: Path, exchange: Path, seen: Path, key: Path, as_json: bool) -> None:
    """Verify an export of a pool and countersign it, if its record goes on from what you saw before.

    Hand the file witness-<you>.json beside the export back to the exchange, and keep --seen to yourself.

    \b
    Example:
      fedjoint pool witness books-2026 --exchange exchange.json --seen my-pool.json --key north.key
    """
    from fedjoint.identity.keys import Identity, PublicIdentity
    from fedjoint.pool.witnessed import witness_pool
    from fedjoint.strict import build, plain

    coordinator = build(PublicIdentity, parse_json_file(exchange), where="exchange")
    made = witness_pool(folder, Identity.load(key), exchange=coordinator, seen=seen)
    words = f"'{made.party}' stands by {made.checkpoint.size} events, root {made.checkpoint.root[:16]}…"
    click.echo(json.dumps(plain(made), indent=2) if as_json else words)


@click.command("costs")
@click.argument("run_id")
@click.argument("agreement_sha256")
@click.option("--cpu-seconds", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--gpu-seconds", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--key", type=click.Path(path_type=Path), required=True, help="Your key file.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="For pool settle --costs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def costs(
    run_id: str, agreement_sha256: str, *, cpu_seconds: int, gpu_seconds: int, key: Path, out: Path, as_json: bool
) -> None:
    """Sign, as a holder, what your part of a run's training cost; it is paid as agreed, before profit.

    A node meters by itself: fedjoint holder costs signs what it counted.

    \b
    Example:
      fedjoint pool costs 6f3c... 3f0c... --cpu-seconds 7200 --key north.key --out north-costs.json
    """
    from fedjoint.agreement.canonical import canonical_bytes
    from fedjoint.files import replace_file
    from fedjoint.identity.keys import Identity
    from fedjoint.pool.compute_costs import MeteredCosts, sign_costs
    from fedjoint.strict import plain

    holder = Identity.load(key)
    metered = MeteredCosts(
        holder=holder.id,
        run_id=run_id,
        agreement_sha256=agreement_sha256,
        cpu_seconds=cpu_seconds,
        gpu_seconds=gpu_seconds,
    )
    signed = sign_costs(metered, holder)
    replace_file(out, canonical_bytes(signed))
    words = f"{out}: '{holder.id}' metered {cpu_seconds} CPU and {gpu_seconds} GPU seconds in run {run_id}"
    click.echo(json.dumps(plain(signed), indent=2) if as_json else words)


COMMANDS: tuple[click.Command, ...] = (statement, witness, costs)
