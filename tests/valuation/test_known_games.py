import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.valuation import known_games
from fedjoint.valuation.games import all_coalitions
from fedjoint.valuation.shapley import exact_shapley

whole = st.integers(-50, 50).map(float)
games = st.one_of(
    st.lists(whole, min_size=1, max_size=6).map(known_games.additive),
    st.lists(st.integers(0, 9).map(float), min_size=1, max_size=6).map(known_games.airport),
    st.builds(known_games.glove, st.integers(1, 4), st.integers(1, 4)),
    st.integers(1, 5)
    .flatmap(lambda n: st.lists(st.lists(whole, min_size=n, max_size=n), min_size=n, max_size=n))
    .map(known_games.pairs),
    st.integers(1, 6).flatmap(
        lambda n: st.builds(known_games.unanimity, st.just(n), st.lists(st.integers(0, n - 1), min_size=1, unique=True))
    ),
    st.builds(known_games.voting, st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 30)),
)


@given(games)
def test_the_closed_form_is_the_exact_value(game):
    table = game.values(all_coalitions(len(game.players)))
    assert exact_shapley(table) == pytest.approx(game.shapley, abs=1e-9)


def test_the_european_economic_community_of_1958_gave_luxembourg_no_power():
    # Votes of France, Germany, Italy, Belgium, Netherlands, Luxembourg; 12 of 17 decided (Straffin 1994).
    assert known_games.voting([4, 4, 4, 2, 2, 1], 12).shapley == pytest.approx(np.array([14, 14, 14, 9, 9, 0]) / 60)
