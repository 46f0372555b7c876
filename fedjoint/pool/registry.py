"""Who takes part and with which data, and whether a run or a payment may be made with them on a day.

Whatever ends a dataset's validity stops new runs and new payments from the day it takes effect; what was trained and
paid before stands.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import date

from fedjoint.errors import PoolError
from fedjoint.pool.registered import Dataset, DatasetEvent, Party, Registered, after_event, day_named

__all__ = ["Registry", "require_payable", "require_runnable"]


@dataclass(frozen=True, kw_only=True)
class Registry:
    """All parties and datasets by id, and the days from which parties are revoked."""

    parties: dict[str, Party] = dataclasses.field(default_factory=dict)
    datasets: dict[str, Registered] = dataclasses.field(default_factory=dict)
    revoked: dict[str, str] = dataclasses.field(default_factory=dict)

    def with_party(self, party: Party) -> Registry:
        """Register a party.

        Raises:
            PoolError: its id, its keys or its legal person is registered already.
        """
        for other in self.parties.values():
            same = {
                "id": (party.identity.id, other.identity.id),
                "legal person": (party.legal_id, other.legal_id),
                "signing key": (party.identity.signing_key, other.identity.signing_key),
                "certificate": (party.certificate_sha256, other.certificate_sha256),
            }
            for name, (new, old) in same.items():
                if new == old:
                    both = f"has the same {name} as '{other.identity.id}'"
                    raise PoolError(
                        f"'{party.identity.id}' {'is registered already' if name == 'id' else both}",
                        expected="one legal person, one party",
                    )
        return dataclasses.replace(self, parties={**self.parties, party.identity.id: party})

    def with_dataset(self, dataset: Dataset) -> Registry:
        """Register a dataset, its first event.

        Raises:
            PoolError: the id is taken, its holder is no holder, or data of the same schema and quality report are
                registered by another.
        """
        holder = self.parties.get(dataset.holder)
        if holder is None or holder.role != "holder":
            raise PoolError(f"'{dataset.holder}' is no registered holder", remedy="fedjoint registry party add")
        for party in (dataset.rights.processing, dataset.rights.operation):
            if party not in self.parties:
                raise PoolError(f"'{party}' has a right in dataset '{dataset.id}' and is not registered")
        for other in self.datasets.values():
            if other.dataset.id == dataset.id or other.dataset.certificate.number == dataset.certificate.number:
                raise PoolError(f"dataset '{dataset.id}' or its certificate is registered, by '{other.dataset.holder}'")
        return dataclasses.replace(self, datasets={**self.datasets, dataset.id: Registered(dataset=dataset)})

    def with_event(self, event: DatasetEvent) -> Registry:
        """Record what became of a dataset.

        Raises:
            PoolError: no such dataset, it has ended, or a party is not registered.
        """
        if event.to is not None and event.to not in self.parties:
            raise PoolError(f"'{event.to}' is not registered")
        return dataclasses.replace(
            self, datasets={**self.datasets, event.dataset: after_event(self.dataset(event.dataset), event)}
        )

    def without_party(self, party: str, effective: str) -> Registry:
        """Revoke a party from a day on.

        Raises:
            PoolError: no such party, revoked already, or no day.
        """
        if party not in self.parties or party in self.revoked:
            raise PoolError(f"'{party}' is not registered, or revoked already")
        day_named("effective", effective)
        return dataclasses.replace(self, revoked={**self.revoked, party: effective})

    def party(self, party: str) -> Party:
        """A registered party.

        Raises:
            PoolError: there is none of that id.
        """
        if party not in self.parties:
            raise PoolError(
                f"'{party[:80]}' is no registered party", expected=f"one of: {', '.join(self.parties) or 'none yet'}"
            )
        return self.parties[party]

    def dataset(self, dataset: str) -> Registered:
        """A registered dataset.

        Raises:
            PoolError: there is none of that id.
        """
        if dataset not in self.datasets:
            raise PoolError(
                f"'{dataset[:80]}' is no registered dataset",
                expected=f"one of: {', '.join(self.datasets) or 'none yet'}",
            )
        return self.datasets[dataset]

    def valid_party(self, party: str, day: date) -> bool:
        """Whether a party is registered, its certificate valid and not revoked on a day."""
        found = self.parties.get(party)
        if found is None or not found.valid_from <= day.isoformat() <= found.valid_until:
            return False
        return party not in self.revoked or day < date.fromisoformat(self.revoked[party])


def _of_holder(registry: Registry, registered: Registered, day: date) -> list[str]:
    """Why a dataset may be neither used nor paid for on a day, beside what its own registration says."""
    holder = registered.as_of(day).holder
    return [] if registry.valid_party(holder, day) else [f"'{holder}' is not registered, expired or revoked"]


def require_runnable(registry: Registry, dataset: str, *, purpose: str, day: date) -> None:
    """Refuse a run on a dataset that is not valid, or for a purpose that its policy does not permit.

    Called before every run: by whoever reviews the agreement, and by whoever starts it.

    Args:
        registry: As it is known.
        dataset: Id.
        purpose: The agreement's, word by word.
        day: Of the run.

    Raises:
        PoolError: names all reasons.
    """
    registered = registry.dataset(dataset)
    found = [*registered.objections_to_run(purpose, day), *_of_holder(registry, registered, day)]
    if found:
        raise PoolError(f"no run on dataset '{dataset}' on {day}: {'; '.join(found)}", remedy="Run without it.")


def require_payable(registry: Registry, dataset: str, *, day: date) -> None:
    """Refuse a payment for a dataset that is not valid on the day of the revenue.

    Raises:
        PoolError: names all reasons.
    """
    registered = registry.dataset(dataset)
    found = [*registered.objections_on(day), *_of_holder(registry, registered, day)]
    if found:
        raise PoolError(f"no payment for dataset '{dataset}' on {day}: {'; '.join(found)}")
