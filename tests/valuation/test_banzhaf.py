import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import ValuationError
from fedjoint.valuation import known_games
from fedjoint.valuation.banzhaf import banzhaf, banzhaf_sampled
from fedjoint.valuation.estimate import Sampling

GAME = known_games.airport([1.0, 2.0, 2.0, 5.0, 7.0, 7.5, 9.0])


def test_the_first_council_of_the_european_economic_community():
    # Swings of 32 coalitions of the others: 10 for each big country, 6 for Belgium and the Netherlands, none for
    # Luxembourg (Straffin 1994).
    found = banzhaf(known_games.voting([4, 4, 4, 2, 2, 1], 12), Sampling())
    assert found.values.tolist() == [10 / 32] * 3 + [6 / 32] * 2 + [0]


@given(st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=6))
def test_where_everybody_adds_their_own_worth_they_get_it(worth):
    assert banzhaf(known_games.additive(worth), Sampling()).values == pytest.approx(worth)


def test_it_is_the_mean_gain_over_all_coalitions_of_the_others():
    expected = []
    for player in range(7):
        others = [i for i in range(7) if i != player]
        gains = []
        for chosen in itertools.product([False, True], repeat=6):
            mask = np.zeros((2, 7), dtype=bool)
            mask[:, others] = chosen
            mask[1, player] = True
            without, with_ = GAME.values(mask)
            gains.append(with_ - without)
        expected.append(np.mean(gains))
    assert banzhaf(GAME, Sampling()).values == pytest.approx(expected)


def test_sampled_intervals_hold_the_exact_value_as_often_as_they_say():
    exact = banzhaf(GAME, Sampling()).values
    found = [
        banzhaf_sampled(GAME, Sampling(seed=(seed,), absolute_error=0.5, maximum_evaluations=5000))
        for seed in range(60)
    ]
    assert all(one.reached for one in found)
    assert np.mean([np.abs(one.values - exact) <= one.half_widths for one in found]) >= 0.94


def test_sampled_standard_errors_are_those_seen_over_seeds():
    exact = banzhaf(GAME, Sampling()).values
    found = [banzhaf_sampled(GAME, Sampling(seed=(seed,), maximum_evaluations=400)) for seed in range(200)]
    seen = np.sqrt(np.mean([(one.values - exact) ** 2 for one in found], axis=0))
    assert np.mean([one.standard_errors for one in found], axis=0) == pytest.approx(seen, rel=0.25)
    assert {one.evaluations for one in found} == {400} and not any(one.reached for one in found)


def test_a_thousand_players_are_sampled():
    worth = np.random.default_rng(0).normal(size=1000)
    found = banzhaf_sampled(known_games.additive(worth), Sampling(maximum_evaluations=4000))
    assert (np.abs(found.values - worth) <= found.half_widths).mean() > 0.95


def test_a_budget_below_the_first_look_is_refused():
    with pytest.raises(ValuationError, match="maximum_evaluations = 60; expected at least 66"):
        banzhaf_sampled(GAME, Sampling(maximum_evaluations=60))


def test_more_than_sixteen_players_are_refused_by_the_exact_one():
    with pytest.raises(ValuationError, match="17 players"):
        banzhaf(known_games.additive([1.0] * 17), Sampling())
