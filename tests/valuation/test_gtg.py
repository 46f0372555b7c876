import numpy as np
import pytest

from fedjoint.errors import ValuationError
from fedjoint.valuation import known_games
from fedjoint.valuation.estimate import Sampling
from fedjoint.valuation.games import FunctionGame
from fedjoint.valuation.gtg import gtg
from fedjoint.valuation.leave_one_out import leave_one_out

GAME = known_games.airport([1.0, 2.0, 2.0, 5.0, 7.0, 7.5, 9.0])


def counted(game):
    asked = []

    def function(masks):
        asked.extend(row.tobytes() for row in masks)
        return game.values(masks)

    return FunctionGame(players=game.players, function=function), asked


def test_it_comes_near_the_exact_value_and_does_not_claim_how_near():
    found = gtg(GAME, Sampling())
    assert found.values == pytest.approx(GAME.shapley, abs=0.6) and found.reached
    assert np.isinf(found.half_widths).all()


def test_each_order_shares_what_all_gain_up_to_where_it_is_left():
    found = gtg(GAME, Sampling())
    assert found.values.sum() == pytest.approx(9.0, abs=1e-3)


def test_a_round_that_gains_next_to_nothing_is_worth_nothing_to_anyone():
    small = known_games.additive([0.0004, 0.0005])
    found = gtg(small, Sampling())
    assert found.values.tolist() == [0.0, 0.0] and found.evaluations == 2 and not found.half_widths.any()


def test_an_order_is_left_once_its_coalition_is_worth_as_much_as_all():
    game, _ = counted(known_games.unanimity(8, [0]))
    found = gtg(game, Sampling())
    assert found.values.tolist() == [1.0] + [0.0] * 7
    whole, _ = counted(known_games.additive([1.0] * 8))
    assert found.evaluations < gtg(whole, Sampling()).evaluations


def test_no_coalition_is_evaluated_twice():
    game, asked = counted(GAME)
    found = gtg(game, Sampling())
    assert len(asked) == found.evaluations
    inner = [mask for mask in asked if any(mask) and not all(mask)]
    assert len(inner) == len(set(inner))


def test_it_stops_where_the_budget_ends():
    found = gtg(GAME, Sampling(maximum_evaluations=80))
    assert found.evaluations <= 80 and not found.reached


def test_a_budget_below_one_turn_is_refused():
    with pytest.raises(ValuationError, match="maximum_evaluations = 5; expected at least"):
        gtg(GAME, Sampling(maximum_evaluations=5))


def test_leaving_one_out_sees_only_the_last_step():
    # a pair of equal runways: without either nothing is lost
    found = leave_one_out(known_games.airport([1.0, 4.0, 4.0, 9.0]), Sampling())
    assert found.values.tolist() == [0.0, 0.0, 0.0, 5.0] and found.evaluations == 5
    assert leave_one_out(known_games.additive([2.0, -3.0]), Sampling()).values.tolist() == [2.0, -3.0]
