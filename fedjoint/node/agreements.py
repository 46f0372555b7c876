"""Agreements at a holder: fetched, checked, signed with its own key, and kept beside what they were signed for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.agreement.schema import Schema
from fedjoint.agreement.signing import SignedAgreement, read_agreement
from fedjoint.agreement.terms import Terms
from fedjoint.data.records import Examples
from fedjoint.errors import AgreementError, DataError
from fedjoint.files import replace_file
from fedjoint.identity.keys import Identity
from fedjoint.node.approval import policy_of
from fedjoint.node.datasets import DatasetNote, dataset, datasets, examples_of, lifetime_of, size_of
from fedjoint.node.home import Home
from fedjoint.node.registration import require_registered
from fedjoint.strict import build, strict
from fedjoint.transport.services.client import ExchangeClient

if TYPE_CHECKING:  # what trains is loaded where something is signed or trained
    from fedjoint.training.holder import Holder
    from fedjoint.training.holder_state import HolderFolder

__all__ = [
    "SignedNote",
    "fetch",
    "find",
    "holder_for",
    "pick_dataset",
    "require_allowed",
    "sign",
    "signed_examples",
    "signed_for",
]

_LEAST_LETTERS = 8


@strict
@dataclass(frozen=True, kw_only=True)
class SignedNote:
    """What a holder signed, and for which of its records.

    Args:
        agreement_sha256: The agreement.
        dataset: Its name here.
        schema: As agreed: what the records are encoded with.
        examples_sha256: Commitment to the records as they were encoded; others are not trained on.
        signed_at: When, ISO 8601 in UTC.
        registered: Id of the registered dataset that the agreement names for this holder; None: none.
        purpose: The agreement's.
    """

    agreement_sha256: str
    dataset: str
    schema: Schema
    examples_sha256: str
    signed_at: str
    registered: str | None = None
    purpose: str = ""


def find(client: ExchangeClient, start: str) -> str:
    """The hash of the one agreement that begins so.

    Raises:
        AgreementError: none does, or several do.
    """
    listed = "List them: fedjoint holder status"
    if len(start) < _LEAST_LETTERS:
        raise AgreementError(f"'{start}' is too short", expected=f"{_LEAST_LETTERS} letters or more", remedy=listed)
    found = [one.sha256 for one in client.agreements().agreements if one.sha256.startswith(start.lower())]
    if len(found) != 1:
        raise AgreementError(
            f"{len(found) or 'no'} agreement{'s' * (len(found) > 1)} of this holder begin{'s' * (len(found) < 2)} with "
            f"'{start}'",
            expected="the beginning of one",
            remedy=listed,
        )
    return str(found[0])


def fetch(client: ExchangeClient, sha256: str, identity: Identity, exchange_key: str) -> SignedAgreement:
    """An agreement as the exchange gives it, checked: its hash, its signatures, and that it names these very parties.

    Args:
        client: Of the exchange.
        sha256: The agreement.
        identity: The holder.
        exchange_key: Signing key of the exchange that was joined.

    Raises:
        AgreementError: another document, one that names this holder with other keys, or another coordinator.
    """
    agreement = read_agreement(client.get_agreement(sha256))
    if agreement.sha256 != sha256:
        raise AgreementError(f"the exchange gave agreement {agreement.sha256[:16]}… for {sha256[:16]}…")
    if agreement.terms.holder(identity.id).identity != identity.public:
        raise AgreementError(
            f"the agreement names '{identity.id}' with other keys", remedy="Ask the exchange to propose it anew."
        )
    if agreement.terms.coordinator.signing_key != exchange_key:
        raise AgreementError("the agreement names another coordinator than the exchange that was joined")
    return agreement


def pick_dataset(home: Home, terms: Terms, name: str | None) -> DatasetNote:
    """The records that an agreement is about: those named, or the only ones with its very schema.

    Raises:
        DataError: no data set, or several, have that schema and none was named.
    """
    if name is not None:
        return dataset(home, name)
    fitting = [note for note in datasets(home) if note.schema == terms.data.schema]
    if len(fitting) != 1:
        names = ", ".join(note.name for note in fitting) or "none"
        raise DataError(f"data sets with the agreement's schema: {names}", remedy="Name one by --data NAME.")
    return fitting[0]


def sign(
    home: Home, client: ExchangeClient, agreement: SignedAgreement, note: DatasetNote, *, now: Callable[[], str]
) -> tuple[str, ...]:
    """Sign an agreement that policy and records allow, and hand the signature to the exchange.

    Returns:
        Ids of the parties whose signature is missing now.

    Raises:
        FedjointError: policy, records, registration or lifetime budget forbid it, or the exchange refuses.

    Guarantees:
        What is signed is on the disk before the signature leaves.
    """
    from fedjoint.training.holder import Holder

    terms, identity, at = agreement.terms, home.load_identity(), now()
    signed = SignedNote(
        agreement_sha256=agreement.sha256,
        dataset=note.name,
        schema=terms.data.schema,
        examples_sha256=(examples := examples_of(note, terms.data.schema)).sha256(),
        signed_at=at,
        registered=terms.holder(identity.id).dataset,
        purpose=terms.purpose,
    )
    require_allowed(home, signed, at=at)
    holder = Holder(
        identity,
        examples,
        policy_of(home),
        lifetime=lifetime_of(home, note, now=now),
        size=size_of(home, note),
    )
    signature = holder.sign(terms)
    replace_file(_path(home, agreement.sha256), canonical_bytes(signed), mode=0o600)
    _folder(home, agreement.sha256, identity.id).mark_signed(agreement.sha256)
    return tuple(client.sign(agreement.sha256, signature).unsigned_by)


def signed_for(home: Home, agreement_sha256: str) -> SignedNote:
    """What this holder signed an agreement for.

    Raises:
        AgreementError: it has not signed it here.
    """
    path = _path(home, agreement_sha256)
    if not path.exists():
        raise AgreementError(
            f"this holder has not signed agreement {agreement_sha256[:16]}…", remedy="Review and sign it first."
        )
    value = parse_canonical(path.read_bytes(), error=AgreementError, where=path.name)
    return build(SignedNote, value, error=AgreementError, where=path.name)


def require_allowed(home: Home, signed: SignedNote, *, at: str) -> None:
    """Refuse what the data set's registration does not allow today: to sign, and every task.

    Raises:
        PoolError: as :func:`fedjoint.node.registration.require_registered`.
    """
    day = date.fromisoformat(at[:10])
    require_registered(home, signed.dataset, agreed=signed.registered, purpose=signed.purpose, day=day)


def holder_for(home: Home, signed: SignedNote, *, now: Callable[[], str]) -> Holder:
    """The holder as it takes part in one agreement, going on where it stood when its process ended.

    Args:
        home: Its folder.
        signed: From :func:`signed_for`.
        now: Gives the time, ISO 8601 in UTC.

    Raises:
        DataError: its records cannot be read, or are others than those it signed for.
    """
    from fedjoint.training.holder import Holder

    note, examples = signed_examples(home, signed)
    identity = home.load_identity()
    return Holder(
        identity,
        examples,
        policy_of(home),
        lifetime=lifetime_of(home, note, now=now),
        size=size_of(home, note),
        store=_folder(home, signed.agreement_sha256, identity.id),
    )


def signed_examples(home: Home, signed: SignedNote) -> tuple[DatasetNote, Examples]:
    """The records that an agreement was signed for, encoded as it says.

    Raises:
        DataError: they cannot be read, or are others than those it was signed for.
    """
    note = dataset(home, signed.dataset)
    examples = examples_of(note, signed.schema)
    if examples.sha256() != signed.examples_sha256:
        raise DataError(
            f"the records of '{note.name}' are not those that agreement {signed.agreement_sha256[:16]}… was signed for",
            remedy="Put them back, or sign a new agreement for them.",
        )
    return note, examples


def _path(home: Home, agreement_sha256: str) -> Path:
    return home.agreements / f"{agreement_sha256}.json"


def _folder(home: Home, agreement_sha256: str, holder: str) -> HolderFolder:
    """One folder for each agreement, as each is for records of its own."""
    from fedjoint.training.holder_state import HolderFolder

    return HolderFolder(home.runs / agreement_sha256, holder=holder)
