"""A registry for tests: an exchange, two holders, a buyer and an owner, and a dataset."""

from __future__ import annotations

import hashlib

from fedjoint.identity.keys import Identity
from fedjoint.pool.registered import DataCertificate, Dataset, Party, Policy, Rights
from fedjoint.pool.registry import Registry

ROLES = {
    "exchange": "exchange",
    "a": "holder",
    "b": "holder",
    "c": "holder",
    "buyer": "buyer",
    "owner": "claimant",
    **{f"p{number}": "expert" for number in range(1, 7)},
}
PEOPLE = {name: Identity.create(name, name.upper()) for name in ROLES}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def party(name: str) -> Party:
    return Party(
        identity=PEOPLE[name].public,
        legal_id=f"CN/{name}",
        certificate_sha256=digest(name),
        role=ROLES[name],
        valid_from="2026-01-01",
        valid_until="2027-12-31",
    )


def dataset(name: str = "scans", holder: str = "a") -> Dataset:
    return Dataset(
        id=name,
        holder=holder,
        title="CT scans of the chest",
        description="Scans with findings, 2019 to 2025",
        schema_sha256=digest("schema"),
        quality_report_sha256=digest("quality"),
        num_records=1_200,
        source_proofs=(digest("contract"),),
        certificate=DataCertificate(
            number=f"DIP-{name}",
            registrar="Data Exchange",
            announced="2026-01-15",
            valid_until="2027-06-30",
            agreement_until="2027-06-30",
        ),
        rights=Rights(holding=holder, processing="exchange", operation="exchange"),
        policy=Policy(purposes=("underwriting research",), not_before="2026-02-01", not_after="2026-12-31"),
        deidentification="names and dates removed; ages in bands of five years",
        lifetime_epsilon=8.0,
        sum_insured_minor=50_000,
    )


def registry() -> Registry:
    found = Registry()
    for name in ROLES:
        found = found.with_party(party(name))
    for holder in ("a", "b", "c"):
        found = found.with_dataset(dataset(f"scans-{holder}", holder))
    return found
