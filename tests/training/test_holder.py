from dataclasses import replace

import pytest

from fedjoint.agreement.review import HolderPolicy
from fedjoint.agreement.signing import SignedAgreement, terms_sha256
from fedjoint.errors import AgreementError, EncryptionError, InvalidValue, TrainingError
from fedjoint.identity.keys import Identity
from fedjoint.training.holder import Holder
from fedjoint.training.plan import Opening, OpenTask, Parcel, RoundTask
from tests.fakes import (
    ANYTHING,
    LOCAL_PRIVACY,
    DirectChannel,
    begin,
    complete,
    examples,
    flip_bit,
    make_consortium,
    sign_by_all,
)


@pytest.fixture
def parties():
    return make_consortium()


def join(parties, agreement=None, **task):
    body = replace(parties.task(), **task)
    document = (agreement or parties.agreement).to_bytes()
    return parties.holders["ahus"].answer("join", Parcel(body=body, blobs={"agreement": document}))


def other_policy(parties, **limits):
    return Holder(parties.identities["ahus"], parties.records["ahus"], HolderPolicy(allow_exact_size=True, **limits))


def test_a_holder_proves_that_it_takes_part(parties):
    reply = join(parties).body
    parties.session.check("ahus", "join", {"holder": "ahus"}, reply.signature)


def test_terms_that_certify_another_number_of_examples_are_not_signed(parties):
    holder = Holder(parties.identities["ahus"], examples(41, seed=1), ANYTHING)
    with pytest.raises(AgreementError, match="certifies 40 examples of 'ahus', which has another"):
        holder.sign(parties.terms)


@pytest.mark.parametrize(
    ("privacy", "limits", "objection"),
    [
        (None, {}, "privacy.mode = none where the policy allows 'local' or 'joint'"),
        (LOCAL_PRIVACY, {"maximum_epsilon": 3.0}, "epsilon = 50 where the policy allows at most 3"),
        (
            LOCAL_PRIVACY,
            {"maximum_delta": 1e-6, "maximum_epsilon": 99.0},
            "delta = 0.001 where the policy allows at most 1e-06",
        ),
        (replace(LOCAL_PRIVACY, insecure_seed=1), {"maximum_epsilon": 99.0}, "makes the noise predictable"),
    ],
)
def test_terms_that_the_policy_forbids_are_not_signed(privacy, limits, objection):
    parties = make_consortium(**({"privacy": privacy} if privacy else {}))
    with pytest.raises(AgreementError, match=objection):
        other_policy(parties, **limits).sign(parties.terms)


def test_terms_of_others_are_not_signed(parties):
    stranger = Holder(Identity.create("ahus", "Another Ahus"), parties.records["ahus"], ANYTHING)
    with pytest.raises(AgreementError, match="no party of this agreement with these keys"):
        stranger.sign(parties.terms)


def test_an_agreement_that_the_holder_has_not_signed_is_refused(parties):
    others = make_consortium()
    with pytest.raises(AgreementError, match="'ahus' has not signed"):
        join(parties, others.agreement, agreement_sha256=others.agreement.sha256)


def test_a_signature_made_by_an_earlier_process_is_not_enough_to_join(parties):
    forgetful = Holder(parties.identities["ahus"], parties.records["ahus"], ANYTHING)
    with pytest.raises(AgreementError, match="has not signed"):
        forgetful.answer("join", Parcel(body=parties.task(), blobs={"agreement": parties.agreement.to_bytes()}))


def test_an_agreement_that_lacks_a_signature_is_refused_and_names_who_did_not_sign(parties):
    signatures = {party: s for party, s in parties.agreement.signatures.items() if party not in ("bern", "exchange")}
    partly = SignedAgreement(terms=parties.terms, sha256=parties.agreement.sha256, signatures=signatures)
    with pytest.raises(AgreementError, match="lacks the signature of bern, exchange"):
        join(parties, partly)


