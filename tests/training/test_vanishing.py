"""Holders that vanish: the run goes on while the agreed minimum remains, and ends cleanly when it does not."""

import pytest

from fedjoint.errors import TrainingError, ValuationError
from tests.fakes import (
    SIZES,
    DirectChannel,
    complete,
    fedavg_by_hand,
    gone,
    in_round,
    lost,
    make_consortium,
    open_contributions,
    train,
)

ALL = ("ahus", "bern", "cork")
FOUR = SIZES | {"delft": 25}


@pytest.fixture
def parties():
    return make_consortium()


def reply_lost(*holders, when):
    return lambda kind, holder, reply: lost(holder) if holder in holders and when(kind, reply.body) else reply


def reply_in_round(number):
    return lambda kind, body: kind == "train" and body.receipt.round == number


def gain(parties, run):
    return parties.reference.loss(run.models[0]) - parties.reference.loss(run.models[-1])


def check(parties, run, contributors):
    """The run went on with these contributors, as federated averaging of exactly them."""
    assert run.contributors == contributors
    for model, expected in zip(run.models, fedavg_by_hand(parties, contributors), strict=True):
        assert model == pytest.approx(expected, abs=1e-6)
    assert sum(run.contributions.by_holder.values()) == pytest.approx(gain(parties, run), rel=5e-3)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("holder", ALL)
def test_a_holder_that_no_task_reaches_in_a_round_is_left_out_of_it_and_comes_back(parties, holder, number):
    run = complete(parties, reachable=gone(holder, when=in_round(number)))
    contributors = [ALL, ALL, ALL]
    contributors[number - 1] = tuple(sorted(set(ALL) - {holder}))
    check(parties, run, contributors)
    assert run.rounds[number - 1].refusals[holder].code == "holder.silent"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_holder_whose_reply_is_lost_is_left_out_of_that_round_and_comes_back(parties, number):
    run = complete(parties, meddle=reply_lost("bern", when=reply_in_round(number)))
    contributors = [ALL, ALL, ALL]
    contributors[number - 1] = ("ahus", "cork")
    check(parties, run, contributors)


def test_a_holder_that_misses_several_rounds_catches_up():
    parties = make_consortium(rounds=5)
    away = gone("bern", when=lambda kind, body: kind == "train" and 2 <= body.round <= 4)
    check(parties, complete(parties, reachable=away), [ALL, ("ahus", "cork"), ("ahus", "cork"), ("ahus", "cork"), ALL])


def test_holders_that_miss_different_rounds_all_catch_up():
    parties = make_consortium(FOUR, rounds=4)
    missing = {1: "ahus", 2: "bern", 3: "cork", 4: "delft"}
    run = complete(parties, reachable=lambda kind, holder, body: kind != "train" or missing.get(body.round) != holder)
    check(parties, run, [tuple(sorted(set(FOUR) - {holder})) for holder in missing.values()])


def test_a_holder_that_vanishes_for_good_contributes_what_it_did_before(parties):
    run = complete(parties, reachable=gone("bern", when=lambda kind, body: getattr(body, "round", 0) >= 2))
    check(parties, run, [ALL, ("ahus", "cork"), ("ahus", "cork")])
    assert run.contributions.by_holder["bern"] != 0


def test_a_holder_that_never_joins_contributes_exactly_nothing(parties):
    run = complete(parties, reachable=gone("bern", when=lambda kind, body: True))
    check(parties, run, [("ahus", "cork")] * 3)
    assert run.contributions.by_holder["bern"] == 0.0


def test_a_holder_that_joined_and_never_got_the_key_contributes_exactly_nothing(parties):
    run = complete(parties, reachable=gone("ahus", when=lambda kind, body: kind != "join"))
    check(parties, run, [("bern", "cork")] * 3)
    assert run.contributions.by_holder["ahus"] == 0.0


