"""Parties and datasets as they were registered, and what became of them since."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from datetime import date
from typing import Literal

from fedjoint.errors import PoolError
from fedjoint.identity.keys import PublicIdentity
from fedjoint.pool.money import check_minor
from fedjoint.strict import strict

__all__ = [
    "DataCertificate",
    "Dataset",
    "DatasetEvent",
    "EventKind",
    "Party",
    "Policy",
    "Registered",
    "Rights",
    "Role",
    "after_event",
    "day_named",
]

Role = Literal["exchange", "holder", "buyer", "claimant", "expert", "insurer"]
EventKind = Literal["licence", "transfer", "change", "cancellation", "revocation", "objection", "objection settled"]
_ENDING: tuple[EventKind, ...] = ("cancellation", "revocation")
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_TEXT = 2_000
_MAX_ITEMS = 100
_MOST_YEARS = 3


def day_named(name: str, text: str) -> date:
    """Read a day.

    Raises:
        PoolError: it is none.
    """
    try:
        day = date.fromisoformat(text)
        if day.isoformat() == text:
            return day
    except ValueError:
        pass
    raise PoolError(f"{name} is '{text[:40]}'", expected="a day such as 2026-11-30")


def _texts(**texts: str) -> None:
    for name, text in texts.items():
        if not 1 <= len(text) <= _MAX_TEXT:
            raise PoolError(f"{name} has {len(text)} characters", expected=f"1 to {_MAX_TEXT}")


def _hashes(**hashes: str) -> None:
    for name, digest in hashes.items():
        if not _SHA256.fullmatch(digest):
            raise PoolError(f"{name} is '{digest[:80]}'", expected="64 lower-case hex digits")


@strict
@dataclass(frozen=True, kw_only=True)
class Party:
    """A legal person that takes part.

    Args:
        identity: Its id, name and public keys.
        legal_id: Its number in a public register, such as ``CN/91110108MA01``: one legal person is registered once.
        certificate_sha256: Of the certificate that binds the keys to the person.
        role: What it takes part as.
        valid_from: First day.
        valid_until: Last day.
        iban: Where it is paid to, if by bank.
    """

    identity: PublicIdentity
    legal_id: str
    certificate_sha256: str
    role: Role
    valid_from: str
    valid_until: str
    iban: str | None = None

    def __post_init__(self) -> None:
        _texts(legal_id=self.legal_id)
        _hashes(certificate_sha256=self.certificate_sha256)
        if day_named("valid_until", self.valid_until) < day_named("valid_from", self.valid_from):
            raise PoolError(f"the certificate of '{self.identity.id}' ends before it begins")
        if self.iban is not None and not _is_iban(self.iban):
            raise PoolError(f"the IBAN of '{self.identity.id}' is none", expected="one whose check digits are right")


def _is_iban(text: str) -> bool:
    """ISO 13616: letters moved behind and read as numbers leave 1 modulo 97."""
    if not re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", text):
        return False
    return int("".join(str(int(letter, 36)) for letter in text[4:] + text[:4])) % 97 == 1


@strict
@dataclass(frozen=True, kw_only=True)
class DataCertificate:
    """A certificate of registered rights in data.

    Args:
        number: The registrar's.
        registrar: Who issued it.
        announced: Day of the public announcement.
        valid_until: Last day: at most three years after the announcement, and not after the agreement's end.
        agreement_until: The agreement's last day.
    """

    number: str
    registrar: str
    announced: str
    valid_until: str
    agreement_until: str

    def __post_init__(self) -> None:
        _texts(number=self.number, registrar=self.registrar)
        announced, until = day_named("announced", self.announced), day_named("valid_until", self.valid_until)
        latest = min(_years_later(announced, _MOST_YEARS), day_named("agreement_until", self.agreement_until))
        if not announced <= until <= latest:
            raise PoolError(
                f"data certificate {self.number} is valid from {announced} until {until}",
                expected=f"until {latest} at most",
            )


def _years_later(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year + years)
    except ValueError:  # 29 February
        return day.replace(year=day.year + years, day=28)


@strict
@dataclass(frozen=True, kw_only=True)
class Rights:
    """Who has which of the three separate rights in the data, by party id.

    Args:
        holding: To hold the data.
        processing: To process and use them.
        operation: To run products made of them.
    """

    holding: str
    processing: str
    operation: str


@strict
@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the holder permits, as an ODRL 2.2 offer says it: train, for these purposes, in this time, for compensation.

    Args:
        purposes: What a run may be for; compared word by word with the agreement's purpose.
        not_before: First day.
        not_after: Last day.
    """

    purposes: tuple[str, ...]
    not_before: str
    not_after: str

    def __post_init__(self) -> None:
        if not 1 <= len(self.purposes) <= _MAX_ITEMS:
            raise PoolError(f"a policy of {len(self.purposes)} purposes", expected=f"1 to {_MAX_ITEMS}")
        for purpose in self.purposes:
            _texts(purpose=purpose)
        if day_named("not_after", self.not_after) < day_named("not_before", self.not_before):
            raise PoolError("a policy ends before it begins")


