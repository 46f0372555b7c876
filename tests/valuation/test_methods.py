import numpy as np
import pytest

from fedjoint.errors import ValuationError
from fedjoint.valuation.aumann_shapley import path_gradient
from fedjoint.valuation.estimate import Sampling
from fedjoint.valuation.known_games import additive, airport
from fedjoint.valuation.methods import METHODS, RunGames, value_run
from fedjoint.valuation.round_games import RenormalisedGame, RoundGame

BOWL = np.diag([1.0, 2.0, 3.0])


class Bowl:
    """L(w) = w'Aw / 2."""

    def losses(self, shares, *, before, updates):
        models = before + shares @ updates
        return np.einsum("ki,ij,kj->k", models, BOWL, models) / 2

    def gradient(self, model):
        return BOWL @ model


def run_games(rounds=3, players=("ahus", "bern", "cork", "dijon")):
    generator = np.random.default_rng(4)
    before, games = np.ones(3), RunGames(players=players)
    as_run, renormalised = [], []
    for number in range(rounds):
        present = tuple(player for place, player in enumerate(players) if place != number)
        updates = generator.normal(size=(len(present), 3)) / 4
        parts = {"players": present, "before": before, "updates": updates, "reference": Bowl()}
        as_run.append(RoundGame(**parts))
        renormalised.append(RenormalisedGame(**parts, weights=np.arange(1.0, len(present) + 1)))
        before = before + updates.sum(axis=0)
    return RunGames(
        players=games.players,
        as_run=tuple(as_run),
        renormalised=tuple(renormalised),
        retraining=(additive([1.0, 2.0, 3.0, 4.0]),),
    )


@pytest.mark.parametrize("name", METHODS)
def test_every_method_values_a_run_through_the_same_signature(name):
    games = run_games()
    if name == "retraining":
        games = RunGames(players=(0, 1, 2, 3), retraining=games.retraining)
    found = value_run(name, games, Sampling(maximum_evaluations=3000))
    assert found.players == games.players and np.isfinite(found.values).all() and found.values.any()
    assert METHODS[name].summary


def test_the_sum_of_rounds_is_the_sum_of_their_values():
    games = run_games()
    gained = sum(game.values(np.ones((1, 3), dtype=bool))[0] for game in games.as_run)
    for name in ("path", "shapley", "permutation"):
        assert value_run(name, games, Sampling()).values.sum() == pytest.approx(gained)


def test_path_is_the_inner_product_of_the_path_gradient_and_the_exact_value_of_a_quadratic_loss():
    games = run_games()
    found = value_run("path", games, Sampling())
    expected = dict.fromkeys(games.players, 0.0)
    for game in games.as_run:
        after = game.before + game.updates.sum(axis=0)
        gains = game.updates @ path_gradient(Bowl().gradient, game.before, after, points=4)
        for player, gain in zip(game.players, gains, strict=True):
            expected[player] += gain
    assert found.by_player() == pytest.approx(expected)
    assert found.values == pytest.approx(value_run("shapley", games, Sampling()).values)


def test_sampling_methods_come_near_the_exact_value_by_their_own_account():
    games = run_games()
    exact = value_run("shapley", games, Sampling()).values
    for name in ("permutation", "svarm"):
        found = value_run(name, games, Sampling(absolute_error=0.05, maximum_evaluations=20_000))
        assert found.reached and found.half_widths.max() <= 0.05
        assert (np.abs(found.values - exact) <= 0.05).all()


def test_the_budget_is_for_the_whole_run():
    found = value_run("svarm", run_games(), Sampling(maximum_evaluations=600))
    assert found.evaluations <= 600


def test_who_contributed_to_no_round_is_worth_nothing():
    games = run_games(rounds=1)
    assert value_run("shapley", games, Sampling()).by_player()["ahus"] == 0


def test_a_method_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ValuationError, match="method 'shaply'; expected one of: path, shapley"):
        value_run("shaply", run_games(), Sampling())


def test_a_method_without_the_games_it_looks_at_is_refused():
    with pytest.raises(ValuationError, match="multi_round without any game renormalised"):
        value_run("multi_round", RunGames(players=("ahus",)), Sampling())


@pytest.mark.parametrize("name", ["shapley", "banzhaf"])
def test_too_many_players_are_refused_before_anything_is_evaluated(name):
    game = airport(np.ones(17))
    with pytest.raises(ValuationError, match=f"method {name} with 17 players.*at most 16.*samples"):
        value_run(name, RunGames(players=game.players, as_run=(game,)), Sampling())


def test_path_of_a_game_without_a_diagonal_is_refused():
    with pytest.raises(ValuationError, match="in which nobody can take part in part"):
        value_run("path", RunGames(players=(0, 1), as_run=(additive([1.0, 2.0]),)), Sampling())


def test_a_path_gradient_that_is_not_finite_is_refused():
    class Broken(Bowl):
        def gradient(self, model):
            return model * np.nan

    game = RoundGame(players=("ahus",), before=np.ones(3), updates=np.ones((1, 3)), reference=Broken())
    with pytest.raises(ValuationError, match="not finite"):
        value_run("path", RunGames(players=("ahus",), as_run=(game,)), Sampling())
