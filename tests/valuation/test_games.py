import numpy as np
import pytest

from fedjoint.errors import ValuationError
from fedjoint.valuation.games import DiagonalGame, FunctionGame, all_coalitions, table_of, values_of


def test_every_coalition_occurs_once_in_the_order_of_its_bits():
    masks = all_coalitions(5)
    assert masks.shape == (32, 5) and (masks @ (1 << np.arange(5)) == np.arange(32)).all()


def test_the_table_of_coalitions_cannot_be_changed_for_the_next_user():
    with pytest.raises(ValueError, match="read-only"):
        all_coalitions(3)[0, 0] = True


@pytest.mark.parametrize("players", [0, 17])
def test_more_players_than_all_coalitions_can_be_tried_for_are_refused_with_a_remedy(players):
    with pytest.raises(ValuationError, match=f"{players} players; expected 1 to 16 .* Use a method that samples"):
        all_coalitions(players)


def test_players_are_whatever_keys_they_are():
    game = FunctionGame(players=("ahus", 7, ("bern", 2)), function=lambda masks: masks.sum(axis=1))
    assert table_of(game).tolist() == [0, 1, 1, 2, 1, 2, 2, 3] and not isinstance(game, DiagonalGame)


@pytest.mark.parametrize("players", [(), ("ahus", "ahus")])
def test_players_must_be_told_apart(players):
    with pytest.raises(ValuationError, match="distinct"):
        FunctionGame(players=players, function=lambda masks: masks.sum(axis=1))


def test_a_utility_that_is_not_finite_is_refused_by_its_coalition():
    game = FunctionGame(players=("ahus", "bern"), function=lambda masks: 1 / (1 - masks[:, 1]))
    with np.errstate(divide="ignore"), pytest.raises(ValuationError, match=r"coalition \['bern'\] is inf"):
        table_of(game)


def test_an_answer_of_another_length_is_refused():
    with pytest.raises(ValuationError, match=r"answers 2 coalitions with numbers of shape \[1\]"):
        values_of(FunctionGame(players=("ahus",), function=lambda masks: np.zeros(1)), all_coalitions(1))
