import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import ValuationError
from fedjoint.valuation.shapley import exact_shapley

whole = st.integers(-50, 50).map(float)


def table(players, worth):
    """Utilities of all coalitions of a game given as a function of the set of its members."""
    return np.array(
        [float(worth({player for player in range(players) if bits >> player & 1})) for bits in range(1 << players)]
    )


@st.composite
def games(draw, least=1, most=5):
    players = draw(st.integers(least, most))
    return np.array(draw(st.lists(whole, min_size=1 << players, max_size=1 << players)))


def members(utilities):
    return utilities.size.bit_length() - 1


@pytest.mark.parametrize("right", [1, 2, 3, 7])
def test_a_left_glove_among_many_right_ones_gets_most(right):
    values = exact_shapley(table(right + 1, lambda group: 0 in group and len(group) > 1))
    assert values == pytest.approx([right / (right + 1)] + [1 / (right * (right + 1))] * right)


def test_airport_runways_are_paid_by_those_who_need_them():
    lengths = [1.0, 2.0, 4.0, 7.0]  # Littlechild and Owen 1973: each stretch is shared by all who use it
    stretches = np.diff([0.0, *lengths])
    expected = [sum(stretches[k] / (4 - k) for k in range(player + 1)) for player in range(4)]
    assert exact_shapley(table(4, lambda group: max((lengths[i] for i in group), default=0))) == pytest.approx(expected)


@pytest.mark.parametrize("players", [1, 3, 5, 12])
def test_in_a_simple_majority_all_are_equal(players):
    values = exact_shapley(table(players, lambda group: 2 * len(group) > players))
    assert values == pytest.approx([1 / players] * players)


def test_power_in_a_weighted_majority_is_not_weight():
    votes = [50, 49, 1]
    assert exact_shapley(table(3, lambda group: sum(votes[i] for i in group) >= 51)) == pytest.approx(
        [2 / 3, 1 / 6, 1 / 6]
    )


@given(games())
def test_values_sum_to_what_all_gain_together(utilities):
    assert exact_shapley(utilities).sum() == pytest.approx(utilities[-1] - utilities[0], abs=1e-9)


@given(games(), st.data())
def test_a_player_who_adds_nothing_gets_nothing(utilities, data):
    player = data.draw(st.integers(0, members(utilities) - 1))
    view = utilities.reshape(-1, 2, 1 << player)
    view[:, 1] = view[:, 0]
    assert exact_shapley(utilities)[player] == 0


@given(games(least=2), st.data())
def test_names_do_not_matter(utilities, data):
    players = members(utilities)
    order = data.draw(st.permutations(range(players)))
    renamed = np.array(
        [
            utilities[sum(1 << order[player] for player in range(players) if bits >> player & 1)]
            for bits in range(1 << players)
        ]
    )
    assert exact_shapley(renamed) == pytest.approx(exact_shapley(utilities)[list(order)], abs=1e-9)


@given(st.integers(1, 4).flatmap(lambda n: st.tuples(*[st.lists(whole, min_size=1 << n, max_size=1 << n)] * 2)), whole)
def test_it_is_linear_in_the_game(pair, scale):
    one, other = map(np.array, pair)
    apart = exact_shapley(one) + scale * exact_shapley(other)
    assert exact_shapley(one + scale * other) == pytest.approx(apart, abs=1e-8)


@given(games(most=4))
def test_it_is_the_mean_over_all_orders_of_arrival(utilities):
    players, arrivals = members(utilities), []
    for order in itertools.permutations(range(players)):
        here, gains = 0, np.zeros(players)
        for player in order:
            gains[player] = utilities[here | 1 << player] - utilities[here]
            here |= 1 << player
        arrivals.append(gains)
    assert exact_shapley(utilities) == pytest.approx(np.mean(arrivals, axis=0), abs=1e-9)


@pytest.mark.parametrize(
    "utilities", [np.zeros(3), np.zeros(0), np.zeros((2, 2)), np.array([0.0, np.nan]), np.array([0.0, np.inf])]
)
def test_a_table_that_is_no_game_is_refused(utilities):
    with pytest.raises(ValuationError, match="table"):
        exact_shapley(utilities)
