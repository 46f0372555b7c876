import numpy as np
import pytest

from fedjoint.errors import ValuationError
from fedjoint.valuation.games import DiagonalGame, all_coalitions, table_of
from fedjoint.valuation.round_games import RenormalisedGame, RoundGame


class Distance:
    """L(w) = |w|^2, and a constant whose rounding shows."""

    def losses(self, shares, *, before, updates):
        return ((before + shares @ updates) ** 2).sum(axis=1)

    def gradient(self, model):
        return 2 * model


ROUND = {
    "players": ("ahus", "bern"),
    "before": np.array([2.0, 1.0]),
    "updates": np.array([[-1.0, 0.0], [0.0, -1.0]]),
    "reference": Distance(),
}


def test_a_coalition_is_worth_what_its_updates_alone_would_have_gained():
    # from |(2, 1)|^2 = 5 to |(1, 1)|^2 = 2, to |(2, 0)|^2 = 4, to |(1, 0)|^2 = 1
    assert table_of(RoundGame(**ROUND)).tolist() == [0.0, 3.0, 1.0, 4.0]


def test_renormalised_a_coalition_is_worth_what_its_own_average_would_have_gained():
    game = RenormalisedGame(**ROUND, weights=np.array([1.0, 3.0]))
    # ahus alone has 4 times the weight it had: to |(-2, 1)|^2 = 5; bern alone 4/3 times: to |(2, -1/3)|^2 = 37/9
    assert table_of(game) == pytest.approx([0.0, 0.0, 5 - 37 / 9, 4.0])


def test_nobody_is_worth_nothing_even_with_rounding():
    game = RoundGame(**{**ROUND, "before": np.array([0.1, 0.2])})
    assert game.values(np.zeros((3, 2), dtype=bool)).tolist() == [0.0] * 3


def test_the_diagonal_gradient_is_the_derivative_where_all_take_part_in_part():
    game = RoundGame(**ROUND)
    assert isinstance(game, DiagonalGame)
    assert game.diagonal_gradient(0.5).tolist() == [3.0, 1.0]  # at (1.5, 0.5), along (-1, 0) and (0, -1)


def test_renormalised_there_is_no_taking_part_in_part():
    assert not isinstance(RenormalisedGame(**ROUND, weights=np.ones(2)), DiagonalGame)


@pytest.mark.parametrize(
    "change", [{"updates": np.ones((3, 2))}, {"updates": np.ones((2, 3))}, {"players": ("a", "a")}]
)
def test_updates_that_do_not_fit_are_refused(change):
    with pytest.raises(ValuationError, match="updates of shape"):
        RoundGame(**{**ROUND, **change})


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, np.nan], [1.0, -1.0]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValuationError, match="above 0"):
        RenormalisedGame(**ROUND, weights=np.array(weights))


def test_each_coalition_is_evaluated_for_itself():
    game = RoundGame(**ROUND)
    masks = all_coalitions(2)
    assert np.concatenate([game.values(masks[k : k + 1]) for k in range(4)]).tolist() == game.values(masks).tolist()
