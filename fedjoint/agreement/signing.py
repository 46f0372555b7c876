"""The agreement as a document: terms, their hash, and every party's signature."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical, sha256_hex
from fedjoint.agreement.terms import Terms
from fedjoint.errors import AgreementError, IdentityError
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.strict import build, strict

__all__ = [
    "MAX_AGREEMENT_BYTES",
    "SignedAgreement",
    "read_agreement",
    "sign_terms",
    "statement_bytes",
    "terms_sha256",
]

#: A schema of 2,000 columns with 200 categories each stays below this.
MAX_AGREEMENT_BYTES = 32 << 20
_PURPOSE = "agreement"


@strict
@dataclass(frozen=True, kw_only=True)
class SignedAgreement:
    """Terms with the signatures of the parties so far.

    Guarantees:
        ``sha256`` is that of the terms, and every signature given is the named party's over exactly these terms.
    """

    terms: Terms
    sha256: str
    signatures: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        actual = terms_sha256(self.terms)
        if self.sha256 != actual:
            raise AgreementError(
                f"the agreement says its hash is {self.sha256[:16]}… and its terms hash to {actual[:16]}…",
                remedy="It was altered after signing: ask the coordinator for the signed document; or another release "
                "of fedjoint made it, whose terms are others: use that one.",
            )
        parties = _parties(self.terms)
        for party_id, signature in self.signatures.items():
            if party_id not in parties:
                raise AgreementError(f"'{party_id}' signed and is no party", expected="one of: " + ", ".join(parties))
            try:
                parties[party_id].verify(_PURPOSE, bytes.fromhex(actual), signature)
            except IdentityError as problem:
                raise AgreementError(str(problem)) from None

    @property
    def unsigned(self) -> tuple[str, ...]:
        """Ids of the parties whose signature is missing."""
        return tuple(party for party in _parties(self.terms) if party not in self.signatures)

    def require_all_signatures(self) -> None:
        """Refuse to run what somebody has not signed.

        Raises:
            AgreementError: names the parties whose signature is missing.
        """
        if self.unsigned:
            raise AgreementError(
                "the agreement lacks the signature of " + ", ".join(self.unsigned),
                remedy="Each party must sign it first.",
            )

    def with_signatures(self, signatures: Mapping[str, str]) -> SignedAgreement:
        """The same agreement with more signatures, each checked."""
        return SignedAgreement(terms=self.terms, sha256=self.sha256, signatures={**self.signatures, **signatures})

    def to_bytes(self) -> bytes:
        """The document as canonical JSON."""
        return canonical_bytes(self)


def _parties(terms: Terms) -> dict[str, PublicIdentity]:
    everyone: Iterable[PublicIdentity] = (*(holder.identity for holder in terms.holders), terms.coordinator)
    return {party.id: party for party in everyone}


def terms_sha256(terms: Terms) -> str:
    """What identifies an agreement: SHA-256 of the terms' canonical JSON."""
    return sha256_hex(canonical_bytes(terms))


def sign_terms(terms: Terms, party: Identity) -> str:
    """A party's signature of the terms, for :meth:`SignedAgreement.with_signatures`.

    Raises:
        AgreementError: the signer is no party of these terms, or its keys are not the ones written there.
    """
    if _parties(terms).get(party.id) != party.public:
        raise AgreementError(f"'{party.id}' is no party of this agreement with these keys")
    return party.sign(_PURPOSE, bytes.fromhex(terms_sha256(terms)))


def read_agreement(data: bytes) -> SignedAgreement:
    """Read the document that :meth:`SignedAgreement.to_bytes` wrote.

    Raises:
        AgreementError: too large, not canonical JSON, an unknown or missing key, a wrong hash or a false signature.
    """
    if len(data) > MAX_AGREEMENT_BYTES:
        raise AgreementError(f"the agreement has {len(data)} bytes", expected=f"at most {MAX_AGREEMENT_BYTES}")
    return build(
        SignedAgreement,
        parse_canonical(data, error=AgreementError, where="agreement"),
        error=AgreementError,
        where="agreement",
    )


def statement_bytes(agreement_sha256: str, run_id: str, facts: Any) -> bytes:
    """What a holder signs during a run: facts, bound to one agreement and one run.

    Args:
        agreement_sha256: The agreement.
        run_id: The run.
        facts: Plain JSON values or frozen dataclasses.
    """
    return canonical_bytes(
        {"agreement_sha256": agreement_sha256, "run_id": run_id, "facts_sha256": sha256_hex(canonical_bytes(facts))}
    )
