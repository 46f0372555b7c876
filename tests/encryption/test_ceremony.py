import json
from dataclasses import replace

import pytest

from fedjoint.encryption.binding import Binding
from fedjoint.encryption.ceremony import (
    Acknowledgement,
    KeyOffer,
    _signed_bytes,
    acknowledge,
    check_acknowledgement,
    check_possession,
    make_offers,
    take_key,
)
from fedjoint.errors import EncryptionError, IdentityError, InvalidValue
from fedjoint.identity.keys import Identity
from fedjoint.strict import build, plain

MAKER, TAKER, OTHER, COORDINATOR = (Identity.create(name, name) for name in ("maker", "taker", "other", "coordinator"))
ANOTHER_RUN = Binding(agreement_sha256="ab" * 32, run_id="ef" * 16)


@pytest.fixture
def offers(agree, key_of):
    return make_offers(key_of(agree()), maker=MAKER, recipients=[TAKER.public, OTHER.public])


def take(offer, agreed, binding, recipient=TAKER):
    return take_key(offer, recipient=recipient, maker=MAKER.public, binding=binding, parameters=agreed)


def signed_by(identity, offer):
    unsigned = replace(offer, signature="")
    return replace(unsigned, signature=identity.sign("key-offer", _signed_bytes(unsigned)))


def test_each_holder_gets_the_makers_key_through_json(agree, key_of, offers, binding):
    for offer, recipient in zip(offers, (TAKER, OTHER), strict=True):
        wire = json.dumps(plain(offer))
        assert len(wire) < 3_500
        key = take(build(KeyOffer, json.loads(wire)), agree(), binding, recipient)
        assert (key.coefficients() == key_of(agree()).coefficients()).all()


def test_the_coordinator_who_relays_finds_no_key_in_the_offer(agree, key_of, offers, binding):
    packed = key_of(agree()).pack()
    assert all(packed not in bytes.fromhex(offer.box) for offer in offers)
    with pytest.raises(EncryptionError, match="offered to 'taker'"):
        take(offers[0], agree(), binding, COORDINATOR)
    with pytest.raises(IdentityError, match="cannot open"):
        take(signed_by(MAKER, replace(offers[0], recipient=COORDINATOR.id)), agree(), binding, COORDINATOR)


def test_a_coordinator_that_puts_its_own_key_in_place_is_refused(agree, key_of, binding):
    own = make_offers(key_of(agree(), 7), maker=COORDINATOR, recipients=[TAKER.public])[0]
    for offer in (own, replace(own, maker=MAKER.id), signed_by(COORDINATOR, replace(own, maker=MAKER.id))):
        with pytest.raises(IdentityError, match="not that of 'maker'"):
            take(offer, agree(), binding)


def test_a_box_of_another_key_under_the_makers_signature_is_refused_before_it_is_opened(agree, key_of, offers, binding):
    other = make_offers(key_of(agree(), 7), maker=COORDINATOR, recipients=[TAKER.public])[0]
    with pytest.raises(IdentityError, match="not that of 'maker'"):
        take(replace(offers[0], box=other.box), agree(), binding)


@pytest.mark.parametrize("field", ["binding", "key_id", "maker", "recipient", "box", "signature"])
def test_an_offer_altered_anywhere_is_refused(agree, offers, binding, field):
    altered = {"binding": ANOTHER_RUN, "key_id": "0" * 64, "maker": "x", "recipient": "x", "box": "00", "signature": ""}
    with pytest.raises(IdentityError, match="not that of 'maker'"):
        take(replace(offers[0], **{field: altered[field]}), agree(), binding)


def test_an_offer_of_another_run_or_holder_is_refused(agree, offers, binding):
    with pytest.raises(EncryptionError, match="for run"):
        take(offers[0], agree(), ANOTHER_RUN)
    with pytest.raises(EncryptionError, match="offered to 'other'"):
        take(offers[1], agree(), binding)


def test_a_key_for_other_parameters_is_refused(agree, offers, binding):
    with pytest.raises(EncryptionError, match="the key offered as"):
        take(offers[0], agree(rounds=9), binding)


def test_a_maker_whose_key_id_is_not_that_of_the_key_is_refused(agree, key_of, binding):
    wrong_id = key_of(agree(), 7).key_id
    purpose = f"key/{binding.agreement_sha256}/{binding.run_id}/{wrong_id}/{TAKER.id}"
    box = TAKER.public.seal(purpose, key_of(agree()).pack()).hex()
    offer = KeyOffer(binding=binding, key_id=wrong_id, maker=MAKER.id, recipient=TAKER.id, box=box)
    with pytest.raises(EncryptionError, match="the key offered as"):
        take(signed_by(MAKER, offer), agree(), binding)


@pytest.mark.parametrize("box", ["zz", "0" * 9_000])
def test_a_box_that_is_not_hex_or_too_large_is_refused(agree, offers, binding, box):
    with pytest.raises(EncryptionError, match="sealed key"):
        take(signed_by(MAKER, replace(offers[0], box=box)), agree(), binding)


def test_an_offer_with_an_unknown_key_in_its_json_is_refused(offers):
    with pytest.raises(InvalidValue, match="unknown key"):
        build(KeyOffer, plain(offers[0]) | {"extra": 1})


def test_all_holders_of_one_key_acknowledge_alike(agree, key_of, binding):
    key = key_of(agree())
    for holder in (MAKER, TAKER):
        said = build(Acknowledgement, plain(acknowledge(key_of(agree()), holder=holder)))
        check_acknowledgement(said, holder=holder.public, binding=binding, key_id=key.key_id)
        check_possession(said, key)


def test_an_acknowledgement_of_another_key_run_or_holder_is_refused(agree, key_of, binding):
    key = key_of(agree())
    said = acknowledge(key, holder=TAKER)
    with pytest.raises(EncryptionError, match="has key"):
        check_acknowledgement(said, holder=TAKER.public, binding=binding, key_id=key_of(agree(), 7).key_id)
    with pytest.raises(EncryptionError, match="has key"):
        check_acknowledgement(said, holder=TAKER.public, binding=ANOTHER_RUN, key_id=key.key_id)
    for forged, holder in ((said, OTHER), (replace(said, key_id="0" * 64), TAKER), (replace(said, tag=""), TAKER)):
        with pytest.raises(IdentityError, match="key-acknowledgement"):
            check_acknowledgement(forged, holder=holder.public, binding=binding, key_id=key.key_id)


def test_who_acknowledges_a_key_it_does_not_have_is_found_by_those_who_have_it(agree, key_of):
    key, other = key_of(agree()), key_of(agree(), 7)
    said = acknowledge(other, holder=TAKER)
    copied = replace(acknowledge(key, holder=OTHER), holder=TAKER.id)
    for lie in (said, replace(said, key_id=key.key_id), copied, replace(said, tag="ü")):
        with pytest.raises(EncryptionError, match="does not have"):
            check_possession(lie, key)
