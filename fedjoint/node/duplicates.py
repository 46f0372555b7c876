"""A search for records that another holder brings too, as three files: a question, its answer, and what came out.

The files travel however the two holders like. Each is signed, bound to one agreement and to two of its holders; who is
asked has consented in its own policy, answers each other holder once under an agreement, and about no more records than
the agreement states of the asker.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.agreement.review import load_policy
from fedjoint.agreement.signing import SignedAgreement
from fedjoint.data.duplicates import DuplicateAnswerer, DuplicateSeeker, record_digests
from fedjoint.data.records import Examples
from fedjoint.errors import AgreementError, DataError
from fedjoint.files import read_secret, replace_file
from fedjoint.identity.keys import Identity
from fedjoint.node.home import Home
from fedjoint.strict import build, plain, strict

__all__ = ["Answer", "Question", "Search", "answer", "ask", "compare"]

_T = TypeVar("_T")
_QUESTION, _ANSWER = "duplicates asked", "duplicates answered"
_MOST_BYTES = 1 << 30


@strict
@dataclass(frozen=True, kw_only=True)
class Question:
    """The asker's blinded digests, base64."""

    agreement_sha256: str
    asker: str
    asked: str
    request: str


@strict
@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the asker needs to recognise its own records, base64; only it can read anything in it."""

    agreement_sha256: str
    asker: str
    asked: str
    setup: str
    response: str


@strict
@dataclass(frozen=True, kw_only=True)
class _Signed:
    body: dict[str, Any]
    signature: str


@dataclass(frozen=True, kw_only=True)
class Search:
    """One holder's side of searches under one agreement.

    Args:
        home: Its folder.
        identity: Its keys.
        agreement: Under which records are compared: encoded alike, with digests of its own.
        examples: Its records, encoded.
    """

    home: Home
    identity: Identity
    agreement: SignedAgreement
    examples: Examples

    @property
    def digests(self) -> tuple[str, ...]:
        """Of the records, for this agreement alone."""
        return record_digests(self.examples, salt=bytes.fromhex(self.agreement.sha256))

    @property
    def folder(self) -> Path:
        """Secrets of questions, and who was answered."""
        return self.home.folder / "duplicates" / self.agreement.sha256


def ask(search: Search, asked: str) -> bytes:
    """Make the question for another holder; its secret stays in the holder's folder.

    Raises:
        InvalidValue: no such holder is in the agreement.
        DataError: it was asked before, it is this holder, or the library is missing.
    """
    search.agreement.terms.holder(asked)
    if asked == search.identity.id:
        raise DataError("a holder that is asked about its own records", expected="another holder's id")
    secret = search.folder / f"{asked}.secret"
    if secret.exists():
        raise DataError(f"'{asked}' was asked before under this agreement", remedy="It answers once.")
    seeker = DuplicateSeeker(search.digests)
    question = Question(
        agreement_sha256=search.agreement.sha256,
        asker=search.identity.id,
        asked=asked,
        request=base64.b64encode(seeker.request()).decode(),
    )
    search.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(secret, seeker.secret, mode=0o600)
    return _signed(search.identity, _QUESTION, question)


def answer(search: Search, data: bytes) -> bytes:
    """Answer another holder's question, once.

    Raises:
        AgreementError: this holder's policy does not allow it.
        IdentityError: the question is not signed by who is said to ask.
        DataError: another agreement or holder was meant, it was answered before, or asks about too many records.
    """
    if not load_policy(search.home.policy).allow_duplicate_search:
        raise AgreementError(
            f"'{search.identity.id}' answers nobody which records it has",
            remedy="Consent with allow_duplicate_search: true in policy.yaml.",
        )
    question = _read(search, data, Question, purpose=_QUESTION, signer="asker")
    if question.asked != search.identity.id or question.asker == search.identity.id:
        raise DataError(f"a question of '{question.asker}' for '{question.asked}'", expected="one for this holder")
    done = search.folder / f"{question.asker}.answered"
    if done.exists():
        raise DataError(f"'{question.asker}' was answered before under this agreement", remedy="It may ask once.")
    most = search.agreement.terms.holder(question.asker).num_examples
    setup, response = DuplicateAnswerer(search.digests, asker_num_examples=most).answer(_bytes(question.request))
    search.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(done, b"", mode=0o600)  # before the answer leaves
    found = Answer(
        agreement_sha256=search.agreement.sha256,
        asker=question.asker,
        asked=question.asked,
        setup=base64.b64encode(setup).decode(),
        response=base64.b64encode(response).decode(),
    )
    return _signed(search.identity, _ANSWER, found)


def compare(search: Search, data: bytes) -> tuple[str, tuple[int, ...]]:
    """What an answer says: who was asked, and the places of this holder's records that it has too.

    Raises:
        IdentityError: the answer is not signed by who was asked.
        DataError: it is no answer to this holder's question.
    """
    found = _read(search, data, Answer, purpose=_ANSWER, signer="asked")
    secret = search.folder / f"{found.asked}.secret"
    if found.asker != search.identity.id or not secret.exists():
        raise DataError(f"an answer of '{found.asked}' to '{found.asker}'", expected="one to this holder's question")
    seeker = DuplicateSeeker(search.digests, secret=read_secret(secret, most_bytes=1024))
    seeker.request()
    return found.asked, seeker.common(_bytes(found.setup), _bytes(found.response))


def _signed(identity: Identity, purpose: str, body: Question | Answer) -> bytes:
    return canonical_bytes(_Signed(body=plain(body), signature=identity.sign(purpose, canonical_bytes(body))))


def _read(search: Search, data: bytes, kind: type[_T], *, purpose: str, signer: str) -> _T:
    if len(data) > _MOST_BYTES:
        raise DataError(f"a file of {len(data)} bytes", expected=f"at most {_MOST_BYTES}")
    signed = build(_Signed, parse_canonical(data, error=DataError, where="file"), error=DataError, where="file")
    body: Any = build(kind, signed.body, error=DataError, where="file")
    if body.agreement_sha256 != search.agreement.sha256:
        raise DataError(
            f"a file about agreement {body.agreement_sha256[:16]!r}", expected=f"{search.agreement.sha256[:16]}…"
        )
    signer_id = getattr(body, signer)
    search.agreement.terms.holder(signer_id).identity.verify(purpose, canonical_bytes(body), signed.signature)
    found: _T = body
    return found


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise DataError("a file with malformed base64") from None
