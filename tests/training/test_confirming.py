"""A coordinator that cheats: whatever it asks for, two sums of one round are not both opened."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest

from fedjoint.agreement.terms import MAX_HOLDERS, Terms
from fedjoint.encryption.opened import ToOpen
from fedjoint.encryption.scratch import sha256_of
from fedjoint.errors import EncryptionError, Equivocation, InvalidValue, QuorumMissing, TrainingError, ValuationError
from fedjoint.identity.keys import Identity
from fedjoint.training.confirming import require_quorum
from fedjoint.training.plan import ConfirmTask, Opening, OpenTask, Parcel, RoundTask
from tests.fakes import (
    SIZES,
    DirectChannel,
    begin,
    complete,
    confirmations,
    gone,
    make_consortium,
    sum_frame,
    train,
)

ALL = ("ahus", "bern", "cork")
FIVE = SIZES | {"delft": 25, "evora": 22}


class Cheater:
    """A coordinator with the updates of round 1 in its hands, that asks holders for what it likes."""

    def __init__(self, sizes=SIZES, **agreed):
        self.parties = make_consortium(sizes, **agreed)
        run = begin(self.parties, DirectChannel(holders=self.parties.holders))
        run.coordinator.prepare()
        self.key_id = run.coordinator.key_id
        task = Parcel(body=RoundTask(**self.parties.session.address, round=1))
        self.replies = {name: holder.answer("train", task) for name, holder in self.parties.holders.items()}

    def sum(self, contributors):
        replies = {holder: self.replies[holder] for holder in contributors}
        return sum_frame(self.parties, replies, key_id=self.key_id, round_number=1, says={})

    def subject(self, contributors):
        return ToOpen(slot=1, contributors=contributors, sha256=sha256_of(self.sum(contributors)))

    def confirm(self, holder, subject):
        task = Parcel(body=ConfirmTask(**self.parties.session.address, subject=subject))
        return self.parties.holders[holder].answer("confirm", task).body.signature

    def open(self, holder, contributors, signed):
        opening = Opening(round=1, contributors=contributors, reveal=True, confirmations=signed)
        task = Parcel(
            body=OpenTask(**self.parties.session.address, opening=opening), blobs={"sum": self.sum(contributors)}
        )
        return self.parties.holders[holder].answer("open_sum", task)


def tried(cheater, holder, contributors, signed):
    try:
        cheater.open(holder, contributors, signed)
    except EncryptionError:
        return False
    return True


def quorum(holders, colluders):
    agreed = SimpleNamespace(holders=range(holders), privacy=SimpleNamespace(colluders=colluders))
    return Terms.quorum.fget(agreed)


def test_two_quorums_always_have_an_honest_holder_in_common_and_a_quorum_can_be_reached():
    for holders in range(2, MAX_HOLDERS + 1):
        for colluders in {0, 1, holders // 2, holders - 1}:
            size = quorum(holders, colluders)
            assert 2 * size - holders > colluders
            assert 2 * (size - 1) - holders <= colluders  # and no smaller one would do
            assert size <= holders
    assert [quorum(holders, 0) for holders in (2, 3, 4, 10)] == [2, 2, 3, 6]
    assert quorum(4, 1) == 3 and quorum(3, None) == 2


@pytest.mark.parametrize("sides", list(itertools.product((0, 1), repeat=3)))
def test_however_holders_are_divided_two_sums_of_a_round_are_never_both_opened(sides):
    cheater = Cheater()
    sums = (ALL, ("ahus", "bern"))  # their difference is cork's update
    signed = {0: {}, 1: {}}
    for holder, side in zip(ALL, sides, strict=True):
        signed[side][holder] = cheater.confirm(holder, cheater.subject(sums[side]))
        with pytest.raises(Equivocation, match="another sum was confirmed in place 1 of this run"):
            cheater.confirm(holder, cheater.subject(sums[1 - side]))
    opened = {side for side in (0, 1) for holder in ALL if tried(cheater, holder, sums[side], signed[side])}
    assert len(opened) == 1


def test_the_same_sum_is_confirmed_alike_again():
    cheater = Cheater()
    subject = cheater.subject(ALL)
    assert cheater.confirm("ahus", subject) == cheater.confirm("ahus", subject)


@pytest.mark.parametrize("change", [{"contributors": ("ahus", "bern")}, {"sha256": "ab" * 32}])
def test_the_same_frame_said_to_be_of_others_and_another_frame_are_another_sum(change):
    cheater = Cheater()
    subject = cheater.subject(ALL)
    cheater.confirm("ahus", subject)
    with pytest.raises(Equivocation):
        cheater.confirm("ahus", replace(subject, **change))


def test_signatures_of_another_sum_place_run_or_party_do_not_count():
    cheater = Cheater(FIVE)
    parties, everybody = cheater.parties, tuple(FIVE)
    subject = cheater.subject(everybody)
    right = confirmations(parties, subject)
    other_run = replace(parties, session=parties.next_run())
    wrong = {
        "another sum": confirmations(parties, replace(subject, sha256="ab" * 32)),
        "other holders": confirmations(parties, replace(subject, contributors=everybody[1:])),
        "another place": confirmations(parties, replace(subject, slot=2)),
        "another run": confirmations(other_run, subject),
        "the coordinator": {"exchange": parties.session.sign(parties.coordinator, "confirm", subject)},
        "one signature for all": dict.fromkeys(everybody, right["ahus"]),
        "strangers": {
            f"s{n}": parties.session.sign(Identity.create(f"s{n}", "S"), "confirm", subject) for n in range(5)
        },
        "no hex": dict.fromkeys(everybody, "signature"),
    }
    for name, signed in wrong.items():
        with pytest.raises(QuorumMissing, match="expected 3 of 5"):
            cheater.open("ahus", everybody, signed)
        two = {holder: right[holder] for holder in ("delft", "evora")}
        with pytest.raises(QuorumMissing):
            require_quorum(parties.session, subject, {**signed, **two} if name != "one signature for all" else two)
    assert cheater.open("ahus", everybody, right).body.round == 1


def test_a_sum_of_too_few_of_strangers_or_of_no_place_is_not_confirmed():
    cheater = Cheater()
    for contributors in (("bern",), ("ahus", "delft")):
        with pytest.raises(EncryptionError, match="a sum of"):
            cheater.confirm("ahus", ToOpen(slot=1, contributors=contributors, sha256="ab" * 32))
    with pytest.raises(EncryptionError, match="nothing is opened in place 5 of this run; expected at most 4"):
        cheater.confirm("ahus", ToOpen(slot=5, contributors=ALL, sha256="ab" * 32))
    for wrong in ({"slot": -1, "contributors": ALL}, {"slot": 1, "contributors": ("bern", "ahus")}):
        with pytest.raises(InvalidValue, match="what is to be opened in place"):
            ToOpen(sha256="ab" * 32, **wrong)


def test_without_a_key_nothing_is_confirmed():
    parties = make_consortium()
    agreement = {"agreement": parties.agreement.to_bytes()}
    parties.holders["ahus"].answer("join", Parcel(body=parties.task(), blobs=agreement))
    task = ConfirmTask(**parties.session.address, subject=ToOpen(slot=1, contributors=ALL, sha256="ab" * 32))
    with pytest.raises(EncryptionError, match="no key of this run yet"):
        parties.holders["ahus"].answer("confirm", Parcel(body=task))


# a coordinator that keeps to the protocol


def test_a_holder_that_vanishes_before_it_confirms_stops_nothing_while_a_quorum_remains():
    parties = make_consortium()
    run = complete(parties, reachable=gone("bern", when=lambda kind, body: kind == "confirm"))
    assert run.contributors == [ALL] * 3
    confirmed = run.facts("opening.confirmed")
    assert [facts["subject"]["slot"] for facts in confirmed] == [1, 2, 3, 4]
    assert all(list(facts["confirmations"]) == ["ahus", "cork"] for facts in confirmed)


def test_nobody_is_asked_once_a_quorum_has_confirmed():
    parties = make_consortium(FIVE, rounds=1)
    channel = DirectChannel(holders=parties.holders)
    train(parties, channel)
    assert [holder for kind, holder in channel.asked if kind == "confirm"] == ["ahus", "bern", "cork"]


def test_without_a_quorum_the_run_ends_with_the_model_so_far():
    parties = make_consortium()
    away = gone("bern", "cork", when=lambda kind, body: kind == "confirm" and body.subject.slot == 2)
    run = train(parties, DirectChannel(holders=parties.holders, reachable=away))
    assert run.contributors == [ALL]
    assert run.coordinator.end == "the sum of round 2 was confirmed by 1 of at least 2 holders (holder.silent)"


def test_a_confirmation_that_its_holder_did_not_sign_does_not_count():
    def forge(kind, holder, reply):
        return replace(reply, body=replace(reply.body, signature="0" * 128)) if kind == "confirm" else reply

    parties = make_consortium()
    with pytest.raises(TrainingError, match="no round could be trained"):
        train(parties, DirectChannel(holders=parties.holders, meddle=forge))


def test_contributions_that_no_quorum_confirms_are_not_opened():
    away = gone("bern", "cork", when=lambda kind, body: kind == "confirm" and body.subject.slot == 4)
    with pytest.raises(ValuationError, match="the contributions were confirmed by 1 of at least 2 holders"):
        complete(make_consortium(), reachable=away)
