from dataclasses import replace

import pytest

from fedjoint.errors import InvalidValue
from fedjoint.training.asked import asked_in_round
from tests.fakes import JOINT_PRIVACY, make_consortium

SIX = {name: 20 + place for place, name in enumerate(("ahus", "bern", "cork", "delft", "essen", "faro"))}


@pytest.fixture(scope="module")
def terms():
    return make_consortium(SIX, holders_per_round=3).terms


def test_without_an_agreed_number_everybody_who_is_there_is_asked():
    agreed = make_consortium(SIX).terms
    assert asked_in_round(agreed, 1, {"cork", "ahus"}) == ["ahus", "cork"]


def test_a_round_asks_as_many_as_agreed_and_other_rounds_ask_others(terms):
    drawn = [asked_in_round(terms, number, SIX) for number in range(1, 21)]
    assert {len(asked) for asked in drawn} == {3} and all(asked == sorted(set(asked)) for asked in drawn)
    assert {holder for asked in drawn for holder in asked} == set(SIX)
    assert len(set(map(tuple, drawn))) > 10


def test_the_draw_follows_from_the_agreement_alone(terms):
    again = [asked_in_round(terms, number, reversed(SIX)) for number in range(1, 9)]
    assert again == [asked_in_round(terms, number, SIX) for number in range(1, 9)]
    other = replace(terms, training=replace(terms.training, seed=terms.training.seed + 1))
    assert again != [asked_in_round(other, number, SIX) for number in range(1, 9)]


def test_the_next_in_the_drawn_order_takes_the_place_of_one_that_has_left(terms):
    asked = asked_in_round(terms, 4, SIX)
    without = asked_in_round(terms, 4, set(SIX) - {asked[0]})
    assert len(without) == 3 and set(asked[1:]) < set(without)


@pytest.mark.parametrize(
    ("agreed", "words"),
    [
        ({"holders_per_round": 7}, r"training\.holders_per_round = 7 and there are 6"),
        ({"holders_per_round": 1}, r"training\.holders_per_round = 1"),
        ({"holders_per_round": 3, "privacy": JOINT_PRIVACY}, r"holders_per_round = 3 and privacy\.mode is joint"),
        ({"holders_per_round": 3, "valuation": {"reference": "holders"}}, r"= 3 and valuation\.reference is holders"),
        ({"proximal": 0.5}, r"training\.proximal = 0\.5 and training\.local_steps = 1"),
        ({"proximal": -0.5, "local_steps": 2}, r"training\.proximal = -0\.5"),
        ({"proximal": 9.0, "local_steps": 2}, r"training\.proximal = 9"),
    ],
)
def test_what_has_no_meaning_is_refused(agreed, words):
    with pytest.raises(InvalidValue, match=words):
        make_consortium(SIX, **agreed)
