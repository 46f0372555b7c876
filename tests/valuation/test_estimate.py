import numpy as np
import pytest

from fedjoint.errors import InvalidValue, ValuationError
from fedjoint.valuation.estimate import Estimate, Evaluations, Sampling, add_estimates
from fedjoint.valuation.known_games import additive


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": ()},
        {"seed": (-1,)},
        {"absolute_error": -1.0},
        {"relative_error": float("nan")},
        {"confidence": 1.0},
        {"maximum_evaluations": 0},
        {"batch": 0},
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(InvalidValue, match=f"{name} = "):
        Sampling(**wrong)


def estimate(*, players, values, errors):
    errors = np.array(errors)
    return Estimate(
        players=players, values=np.array(values), standard_errors=errors, half_widths=2 * errors, evaluations=7
    )


def test_rounds_add_up_by_player_and_errors_as_squares_do():
    total = add_estimates(
        [
            estimate(players=("ahus", "bern"), values=[1.0, 2.0], errors=[3.0, 1.0]),
            estimate(players=("bern", "ahus"), values=[10.0, 20.0], errors=[0.0, 4.0]),
        ],
        players=("ahus", "bern", "cork"),
    )
    assert total.by_player() == {"ahus": 21.0, "bern": 12.0, "cork": 0.0}
    assert total.standard_errors.tolist() == [5.0, 1.0, 0.0] and total.half_widths.tolist() == [10.0, 2.0, 0.0]
    assert total.evaluations == 14 and total.reached


def test_a_player_whom_nobody_named_is_refused():
    with pytest.raises(ValuationError, match="player 'bern' in a round"):
        add_estimates([estimate(players=("bern",), values=[1.0], errors=[0.0])], players=("ahus",))


def test_an_error_counts_as_reached_by_either_measure_and_never_if_none_was_asked_for():
    found = estimate(players=("ahus", "bern"), values=[3.0, -5.0], errors=[0.1, 0.2])
    assert Sampling(absolute_error=0.4).reached(found) and not Sampling(absolute_error=0.39).reached(found)
    assert Sampling(relative_error=0.1).reached(found) and not Sampling(relative_error=0.099).reached(found)
    assert not Sampling().reached(estimate(players=("ahus",), values=[3.0], errors=[0.0]))


def test_games_are_asked_in_batches_and_counted():
    evaluations = Evaluations(game=additive([1.0, 2.0]), sampling=Sampling(batch=3, maximum_evaluations=9))
    assert evaluations.ends() == (0.0, 3.0)
    assert evaluations.values(np.ones((7, 2), dtype=bool)).tolist() == [3.0] * 7
    assert evaluations.spent == 9 and evaluations.left == 0
    with pytest.raises(ValuationError, match="expected at least 10 for 2 players"):
        evaluations.values(np.ones((1, 2), dtype=bool))
