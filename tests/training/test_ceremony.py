from dataclasses import replace

import pytest

from fedjoint.agreement.signing import SignedAgreement
from fedjoint.encryption.ceremony import acknowledge
from fedjoint.encryption.tenseal_scheme import create_key
from fedjoint.errors import AgreementError, TrainingError
from fedjoint.training.ceremony import join_holders
from tests.fakes import DirectChannel, begin, changed, gone, lost, make_consortium


def prepare(parties, **channel):
    run = begin(parties, DirectChannel(holders=parties.holders, **channel))
    run.coordinator.prepare()
    return run


def to(kind, holder, change):
    """Meddle with one holder's replies of one kind."""
    return lambda got, sender, reply: change(reply) if (got, sender) == (kind, holder) else reply


def false_signature(reply):
    return changed(reply, signature="0" * 128)


@pytest.fixture
def parties():
    return make_consortium()


def test_all_holders_end_with_the_key_of_the_first(parties):
    run = prepare(parties)
    (shared,) = run.facts("key.shared")
    assert run.coordinator.holders == ("ahus", "bern", "cork")
    assert (shared["maker"], shared["key_id"], shared["refusals"]) == ("ahus", run.coordinator.key_id, {})
    assert sorted(shared["acknowledgements"]) == ["ahus", "bern", "cork"]
    assert {ack["key_id"] for ack in shared["acknowledgements"].values()} == {run.coordinator.key_id}
    assert run.facts("holders.joined") == [{"holders": ["ahus", "bern", "cork"], "refusals": {}}]


def test_an_unsigned_agreement_is_not_even_sent(parties):
    unsigned = replace(parties.session, agreement=SignedAgreement(terms=parties.terms, sha256=parties.agreement.sha256))
    channel = DirectChannel(holders=parties.holders)
    with pytest.raises(AgreementError, match="lacks the signature of ahus, bern, cork, exchange"):
        join_holders(channel, unsigned, lambda kind, body: None)
    assert channel.asked == []


def test_a_holder_that_does_not_join_is_left_out(parties):
    run = prepare(parties, reachable=gone("bern", when=lambda kind, body: kind == "join"))
    assert run.coordinator.holders == ("ahus", "cork")
    assert run.facts("holders.joined") == [{"holders": ["ahus", "cork"], "refusals": {"bern": "holder.silent"}}]


def test_a_holder_that_proves_nothing_is_left_out(parties):
    run = prepare(parties, meddle=to("join", "bern", false_signature))
    assert run.coordinator.holders == ("ahus", "cork")
    assert run.facts("holders.joined")[0]["refusals"] == {"bern": "identity.refused"}


def test_the_proof_of_another_run_is_none(parties):
    stale = parties.next_run().sign(parties.identities["bern"], "join", {"holder": "bern"})
    run = prepare(parties, meddle=to("join", "bern", lambda reply: changed(reply, signature=stale)))
    assert run.coordinator.holders == ("ahus", "cork")


def test_too_few_holders_are_an_error_that_says_why():
    parties = make_consortium(minimum_holders=3)
    with pytest.raises(TrainingError, match=r"2 holders take part, the agreement asks for 3\. bern: no word from bern"):
        prepare(parties, reachable=gone("bern", when=lambda kind, body: kind == "join"))
    parties = make_consortium(minimum_holders=3)
    with pytest.raises(TrainingError, match=r"2 holders take part, the agreement asks for 3\. cork: no word from cork"):
        prepare(parties, reachable=gone("cork", when=lambda kind, body: kind == "take_key"))


def test_when_the_maker_vanishes_the_next_holder_makes_the_key(parties):
    run = prepare(parties, reachable=gone("ahus", when=lambda kind, body: kind == "make_key"))
    assert run.facts("key.shared")[0]["maker"] == "bern"
    assert run.coordinator.holders == ("bern", "cork")


def test_when_the_makers_key_gets_lost_it_is_never_used(parties):
    run = prepare(parties, meddle=to("make_key", "ahus", lambda reply: lost("ahus")))
    assert run.facts("key.shared")[0]["maker"] == "bern"
    assert run.coordinator.holders == ("bern", "cork")


def test_a_maker_that_does_not_stand_by_its_key_is_passed_over(parties):
    def forge(reply):
        return changed(reply, acknowledgement=replace(reply.body.acknowledgement, signature="0" * 128))

    run = prepare(parties, meddle=to("make_key", "ahus", forge))
    assert run.facts("key.shared")[0]["refusals"] == {"ahus": "identity.refused"}
    assert run.coordinator.holders == ("bern", "cork")


def test_nobody_to_make_a_key_is_an_error(parties):
    with pytest.raises(TrainingError, match=r"no holder made a key\. no word from ahus; no word from bern"):
        prepare(parties, reachable=lambda kind, holder, body: kind != "make_key")


@pytest.mark.parametrize("holder", ["bern", "cork"])
def test_a_holder_that_does_not_get_the_key_is_left_out(parties, holder):
    run = prepare(parties, reachable=gone(holder, when=lambda kind, body: kind == "take_key"))
    assert run.coordinator.holders == tuple(sorted({"ahus", "bern", "cork"} - {holder}))


def test_a_holder_whose_acknowledgement_is_false_is_left_out(parties):
    run = prepare(parties, meddle=to("take_key", "bern", false_signature))
    assert run.coordinator.holders == ("ahus", "cork")
    assert run.facts("key.shared")[0]["refusals"] == {"bern": "identity.refused"}


def test_a_holder_that_acknowledges_another_key_is_left_out(parties):
    def other_key(reply):
        key, identity = create_key(parties.session.parameters, parties.session.binding), parties.identities["bern"]
        return replace(reply, body=acknowledge(key, holder=identity))

    run = prepare(parties, meddle=to("take_key", "bern", other_key))
    assert run.coordinator.holders == ("ahus", "cork")
    assert run.facts("key.shared")[0]["refusals"] == {"bern": "encryption.refused"}


def test_a_maker_that_seals_another_key_to_a_holder_loses_that_holder(parties):
    def mix(reply):
        bern, cork = reply.body.offers
        return changed(reply, offers=(replace(bern, box=cork.box), cork))

    run = prepare(parties, meddle=to("make_key", "ahus", mix))
    assert run.coordinator.holders == ("ahus", "cork")


def test_a_maker_that_offers_the_key_to_nobody_ends_the_run(parties):
    with pytest.raises(TrainingError, match="1 holders take part"):
        prepare(parties, meddle=to("make_key", "ahus", lambda reply: changed(reply, offers=())))
