"""From what holders registered and what the exchange wants to an agreement that they can review and sign."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from fedjoint.agreement.canonical import parse_canonical, sha256_hex
from fedjoint.agreement.schema import Schema
from fedjoint.agreement.signing import SignedAgreement, sign_terms, terms_sha256
from fedjoint.agreement.terms import DataTerms, HolderTerms, num_parameters_of
from fedjoint.agreement.valuation_terms import LEAST_GROUP, USUAL_ERROR_NUMBERS, most_error_numbers, opens_errors
from fedjoint.conduct.agreeing import agreed_model, compose_terms
from fedjoint.conduct.reference_file import write_reference
from fedjoint.config import SimulationConfig
from fedjoint.data.encode import encode
from fedjoint.data.records import Examples, Table
from fedjoint.errors import DataError
from fedjoint.exchange.home import ExchangeHome
from fedjoint.exchange.members_store_sql import DatasetEntry
from fedjoint.exchange.store_sql import ExchangeStore
from fedjoint.files import replace_file
from fedjoint.models.code import read_code
from fedjoint.pool.gate import Gate, ask_gate
from fedjoint.strict import build

__all__ = ["Wanted", "propose", "reference_path"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a proposal is of.

    Args:
        dataset: Name under which the holders registered their records.
        holders: Who is to take part; none: everybody who registered it.
        reference: The exchange's own table, which belongs to no holder.
        licence: Of the data.
        citation: What to cite.
        registered: By holder, the id under which a pool's registry has what it brings; none: nothing is registered.
    """

    dataset: str
    holders: tuple[str, ...]
    reference: Table
    licence: str = ""
    citation: str = ""
    registered: Mapping[str, str] = field(default_factory=dict)


def propose(
    home: ExchangeHome, store: ExchangeStore, *, config: SimulationConfig, wanted: Wanted, gate: Gate | None, at: str
) -> SignedAgreement:
    """Write an agreement, sign it for the exchange, and keep it for the holders to fetch.

    Args:
        home: The exchange's folder; the reference records are kept in it.
        store: Its database.
        config: Everything about training, privacy, valuation and money; its ``data`` and ``run`` are not used, but for
            ``data.standardise``. Where it leaves ``valuation.error_numbers`` open, ``USUAL_ERROR_NUMBERS`` are agreed
            if they have a meaning. Without any, only errors by noise are agreed to count, whatever it says of
            ``money.materiality_errors``: no other is measured then.
        wanted: Of whom and which data.
        gate: Asks the pool's registry; None: the exchange has no pool.
        at: The present, ISO 8601 in UTC.

    Raises:
        DataError: fewer than two holders registered the data set, with different schemas or units, or with a record
            that does not fit; or the reference table does not fit the schema.
        IdentityError: a holder is no member.
        PoolError: the registry does not allow a run under these terms today.
        FedjointError: a value that no run could have, or a privacy budget that no noise can meet.
    """
    entries = _entries(store, wanted)
    schema = _common_schema(entries, config.privacy.unit)
    reference = encode(wanted.reference, schema)
    coordinator = home.load_identity()
    data = DataTerms(name=wanted.dataset, schema=schema, licence=wanted.licence, citation=wanted.citation)
    terms = compose_terms(
        _with_errors(config, data, num_reference=len(reference)),
        coordinator=coordinator.public,
        holders=[
            HolderTerms(
                identity=store.members.get(entry.party).identity,
                num_examples=entry.num_examples,
                dataset=wanted.registered.get(entry.party),
            )
            for entry in entries
        ],
        data=data,
        reference=reference,
    )
    ask_gate(gate, terms, date.fromisoformat(at[:10]))
    signature = {coordinator.id: sign_terms(terms, coordinator)}
    agreement = SignedAgreement(terms=terms, sha256=terms_sha256(terms), signatures=signature)
    _keep(reference_path(home, agreement.sha256), reference)
    if config.model.code is not None:  # beside them, as the run needs both
        source = read_code(Path(config.model.code).expanduser())
        replace_file(home.references / f"{sha256_hex(source)}.py", source, mode=0o600)
    store.agreements.propose(agreement, at=at)
    return agreement


def _with_errors(config: SimulationConfig, data: DataTerms, *, num_reference: int) -> SimulationConfig:
    """As many numbers for the reference set's error as are asked for, or are usual; without any it cannot count."""
    wanted = config.valuation
    if wanted.error_numbers is None:
        measured = opens_errors(wanted.method, wanted.reference, wanted.known_path)
        size = num_parameters_of(agreed_model(config, data), data.schema)
        most = min(USUAL_ERROR_NUMBERS, num_reference // LEAST_GROUP - 1, most_error_numbers(size))
        wanted = dataclasses.replace(wanted, error_numbers=max(0, most) if measured else 0)
    money = config.money if wanted.error_numbers else dataclasses.replace(config.money, materiality_errors="noise")
    return dataclasses.replace(config, valuation=wanted, money=money)


def reference_path(home: ExchangeHome, agreement_sha256: str) -> Path:
    """Where the reference records of an agreement are."""
    return home.references / f"{agreement_sha256}.safetensors"


def _keep(path: Path, reference: Examples) -> None:
    partial = path.with_suffix(".partial")
    write_reference(partial, reference)
    partial.replace(path)


def _entries(store: ExchangeStore, wanted: Wanted) -> list[DatasetEntry]:
    registered = {entry.party: entry for entry in store.members.datasets() if entry.name == wanted.dataset}
    absent = [holder for holder in wanted.holders if holder not in registered]
    chosen = sorted(wanted.holders or registered)
    strangers = sorted(set(wanted.registered) - set(chosen))
    if strangers:
        raise DataError(
            f"'{strangers[0]}' is said to bring a registered dataset", expected=f"one of: {', '.join(chosen)}"
        )
    if absent or len(chosen) < 2:
        who = f"not of {', '.join(absent)}" if absent else f"of {len(chosen)} holders"
        raise DataError(
            f"dataset '{wanted.dataset}' is registered {who}",
            expected="two holders or more, each of which registered it",
            remedy="See: fedjoint exchange status",
        )
    misfits = [holder for holder in chosen if not registered[holder].fits]
    if misfits:
        raise DataError(
            f"records of {', '.join(misfits)} do not fit their schema",
            remedy="Have them run `fedjoint holder data check`.",
        )
    return [registered[holder] for holder in chosen]


def _common_schema(entries: Sequence[DatasetEntry], unit: str) -> Schema:
    schemas = {entry.schema for entry in entries}
    if len(schemas) > 1:
        hashes = "; ".join(f"{entry.party}: {sha256_hex(entry.schema.encode())[:12]}" for entry in entries)
        raise DataError(f"the holders' schemas differ ({hashes})", remedy="Have all register with one schema file.")
    others = [entry.party for entry in entries if entry.unit != unit]
    if others:
        raise DataError(
            f"privacy.unit is '{unit}' and {', '.join(others)} counted another",
            remedy="Choose privacy.unit as counted.",
        )
    value = parse_canonical(schemas.pop().encode(), error=DataError, where="schema")
    return build(Schema, value, error=DataError, where="schema")
