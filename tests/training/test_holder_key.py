"""What a holder refuses of a run's key, each by a task sent to it directly."""

from dataclasses import replace

import pytest

from fedjoint.errors import EncryptionError, IdentityError, InvalidValue
from fedjoint.training.plan import ContributionsTask, Opening, OpenTask, Parcel, RoundTask, TakeKeyTask
from tests.fakes import LOCAL_PRIVACY, DirectChannel, begin, make_consortium


def joined(parties):
    for holder in parties.holders.values():
        holder.answer("join", Parcel(body=parties.task(), blobs={"agreement": parties.agreement.to_bytes()}))
    return parties


def test_a_key_is_made_once_and_sealed_again_when_asked_again():
    parties = make_consortium()
    begin(parties, DirectChannel(holders=parties.holders)).coordinator.prepare()
    again = parties.holders["ahus"].answer("make_key", Parcel(body=parties.task()))
    assert again.body.acknowledgement.key_id == parties.secret_key("bern").key_id
    with pytest.raises(EncryptionError, match="has a key of this run already"):
        parties.holders["bern"].answer("make_key", Parcel(body=parties.task()))


def test_a_key_is_taken_once_and_acknowledged_again_when_offered_again():
    parties = joined(make_consortium())
    offers = offered(parties)
    assert take(parties, offers["bern"]) == take(parties, offers["bern"])
    with pytest.raises(EncryptionError, match="has a key of this run already"):
        take(parties, offered(parties, maker="cork")["bern"])


def offered(parties, maker="ahus"):
    made = parties.holders[maker].answer("make_key", Parcel(body=parties.task())).body
    return {offer.recipient: offer for offer in made.offers}


def take(parties, offer, holder="bern"):
    task = TakeKeyTask(**parties.session.address, offer=offer)
    return parties.holders[holder].answer("take_key", Parcel(body=task))


def test_an_offer_that_somebody_else_signed_is_refused():
    parties = joined(make_consortium())
    with pytest.raises(IdentityError, match="'key-offer'"):
        take(parties, replace(offered(parties)["bern"], maker="cork"))


def test_an_offer_of_the_coordinator_is_refused():
    parties = joined(make_consortium())
    with pytest.raises(InvalidValue, match="'exchange' is no holder"):
        take(parties, replace(offered(parties)["bern"], maker="exchange"))


def test_an_offer_for_another_holder_is_refused():
    parties = joined(make_consortium())
    with pytest.raises(EncryptionError, match="offered to 'cork'"):
        take(parties, offered(parties)["cork"])


def test_an_offer_for_another_run_is_refused():
    parties = joined(make_consortium())
    offer = offered(parties)["bern"]
    parties.holders["cork"].answer(
        "join",
        Parcel(body=replace(parties.task(), run_id="ab" * 16), blobs={"agreement": parties.agreement.to_bytes()}),
    )
    task = TakeKeyTask(agreement_sha256=parties.agreement.sha256, run_id="ab" * 16, offer=offer)
    with pytest.raises(EncryptionError, match="for run"):
        parties.holders["cork"].answer("take_key", Parcel(body=task))


def test_without_a_key_nothing_is_trained_and_nothing_spent():
    parties = joined(make_consortium(privacy=replace(LOCAL_PRIVACY, epsilon=1.4)))  # enough for one round
    task = Parcel(body=RoundTask(**parties.session.address, round=1))
    with pytest.raises(EncryptionError, match="no key of this run yet"):
        parties.holders["ahus"].answer("train", task)
    offered(parties)
    assert parties.holders["ahus"].answer("train", task).body.receipt.epsilon == pytest.approx(1.352, abs=1e-3)


def test_without_a_key_nothing_is_opened():
    parties = joined(make_consortium())
    task = ContributionsTask(**parties.session.address, samples=(), confirmations={})
    with pytest.raises(EncryptionError, match="no key of this run yet"):
        parties.holders["ahus"].answer("open_contributions", Parcel(body=task))
    opening = Opening(round=1, contributors=("ahus", "bern", "cork"), reveal=True, confirmations={})
    with pytest.raises(EncryptionError, match="no key of this run yet"):
        parties.holders["ahus"].answer(
            "open_sum", Parcel(body=OpenTask(**parties.session.address, opening=opening), blobs={"sum": b"x"})
        )
