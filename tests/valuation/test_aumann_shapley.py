import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import Polynomial

from fedjoint.errors import ValuationError
from fedjoint.valuation.aumann_shapley import path_gradient
from fedjoint.valuation.games import table_of
from fedjoint.valuation.round_games import RoundGame
from fedjoint.valuation.shapley import exact_shapley

SIZE = 3
small = st.integers(-4, 4).map(float)
vectors = st.lists(small, min_size=SIZE, max_size=SIZE).map(np.array)
players = st.lists(vectors, min_size=1, max_size=4).map(np.array)


class Quadratic:
    """L(w) = w'Aw / 2 + b'w."""

    def __init__(self, matrix, linear):
        self.matrix, self.linear = matrix + matrix.T, linear

    def loss(self, model):
        return float(model @ self.matrix @ model / 2 + self.linear @ model)

    def losses(self, shares, *, before, updates):
        return np.array([self.loss(model) for model in before + shares @ updates])

    def gradient(self, model):
        return self.matrix @ model + self.linear


quadratics = st.builds(Quadratic, st.lists(vectors, min_size=SIZE, max_size=SIZE).map(np.array), vectors)


def value(gradient, before, updates, points=2):
    """The contributions of a round whose model moves by the sum of the updates."""
    return updates @ path_gradient(gradient, before, before + updates.sum(axis=0), points=points)


@given(st.integers(1, 8), st.data())
def test_quadrature_is_exact_for_polynomials_up_to_twice_the_points(points, data):
    coefficients = data.draw(st.lists(small, min_size=2 * points + 1, max_size=2 * points + 1))
    loss = Polynomial(coefficients)
    before, after = np.array([data.draw(st.floats(-1, 1))]), np.array([data.draw(st.floats(-1, 1))])
    gained = loss(before[0]) - loss(after[0])
    g = path_gradient(loss.deriv(), before, after, points=points)
    assert g @ (after - before) == pytest.approx(gained, abs=1e-10 * (1 + sum(map(abs, coefficients))))


@pytest.mark.parametrize("points", [1, 2, 3, 4])
def test_quadrature_is_not_exact_for_one_degree_more(points):
    loss = Polynomial([0.0] * (2 * points + 1) + [1.0])  # w^(2 points + 1): its derivative is of even degree
    g = path_gradient(loss.deriv(), np.array([-1.0]), np.array([1.0]), points=points)
    assert abs(g[0] * 2 + 2) > 1e-3


def test_more_points_come_nearer_to_a_loss_that_is_no_polynomial():
    errors = [
        abs(path_gradient(np.exp, np.array([0.0]), np.array([2.0]), points=points)[0] * 2 - (1 - np.e**2))
        for points in (1, 2, 3, 4, 6)
    ]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-9 < errors[1]


@given(quadratics, vectors, players)
def test_contributions_sum_to_the_utility_gained(game, before, updates):
    gained = game.loss(before) - game.loss(before + updates.sum(axis=0))
    assert value(game.gradient, before, updates).sum() == pytest.approx(gained, abs=1e-9)


@given(quadratics, vectors, players)
def test_for_a_quadratic_loss_it_is_the_exact_shapley_value(game, before, updates):
    one_round = RoundGame(players=tuple(range(len(updates))), before=before, updates=updates, reference=game)
    exact = exact_shapley(table_of(one_round))
    assert value(game.gradient, before, updates) == pytest.approx(exact, abs=1e-8)


@given(quadratics, vectors, players)
def test_an_update_of_zero_contributes_nothing(game, before, updates):
    updates[0] = 0
    assert value(game.gradient, before, updates)[0] == 0


@given(quadratics, vectors, players)
def test_an_update_that_the_loss_does_not_see_contributes_nothing(game, before, updates):
    game.matrix[0, :] = game.matrix[:, 0] = game.linear[0] = 0
    updates[0, 1:] = 0
    assert value(game.gradient, before, updates)[0] == 0


@given(quadratics, vectors, players, vectors)
def test_equal_updates_contribute_equally_wherever_they_stand(game, before, updates, twin):
    together = value(game.gradient, before, np.vstack([twin, updates, twin]))
    assert together[0] == together[-1]


@given(quadratics, quadratics, vectors, players, small)
def test_it_is_linear_in_the_utility(one, other, before, updates, scale):
    both = value(lambda model: one.gradient(model) + scale * other.gradient(model), before, updates)
    apart = value(one.gradient, before, updates) + scale * value(other.gradient, before, updates)
    assert both == pytest.approx(apart, abs=1e-8)


@given(quadratics, vectors, players)
def test_two_holders_who_merge_get_what_they_had_together(game, before, updates):
    apart = value(game.gradient, before, updates)
    merged = value(game.gradient, before, np.vstack([updates[:2].sum(axis=0), updates[2:]]))
    assert merged[0] == pytest.approx(apart[:2].sum(), abs=1e-8)


def test_a_gradient_that_is_not_finite_is_refused():
    with pytest.raises(ValuationError, match="not finite"):
        path_gradient(lambda model: model * np.nan, np.zeros(2), np.ones(2), points=3)