def test_a_tampered_agreement_is_refused(parties):
    document = parties.agreement.to_bytes()
    longer = document.replace(b'"rounds":3', b'"rounds":9')
    assert longer != document
    for altered in (longer, flip_bit(document, len(document) // 2), document[:-1], b"", b"{}"):
        with pytest.raises(AgreementError):
            parties.holders["ahus"].answer("join", Parcel(body=parties.task(), blobs={"agreement": altered}))


def test_terms_changed_and_hashed_again_are_refused(parties):
    longer = replace(parties.terms, training=replace(parties.terms.training, rounds=9))
    with pytest.raises(AgreementError):
        SignedAgreement(terms=longer, sha256=terms_sha256(longer), signatures=parties.agreement.signatures)
    unsigned = SignedAgreement(terms=longer, sha256=terms_sha256(longer))
    with pytest.raises(AgreementError, match="has not signed"):
        join(parties, unsigned, agreement_sha256=unsigned.sha256)


def test_a_task_that_names_another_agreement_than_it_brings_is_refused(parties):
    with pytest.raises(AgreementError, match="has not signed"):
        join(parties, agreement_sha256="ab" * 32)


def test_a_malformed_run_id_is_refused(parties):
    with pytest.raises(InvalidValue, match="run_id"):
        join(parties, run_id="first")


def test_a_run_that_is_joined_again_goes_on_and_does_not_start_anew(parties):
    first = join(parties)
    run = parties.holders["ahus"]._runs[parties.agreement.sha256]
    assert join(parties) == first
    assert parties.holders["ahus"]._runs[parties.agreement.sha256] is run


def test_a_run_that_never_began_to_train_may_be_started_again_under_another_id(parties):
    join(parties)
    join(parties, run_id="ab" * 16)
    with pytest.raises(AgreementError, match="has not joined this run"):
        parties.holders["ahus"].answer("make_key", Parcel(body=parties.task()))
    with pytest.raises(TrainingError, match="was joined before"):
        join(parties)


def test_an_agreement_is_run_once_so_that_its_epsilon_is_spent_once():
    parties = make_consortium(privacy=LOCAL_PRIVACY)
    begin(parties, DirectChannel(holders=parties.holders)).coordinator.prepare()
    parties.holders["ahus"].answer("train", Parcel(body=RoundTask(**parties.session.address, round=1)))
    with pytest.raises(AgreementError, match="was run before"):
        join(parties, run_id="ab" * 16)


def test_a_new_agreement_of_the_same_parties_is_a_run_of_its_own(parties):
    begin(parties, DirectChannel(holders=parties.holders)).coordinator.prepare()
    parties.holders["ahus"].answer("train", Parcel(body=RoundTask(**parties.session.address, round=1)))
    again = sign_by_all(replace(parties.terms, title="A second study"), parties.coordinator, parties.holders)
    join(parties, again, agreement_sha256=again.sha256, run_id="ab" * 16)


@pytest.mark.parametrize(
    "kind", ["make_key", "train", "confirm", "open_sum", "open_contributions", "put", "get", "finish"]
)
def test_nothing_is_done_in_a_run_that_was_not_joined(parties, kind):
    for address in ({}, {"run_id": "ab" * 16}, {"agreement_sha256": "ab" * 32}):
        with pytest.raises(AgreementError, match="has not joined this run under this agreement"):
            parties.holders["ahus"].answer(kind, Parcel(body=replace(parties.task(), **address)))
        if not address:
            join(parties)


def test_a_task_of_another_type_is_refused(parties):
    join(parties)
    opening = Opening(round=1, contributors=("ahus", "bern"), reveal=True, confirmations={})
    wrong = {
        "train": OpenTask(**parties.session.address, opening=opening),
        "open_sum": RoundTask(**parties.session.address, round=1),
        "open_contributions": parties.task(),
        "take_key": parties.task(),
        "confirm": parties.task(),
        "put": parties.task(),
        "get": parties.task(),
    }
    for kind, body in wrong.items():
        with pytest.raises(TrainingError, match="a task of type"):
            parties.holders["ahus"].answer(kind, Parcel(body=body))
    with pytest.raises(TrainingError, match="a task of type str; expected Task"):
        parties.holders["ahus"].answer("join", Parcel(body="join"))


def test_a_closed_holder_has_wiped_its_keys_and_opens_nothing_more():
    parties = make_consortium()
    complete(parties)
    keys = {holder: parties.secret_key(holder) for holder in parties.holders}
    for holder, key in keys.items():
        parties.holders[holder].close()
        with pytest.raises(EncryptionError, match="was wiped"):
            key.coefficients()
        parties.holders[holder].close()  # twice does no harm