def test_when_both_who_should_reveal_a_sum_are_gone_the_others_do():
    parties = make_consortium(FOUR, rounds=2)
    for pair in (("ahus", "bern"), ("cork", "delft"), ("ahus", "delft")):
        parties = make_consortium(FOUR, rounds=2)
        rest = tuple(sorted(set(FOUR) - set(pair)))
        run = complete(parties, reachable=gone(*pair, when=in_round(2)))
        check(parties, run, [tuple(FOUR), rest])


@pytest.mark.parametrize("pair", [("ahus", "bern"), ("cork", "delft")])
def test_the_last_sum_is_opened_by_whoever_remains(pair):
    parties = make_consortium(FOUR, rounds=2)
    run = complete(parties, reachable=gone(*pair, when=lambda kind, body: kind == "open_sum"))
    check(parties, run, [tuple(FOUR)] * 2)
    assert run.coordinator.end == "all agreed rounds were trained"


def test_a_sum_that_too_few_opened_with_their_task_is_asked_for_again():
    parties = make_consortium(FOUR)
    asked = []

    def reply(kind, holder, parcel):
        asked.append((kind, holder, parcel))
        return lost(holder) if holder != "ahus" and reply_in_round(2)(kind, parcel.body) else parcel

    run = complete(parties, meddle=reply)
    check(parties, run, [tuple(FOUR)])  # round 1 is opened after all; round 2 had one update only
    said = {holder: parcel.body.opened for kind, holder, parcel in asked if reply_in_round(2)(kind, parcel.body)}
    again = {holder: parcel.body for kind, holder, parcel in asked if kind == "open_sum"}
    assert said == again  # to the signature: who has opened a sum says the same again
    assert run.coordinator.end == "round 2 was not trained: 1 of at least 2 holders took part (holder.silent)"


def test_too_few_holders_in_a_later_round_end_the_run_with_the_model_so_far(parties):
    run = complete(parties, reachable=gone("bern", "cork", when=in_round(3)))
    check(parties, run, [ALL, ALL])
    assert run.coordinator.end == "round 3 was not trained: 1 of at least 2 holders took part (holder.silent)"


def test_too_few_holders_in_the_first_round_are_an_error(parties):
    with pytest.raises(TrainingError, match=r"no round could be trained\. bern: no word from bern; cork: no word"):
        complete(parties, reachable=gone("bern", "cork", when=in_round(1)))


def test_the_agreed_minimum_decides():
    parties = make_consortium(minimum_holders=3)
    run = complete(parties, reachable=gone("bern", when=in_round(2)))
    check(parties, run, [ALL])
    assert run.coordinator.end.startswith("round 2 was not trained: 2 of at least 3 holders")


def test_a_sum_that_only_one_holder_can_open_ends_the_run_with_the_model_before_it(parties):
    run = train(
        parties,
        DirectChannel(
            holders=parties.holders, reachable=gone("bern", "cork", when=lambda kind, body: kind == "open_sum")
        ),
    )
    assert run.contributors == [ALL, ALL]
    assert run.coordinator.end == "the sum of round 3 was opened by 1 of at least 2 holders (holder.silent)"
    assert run.facts("run.ended_early")[0]["round"] == 3
    contributions = open_contributions(parties, run, DirectChannel(holders=parties.holders))
    assert sum(contributions.by_holder.values()) == pytest.approx(gain(parties, run), rel=5e-3)


def test_a_first_sum_that_nobody_opens_is_an_error():
    parties = make_consortium(rounds=1)
    with pytest.raises(TrainingError, match="no round could be trained"):
        complete(parties, reachable=lambda kind, holder, body: kind != "open_sum")


@pytest.mark.parametrize("holder", ALL)
def test_a_holder_that_vanishes_before_contributions_are_opened_is_stood_in_for(parties, holder):
    run = complete(parties, reachable=gone(holder, when=lambda kind, body: kind == "open_contributions"))
    assert len(run.contributions.openers) == 2 and holder not in run.contributions.openers
    check(parties, run, [ALL] * 3)


def test_one_holder_alone_does_not_open_contributions(parties):
    away = gone("ahus", "cork", when=lambda kind, body: kind == "open_contributions")
    with pytest.raises(ValuationError, match="1 holders opened the contributions"):
        complete(parties, reachable=away)
