"""``fedjoint registry``: parties and datasets of a pool."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedjoint.cli.lazy import PlainGroup
from fedjoint.cli.pool_session import Session, now, parse_json_file, pool_command

if TYPE_CHECKING:
    from fedjoint.pool.registered import EventKind

__all__ = ["command"]


@click.group("registry", cls=PlainGroup)
def command() -> None:
    """Register parties and datasets, see what may be done with them, and revoke them.

    \b
    Example:
      fedjoint registry party add hospital.json
      fedjoint registry dataset add scans.json
      fedjoint registry dataset show scans --purpose "underwriting research"
    """


@command.group("party")
def party() -> None:
    """Legal persons, each registered once.

    \b
    Example:
      fedjoint registry party add hospital.json
    """


@command.group("dataset")
def dataset() -> None:
    """What holders bring.

    \b
    Example:
      fedjoint registry dataset add scans.json
    """


@party.command("add")
@click.argument("file", type=click.Path(path_type=Path))
@pool_command
def party_add(session: Session, *, file: Path) -> None:
    """Register a party from a JSON file: identity, legal_id, certificate_sha256, role, valid_from, valid_until, iban.

    \b
    Example:
      fedjoint registry party add hospital.json
    """
    from fedjoint.errors import PoolError
    from fedjoint.pool.desk import add_party
    from fedjoint.pool.registered import Party
    from fedjoint.strict import build

    found, at = build(Party, parse_json_file(file), error=PoolError, where="party"), now()
    session.act(lambda state, _: add_party(state, found, at=at))


@party.command("show")
@click.argument("party_id", required=False)
@pool_command
def party_show(session: Session, *, party_id: str | None) -> None:
    """Show one party or all.

    \b
    Example:
      fedjoint registry party show
    """
    from fedjoint.strict import plain

    registry = session.state().registry
    chosen = [registry.party(name) for name in ([party_id] if party_id else sorted(registry.parties))]
    lines = [
        f"{one.identity.id:20} {one.role:10} {one.valid_from} to {one.valid_until}"
        + (f", revoked from {registry.revoked[one.identity.id]}" if one.identity.id in registry.revoked else "")
        for one in chosen
    ]
    session.show(plain(chosen), lines or ["no party is registered"])


@party.command("revoke")
@click.argument("party_id")
@click.option("--effective", required=True, metavar="DAY", help="First day on which it is revoked.")
@click.option("--reason", required=True)
@pool_command
def party_revoke(session: Session, *, party_id: str, effective: str, reason: str) -> None:
    """Stop runs with a party and payments to it from a day on.

    \b
    Example:
      fedjoint registry party revoke north --effective 2026-07-01 --reason "certificate withdrawn"
    """
    from fedjoint.pool.desk import revoke_party
    from fedjoint.pool.facts import PartyRevoked

    revoked, at = PartyRevoked(party=party_id, effective=effective, reason=reason), now()
    session.act(lambda state, _: revoke_party(state, revoked, at=at))


@party.command("card")
@click.argument("party_id")
@pool_command
def party_card_(session: Session, *, party_id: str) -> None:
    """Print a party's card for catalogues, JSON-LD: who it is, its keys, and how long its certificate is valid.

    \b
    Example:
      fedjoint registry party card north > north.jsonld
    """
    import json

    from fedjoint.pool.cards import party_card

    click.echo(json.dumps(party_card(session.state().registry, party_id), indent=2, ensure_ascii=False))


@dataset.command("add")
@click.argument("file", type=click.Path(path_type=Path))
@pool_command
def dataset_add(session: Session, *, file: Path) -> None:
    """Register a dataset from a JSON file.

    \b
    Example:
      fedjoint registry dataset add scans.json
    """
    from fedjoint.errors import PoolError
    from fedjoint.pool.desk import add_dataset
    from fedjoint.pool.registered import Dataset
    from fedjoint.strict import build

    found, at = build(Dataset, parse_json_file(file), error=PoolError, where="dataset"), now()
    session.act(lambda state, _: add_dataset(state, found, at=at))


@dataset.command("show")
@click.argument("dataset_id", required=False)
@click.option("--purpose", help="Also ask whether a run for this purpose may use it; exit code 1 if not.")
@click.option("--day", metavar="DAY", help="The day of that run; today by default.")
@pool_command
def dataset_show(session: Session, *, dataset_id: str | None, purpose: str | None, day: str | None) -> None:
    """Show one dataset with its events, or all.

    \b
    Example:
      fedjoint registry dataset show scans --purpose "underwriting research"
    """
    from fedjoint.pool.registered import day_named
    from fedjoint.pool.registry import require_runnable
    from fedjoint.strict import plain

    registry = session.state().registry
    chosen = [registry.dataset(name) for name in ([dataset_id] if dataset_id else sorted(registry.datasets))]
    lines = []
    for one in chosen:
        held = one.dataset
        lines.append(
            f"{held.id:20} {held.holder:15} {held.num_records:>10,} records  until {held.certificate.valid_until}"
        )
        lines += [f"  {event.effective} {event.kind}: {event.reason}" for event in one.events]
    session.show(plain(chosen), lines or ["no dataset is registered"])
    for one in chosen if purpose else ():
        on = day_named("day", day) if day else date.fromisoformat(now()[:10])
        require_runnable(registry, one.dataset.id, purpose=purpose or "", day=on)


@dataset.command("revoke")
@click.argument("dataset_id")
@click.option("--effective", required=True, metavar="DAY", help="First day on which it is revoked.")
@click.option("--reason", required=True)
@pool_command
def dataset_revoke(session: Session, *, dataset_id: str, effective: str, reason: str) -> None:
    """Stop new runs on a dataset and new payments for it from a day on.

    \b
    Example:
      fedjoint registry dataset revoke scans --effective 2026-07-01 --reason "consent withdrawn"
    """
    from fedjoint.pool.desk import note_dataset
    from fedjoint.pool.registered import DatasetEvent

    event, at = DatasetEvent(dataset=dataset_id, kind="revocation", effective=effective, reason=reason), now()
    session.act(lambda state, _: note_dataset(state, event, at=at))


@dataset.command("note")
@click.argument("dataset_id")
@click.argument(
    "kind", type=click.Choice(["licence", "transfer", "change", "cancellation", "objection", "objection settled"])
)
@click.option("--effective", required=True, metavar="DAY", help="First day on which it holds.")
@click.option("--reason", required=True, help="In words.")
@click.option("--to", metavar="PARTY", help="For a transfer, the new holder; for a licence, the licensee.")
@pool_command
def dataset_note(
    session: Session, *, dataset_id: str, kind: EventKind, effective: str, reason: str, to: str | None
) -> None:
    """Write down what became of a dataset; a cancellation ends it, an objection stops runs until it is settled.

    \b
    Example:
      fedjoint registry dataset note scans objection --effective 2026-07-01 --reason "the registry says it is its own"
      fedjoint registry dataset note scans transfer --to south --effective 2026-07-01 --reason "sold"
    """
    from fedjoint.pool.desk import note_dataset
    from fedjoint.pool.registered import DatasetEvent

    event, at = DatasetEvent(dataset=dataset_id, kind=kind, effective=effective, reason=reason, to=to), now()
    session.act(lambda state, _: note_dataset(state, event, at=at))


@dataset.command("card")
@click.argument("dataset_id")
@click.option("--format", "kind", type=click.Choice(["croissant", "dcat", "odrl"]), default="croissant")
@pool_command
def dataset_card(session: Session, *, dataset_id: str, kind: str) -> None:
    """Print a dataset's card for catalogues, JSON-LD.

    \b
    Example:
      fedjoint registry dataset card scans --format dcat > scans.jsonld
    """
    import json

    from fedjoint.pool.cards import croissant_card, dcat_card, odrl_policy

    make = {"croissant": croissant_card, "dcat": dcat_card, "odrl": odrl_policy}[kind]
    click.echo(json.dumps(make(session.state().registry.dataset(dataset_id)), indent=2, ensure_ascii=False))