@strict
@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What a holder brings, as registered; the records themselves stay with the holder.

    Args:
        id: 1 to 63 of a-z, 0-9, ``_``, ``-``.
        holder: Party id.
        title: A line.
        description: What it is.
        schema_sha256: Of the schema.
        quality_report_sha256: Of the quality report.
        num_records: At least 1.
        source_proofs: SHA-256 of what shows where the data come from.
        certificate: Of the data rights.
        rights: Who has which right.
        policy: What may be done.
        deidentification: How persons were made unrecognisable, in words.
        lifetime_epsilon: What all runs together may cost in privacy; None if the holder states none.
        sum_insured_minor: The largest title claim that the reserve's target provides for, in minor units.
    """

    id: str
    holder: str
    title: str
    description: str
    schema_sha256: str
    quality_report_sha256: str
    num_records: int
    source_proofs: tuple[str, ...]
    certificate: DataCertificate
    rights: Rights
    policy: Policy
    deidentification: str
    lifetime_epsilon: float | None = None
    sum_insured_minor: int = 0

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise PoolError(f"dataset id '{self.id[:80]}'", expected=f"a match of {_ID.pattern}")
        _texts(title=self.title, description=self.description, deidentification=self.deidentification)
        _hashes(schema_sha256=self.schema_sha256, quality_report_sha256=self.quality_report_sha256)
        if not 1 <= len(self.source_proofs) <= _MAX_ITEMS:
            raise PoolError(f"dataset '{self.id}' has {len(self.source_proofs)} source proofs", expected="at least one")
        for proof in self.source_proofs:
            _hashes(source_proof=proof)
        check_minor("num_records", self.num_records, low=1)
        check_minor("sum insured", self.sum_insured_minor, low=0)
        if self.lifetime_epsilon is not None and not 0 < self.lifetime_epsilon <= 1e6:
            raise PoolError(f"lifetime_epsilon = {self.lifetime_epsilon}", expected="a number above 0")
        if self.rights.holding != self.holder:
            raise PoolError(
                f"'{self.holder}' brings dataset '{self.id}', which '{self.rights.holding}' has the right to hold"
            )


@strict
@dataclass(frozen=True, kw_only=True)
class DatasetEvent:
    """Something that became of a registered dataset.

    Args:
        dataset: Its id.
        kind: What; the first registration is no such event.
        effective: First day on which it holds.
        reason: In words.
        to: For a transfer, the new holder; for a licence, the licensee.
    """

    dataset: str
    kind: EventKind
    effective: str
    reason: str
    to: str | None = None

    def __post_init__(self) -> None:
        day_named("effective", self.effective)
        _texts(reason=self.reason)
        if (self.kind in ("transfer", "licence")) != (self.to is not None):
            raise PoolError(f"a {self.kind} to {self.to}", expected="a party for a transfer or licence, none otherwise")


@strict
@dataclass(frozen=True, kw_only=True)
class Registered:
    """A dataset and its events, in the order they were recorded."""

    dataset: Dataset
    events: tuple[DatasetEvent, ...] = ()

    def as_of(self, day: date) -> Dataset:
        """The dataset as it stands on a day: a transfer moves it, and the right to hold it, from its first day on."""
        dataset = self.dataset
        for event in self.events:
            if event.to is not None and event.kind == "transfer" and date.fromisoformat(event.effective) <= day:
                rights = dataclasses.replace(dataset.rights, holding=event.to)
                dataset = dataclasses.replace(dataset, holder=event.to, rights=rights)
        return dataset

    def objections_on(self, day: date) -> list[str]:
        """Why it is not valid on that day, all reasons."""
        certificate, found = self.dataset.certificate, []
        if not certificate.announced <= day.isoformat() <= certificate.valid_until:
            valid = f"from {certificate.announced} until {certificate.valid_until}"
            found.append(f"its data certificate is valid {valid}")
        ended = self.ended_on(day)
        if ended is not None:
            found.append(f"its {ended.kind} took effect on {ended.effective}")
        return found

    def objections_to_run(self, purpose: str, day: date) -> list[str]:
        """Why no run for a purpose may use it on that day, all reasons.

        Args:
            purpose: The agreement's, word by word.
            day: Of the run.
        """
        policy, found = self.dataset.policy, self.objections_on(day)
        if purpose not in policy.purposes:
            found.append(f"its policy does not permit the purpose '{purpose}' but: {', '.join(policy.purposes)}")
        if not policy.not_before <= day.isoformat() <= policy.not_after:
            found.append(f"its policy permits training from {policy.not_before} until {policy.not_after}")
        if self.contested_on(day):
            found.append("an objection to it stands")
        return found

    def ended_on(self, day: date) -> DatasetEvent | None:
        """The event that had ended its validity by that day, if any."""
        return next((e for e in self.events if e.kind in _ENDING and date.fromisoformat(e.effective) <= day), None)

    def contested_on(self, day: date) -> bool:
        """Whether an objection stands on that day."""
        standing = [e.kind for e in self.events if date.fromisoformat(e.effective) <= day]
        return standing.count("objection") > standing.count("objection settled")


def after_event(registered: Registered, event: DatasetEvent) -> Registered:
    """A dataset after an event.

    Raises:
        PoolError: its registration has ended for good, or an objection is settled that was never raised.
    """
    ended = next((e for e in registered.events if e.kind in _ENDING), None)
    if ended is not None:
        raise PoolError(f"dataset '{event.dataset}' had its {ended.kind} on {ended.effective}: nothing follows it")
    kinds = [e.kind for e in registered.events]
    if event.kind == "objection settled" and kinds.count("objection") <= kinds.count("objection settled"):
        raise PoolError(f"no objection to dataset '{event.dataset}' stands")
    return Registered(dataset=registered.dataset, events=(*registered.events, event))
