"""Exact Shapley values by one engine in its own environment; the games are the same numbers everywhere."""

import sys
import time
from typing import Any

import numpy as np
from serving import answer, cpu

RECORDS = 20


def vectorised_of(players: int) -> Any:
    """Coalitions bool [k, n] to float64 [k]: by how much a linear model lowers the log-loss of 20 reference records.

    Each player's update moves every record's logit; the model of nobody has logits 0.
    """
    moves = np.random.default_rng(players).normal(loc=0.4, size=(players, RECORDS)) * 2 / players
    start = np.log(2)

    def utility(masks: Any) -> Any:
        return start - np.log1p(np.exp(-(masks.astype(np.float64) @ moves))).mean(axis=1)

    return utility


def spinning_of(players: int) -> Any:
    """The same utility, one coalition a call, 50 microseconds of processor time each."""
    vectorised = vectorised_of(players)

    def utility(mask: Any) -> float:
        end = time.process_time_ns() + 50_000
        value = float(vectorised(mask[None])[0])
        while time.process_time_ns() < end:
            pass
        return value

    return utility


def table_utility(players: int, utility: str) -> Any:
    """A function of many coalitions at once, whichever way it is computed."""
    if utility == "vectorised":
        return vectorised_of(players)
    one = spinning_of(players)
    return lambda masks: np.array([one(mask) for mask in masks])


def masks_of(players: int) -> Any:
    """All coalitions, bool [2^n, n], bit i of the place for player i."""
    return (np.arange(1 << players)[:, None] >> np.arange(players) & 1).astype(bool)


def with_evaluation(players: int, utility: str) -> Any:
    """No values, only all utilities: what every engine has to do at least."""
    function, masks = table_utility(players, utility), masks_of(players)
    return lambda: function(masks)


def with_numpy(players: int, utility: str) -> Any:
    """Plain numpy over a table of all coalitions, as one would write it without a library."""
    function, masks = table_utility(players, utility), masks_of(players)
    sizes = masks.sum(axis=1)
    weights = np.array([0.0] * players)
    weights[0] = 1 / players  # 1 / (n C(n - 1, k)), one after the other
    for size in range(1, players):
        weights[size] = weights[size - 1] * size / (players - size)
    places = np.arange(1 << players)

    def values() -> Any:
        table, result = function(masks), np.empty(players)
        for player in range(players):
            without = places[~masks[:, player]]
            result[player] = ((table[without | 1 << player] - table[without]) * weights[sizes[without]]).sum()
        return result

    return values


def with_fedjoint(players: int, utility: str) -> Any:
    """Ours."""
    from fedjoint.valuation.estimate import Sampling
    from fedjoint.valuation.games import FunctionGame
    from fedjoint.valuation.shapley import shapley

    game = FunctionGame(players=tuple(range(players)), function=table_utility(players, utility))
    return lambda: shapley(game, Sampling()).values


def with_coopgame(players: int, utility: str) -> Any:
    """coopgame-py: a table of all coalitions but the empty one, then Rust."""
    import coopgame

    function, masks = table_utility(players, utility), masks_of(players)
    return lambda: np.array(coopgame.shapley(coopgame.Game(function(masks)[1:].tolist())))


def with_shapiq(players: int, utility: str) -> Any:
    """Exact computer of shapiq, which asks for all coalitions at once."""
    import shapiq

    function = table_utility(players, utility)

    def values() -> Any:
        computer = shapiq.ExactComputer(n_players=players, game=lambda masks: function(np.asarray(masks, dtype=bool)))
        found = computer("SV")
        return np.array([found[(player,)] for player in range(players)])

    return values


def with_pydvl(players: int, utility: str) -> Any:
    """pyDVL: every subset for every player, one call each."""
    from pydvl.valuation import ShapleyValuation
    from pydvl.valuation.games import Game
    from pydvl.valuation.samplers import DeterministicUniformSampler
    from pydvl.valuation.stopping import NoStopping

    one = spinning_of(players) if utility == "spinning" else None
    vectorised = vectorised_of(players)

    class Peer(Game):
        def _score(self, X: Any) -> float:  # noqa: N803  (theirs)
            mask = np.zeros(players, dtype=bool)
            mask[X[:, 0]] = True
            return one(mask) if one else float(vectorised(mask[None])[0])

    def values() -> Any:
        game = Peer(players)
        sampler = DeterministicUniformSampler(batch_size=1)
        valuation = ShapleyValuation(utility=game.u, sampler=sampler, is_done=NoStopping(sampler), progress=False)
        valuation.fit(game.data)
        found = valuation.result
        return found.values[np.argsort(found.indices)]

    return values


ENGINES = {
    "evaluation": with_evaluation,
    "numpy": with_numpy,
    "fedjoint": with_fedjoint,
    "coopgame-py": with_coopgame,
    "shapiq": with_shapiq,
    "pydvl": with_pydvl,
}


class _Serving:
    def __init__(self, engine: str) -> None:
        self._engine = engine

    def prepare(self, players: int, utility: str) -> dict[str, Any]:
        """Import, build, run once on a small game, so that nothing is measured that happens once."""
        if self._engine != "evaluation":
            ENGINES[self._engine](3, utility)()
        self._values = ENGINES[self._engine](players, utility)
        return {}

    def measure(self, seconds: float) -> dict[str, Any]:
        """The fastest of as many runs as fit into a time, one at least: what else the machine does only adds."""
        times, found = [], None
        while not times or sum(times) < seconds:
            found, took = cpu(self._values)
            times.append(took)
        return {"seconds": min(times), "runs": len(times), "values": np.asarray(found).tolist()}


if __name__ == "__main__":
    serving = _Serving(sys.argv[1])
    answer({"prepare": serving.prepare, "measure": serving.measure})
