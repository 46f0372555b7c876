"""From a configuration and divided data to an agreement that every party has signed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedjoint.agreement.review import HolderPolicy
from fedjoint.agreement.signing import SignedAgreement, sign_terms, terms_sha256
from fedjoint.agreement.terms import (
    DataTerms,
    HolderTerms,
    Terms,
)
from fedjoint.conduct import agreeing
from fedjoint.config import PrivacyConfig, SimulationConfig
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.division import Division, HolderRecords
from fedjoint.identity.keys import Identity
from fedjoint.privacy.ledger_file import Lifetime
from fedjoint.record.checkpoint import SignedCheckpoint
from fedjoint.record.log import AskWitnesses
from fedjoint.record.witness import Prove, Witness
from fedjoint.simulation.policies import ANYTHING
from fedjoint.training.holder import Holder
from fedjoint.training.holder_run import Observer
from fedjoint.training.size_release import ReleasedSize

__all__ = ["COORDINATOR", "Parties", "bring_together", "compose_terms", "holders_as_witnesses", "sign_by_all"]

COORDINATOR = "exchange"


@dataclass(frozen=True, kw_only=True)
class Parties:
    """The coordinator's keys and the holders, as a simulation has them side by side, and what they say of sizes."""

    coordinator: Identity
    holders: tuple[Holder, ...]
    identities: tuple[Identity, ...]
    sizes: Mapping[str, ReleasedSize]

    def close(self) -> None:
        """Wipe the keys of every holder's runs."""
        for holder in self.holders:
            holder.close()


def bring_together(
    division: Division,
    *,
    observer: Observer,
    lifetimes: Mapping[str, Lifetime] | None = None,
    sizes: Mapping[str, ReleasedSize] | None = None,
    policies: Mapping[str, HolderPolicy] | None = None,
) -> Parties:
    """Make fresh keys for everybody, and holders.

    Args:
        division: Whose records are whose.
        observer: Hears every update in the clear.
        lifetimes: Lifetime budgets of the holders that have one.
        sizes: How many examples each holder says it has; None: as many as there are, public constants.
        policies: Of the holders that have one of their own; the others allow whatever a simulation may do.
    """
    identities = tuple(Identity.create(records.id, records.name) for records in division.holders)
    holders = tuple(
        Holder(
            identity,
            records.examples,
            (policies or {}).get(records.id, ANYTHING),
            observer=observer,
            lifetime=(lifetimes or {}).get(records.id),
            size=(sizes or {}).get(records.id),
        )
        for identity, records in zip(identities, division.holders, strict=True)
    )
    taken = {records.id for records in division.holders}
    coordinator = COORDINATOR if COORDINATOR not in taken else f"{COORDINATOR}-coordinator"
    return Parties(
        coordinator=Identity.create(coordinator, "Exchange"),
        holders=holders,
        identities=identities,
        sizes=sizes or {},
    )


def compose_terms(config: SimulationConfig, dataset: Dataset, division: Division, parties: Parties) -> Terms:
    """Write the agreement of a simulation: every holder states what it released, or certifies what it has.

    Raises:
        FedjointError: see :func:`fedjoint.conduct.agreeing.compose_terms`.
    """
    return agreeing.compose_terms(
        config,
        coordinator=parties.coordinator.public,
        holders=[
            HolderTerms(
                identity=identity.public,
                dataset=(config.run.datasets or {}).get(records.id),
                num_examples=_stated(records, config.privacy, parties),
            )
            for identity, records in zip(parties.identities, division.holders, strict=True)
        ],
        data=DataTerms(name=dataset.name, schema=dataset.schema, licence=dataset.licence, citation=dataset.citation),
        reference=division.reference,
    )


def _stated(records: HolderRecords, privacy: PrivacyConfig, parties: Parties) -> int:
    """What the agreement says of how many examples a holder has."""
    if records.id in parties.sizes:
        return parties.sizes[records.id].num_examples
    return records.examples.num_units(privacy.unit)


def sign_by_all(terms: Terms, parties: Parties) -> SignedAgreement:
    """Have every holder review and sign, then the coordinator.

    Raises:
        AgreementError: a holder's policy or records do not allow the terms.
    """
    signatures = {holder.id: holder.sign(terms) for holder in parties.holders}
    signatures[parties.coordinator.id] = sign_terms(terms, parties.coordinator)
    return SignedAgreement(terms=terms, sha256=terms_sha256(terms)).with_signatures(signatures)


def holders_as_witnesses(parties: Parties, origin: str) -> AskWitnesses:
    """Every holder countersigns the checkpoints of a run's record, each remembering what it saw."""
    coordinator = parties.coordinator.public
    witnesses = [Witness(identity, coordinator=coordinator, origin=origin) for identity in parties.identities]

    def ask(signed: SignedCheckpoint, prove: Prove) -> dict[str, str]:
        names = (identity.id for identity in parties.identities)
        return dict(zip(names, (witness.countersign(signed, prove) for witness in witnesses), strict=True))

    return ask
