from __future__ import annotations

import dataclasses
import re

import pytest

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.agreement.signing import (
    MAX_AGREEMENT_BYTES,
    SignedAgreement,
    read_agreement,
    sign_terms,
    statement_bytes,
    terms_sha256,
)
from fedjoint.errors import AgreementError
from fedjoint.identity.keys import Identity


def changed(signed: SignedAgreement, change) -> bytes:
    """The document after its plain JSON was changed, in canonical form again."""
    document = parse_canonical(signed.to_bytes(), error=AgreementError, where="agreement")
    change(document)
    return canonical_bytes(document)


def test_a_signed_agreement_survives_being_written_and_read(signed):
    read = read_agreement(signed.to_bytes())
    assert read == signed
    assert read.to_bytes() == signed.to_bytes()
    read.require_all_signatures()


@pytest.mark.parametrize("mask", [0x01, 0x20], ids=["neighbour", "case"])
def test_every_byte_of_the_document_that_is_flipped_is_refused(signed, mask):
    data = signed.to_bytes()
    for place in range(len(data)):
        altered = bytearray(data)
        altered[place] ^= mask
        with pytest.raises(AgreementError):
            read_agreement(bytes(altered))


def test_a_removed_or_doubled_byte_of_the_document_is_refused(signed):
    data = signed.to_bytes()
    for place in range(0, len(data), 7):
        for altered in (data[:place] + data[place + 1 :], data[:place] + data[place : place + 1] + data[place:]):
            with pytest.raises(AgreementError):
                read_agreement(altered)


def test_every_truncation_of_the_document_is_refused(signed):
    data = signed.to_bytes()
    for length in range(len(data)):
        with pytest.raises(AgreementError):
            read_agreement(data[:length])


def test_every_hex_letter_written_as_a_capital_is_refused(signed):
    data = signed.to_bytes()
    places = [m.start(1) + i for m in re.finditer(rb'"([0-9a-f]{64,})"', data) for i in range(len(m.group(1)))]
    letters = [place for place in places if data[place : place + 1].isalpha()]
    assert len(letters) > 100
    for place in letters:
        with pytest.raises(AgreementError):
            read_agreement(data[:place] + data[place : place + 1].upper() + data[place + 1 :])


@pytest.mark.parametrize("around", [(b"", b"\n"), (b" ", b""), (b"", b" "), (b"", b"\x00"), (b"\xef\xbb\xbf", b"")])
def test_white_space_around_the_document_is_refused(signed, around):
    with pytest.raises(AgreementError):
        read_agreement(around[0] + signed.to_bytes() + around[1])


def test_changed_terms_are_refused_with_the_old_hash_and_with_the_new_one(signed):
    def pay_less(document):
        document["terms"]["money"]["exchange_fee_bp"] = 2_000

    with pytest.raises(AgreementError, match="was altered after signing"):
        read_agreement(changed(signed, pay_less))

    def pay_less_and_hash(document):
        pay_less(document)
        document["sha256"] = terms_sha256(
            dataclasses.replace(signed.terms, money=dataclasses.replace(signed.terms.money, exchange_fee_bp=2_000))
        )

    with pytest.raises(AgreementError, match="the signature for 'agreement' is not that of"):
        read_agreement(changed(signed, pay_less_and_hash))


def test_swapped_signatures_are_refused(signed):
    def swap(document):
        signatures = document["signatures"]
        signatures["basel"], signatures["zurich"] = signatures["zurich"], signatures["basel"]

    with pytest.raises(AgreementError, match="is not that of"):
        read_agreement(changed(signed, swap))


def test_a_signature_of_no_party_is_refused(signed):
    def add(document):
        document["signatures"]["stranger"] = document["signatures"]["basel"]

    with pytest.raises(
        AgreementError, match="'stranger' signed and is no party; expected one of: basel, zurich, exchange"
    ):
        read_agreement(changed(signed, add))


@pytest.mark.parametrize("key", ["extra", "Terms"])
def test_an_unknown_key_is_refused_with_the_nearest_one(signed, key):
    with pytest.raises(AgreementError, match=rf"unknown key 'agreement\.{key}'"):
        read_agreement(changed(signed, lambda document: document.update({key: 1})))


@pytest.mark.parametrize("key", ["terms", "sha256"])
def test_a_missing_key_is_refused_by_name(signed, key):
    with pytest.raises(AgreementError, match=rf"missing key 'agreement\.{key}'"):
        read_agreement(changed(signed, lambda document: document.pop(key)))


def test_a_document_above_the_limit_is_refused_unread():
    with pytest.raises(AgreementError, match=f"at most {MAX_AGREEMENT_BYTES}"):
        read_agreement(bytes(MAX_AGREEMENT_BYTES + 1))


def test_parties_sign_one_by_one_and_nothing_runs_before_the_last(compose, parties):
    terms = compose()
    agreement = SignedAgreement(terms=terms, sha256=terms_sha256(terms))
    for number, party in enumerate(parties):
        assert agreement.unsigned == ("basel", "zurich", "exchange")[number:]
        with pytest.raises(AgreementError, match="lacks the signature of " + ", ".join(agreement.unsigned)):
            agreement.require_all_signatures()
        agreement = agreement.with_signatures({party.id: sign_terms(terms, party)})
    agreement.require_all_signatures()


def test_a_signature_added_later_is_checked_too(compose, parties):
    terms = compose()
    agreement = SignedAgreement(terms=terms, sha256=terms_sha256(terms))
    with pytest.raises(AgreementError, match="is not that of 'basel'"):
        agreement.with_signatures({"basel": sign_terms(terms, parties[1])})


def test_only_a_party_with_the_keys_in_the_terms_can_sign(compose):
    for stranger in (Identity.create("stranger", "S"), Identity.create("basel", "Basel")):
        with pytest.raises(AgreementError, match=f"'{stranger.id}' is no party of this agreement with these keys"):
            sign_terms(compose(), stranger)


def test_a_signature_made_for_another_purpose_does_not_sign_the_agreement(compose, parties):
    terms = compose()
    payload = bytes.fromhex(terms_sha256(terms))
    agreement = SignedAgreement(terms=terms, sha256=terms_sha256(terms))
    for purpose in ("record", "join", "agreement "):
        with pytest.raises(AgreementError, match="is not that of 'basel'"):
            agreement.with_signatures({"basel": parties[0].sign(purpose, payload)})


def test_another_seed_is_another_agreement(compose):
    terms = compose()
    other = compose(training=dataclasses.replace(terms.training, seed=1))
    assert terms_sha256(terms) == terms_sha256(compose()) != terms_sha256(other)


def test_a_statement_is_bound_to_agreement_run_and_facts():
    usual = ("ab" * 32, "cd" * 16, {"round": 1})
    others = [("ac" * 32, *usual[1:]), (usual[0], "ce" * 16, usual[2]), (*usual[:2], {"round": 2})]
    assert statement_bytes(*usual) == statement_bytes(*usual)
    assert len({statement_bytes(*usual), *(statement_bytes(*other) for other in others)}) == 4


def test_facts_without_canonical_form_are_not_signed():
    with pytest.raises(AgreementError, match="no canonical JSON"):
        statement_bytes("ab" * 32, "cd" * 16, {"x": float("nan")})
