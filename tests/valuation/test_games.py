import numpy as np
import pytest

from fedjoint.errors import ValuationError
from fedjoint.valuation.games import round_game


def distance(model):
    return float(model @ model)


def test_a_coalition_is_worth_what_its_updates_alone_would_have_gained():
    before, updates = np.array([2.0, 1.0]), np.array([[-1.0, 0.0], [0.0, -1.0]])
    # from |(2, 1)|^2 = 5 to |(1, 1)|^2 = 2, to |(2, 0)|^2 = 4, to |(1, 0)|^2 = 1
    assert round_game(distance, before, updates).tolist() == [0.0, 3.0, 1.0, 4.0]


def test_nobody_is_worth_nothing_even_with_rounding():
    assert round_game(lambda model: 0.1 + 0.2, np.zeros(1), np.ones((2, 1))).tolist() == [0.0] * 4


def test_more_players_than_all_coalitions_can_be_tried_for_are_refused():
    with pytest.raises(ValuationError, match="13 players; expected at most 12"):
        round_game(distance, np.zeros(1), np.ones((13, 1)))
