"""Every method by its name: what it does to a game, and which games of a run it is done to."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from fedjoint.errors import ValuationError
from fedjoint.valuation.aumann_shapley import aumann_shapley
from fedjoint.valuation.banzhaf import banzhaf, banzhaf_sampled
from fedjoint.valuation.estimate import Estimate, Sampling, add_estimates
from fedjoint.valuation.games import MAX_TABLE_PLAYERS, Game
from fedjoint.valuation.gtg import gtg
from fedjoint.valuation.leave_one_out import leave_one_out
from fedjoint.valuation.permutation import permutation
from fedjoint.valuation.shapley import shapley
from fedjoint.valuation.svarm import svarm

__all__ = ["METHODS", "Engine", "Method", "RunGames", "value_run"]

#: From a game, and what may be spent on it, to every player's value.
Engine: TypeAlias = Callable[[Game, Sampling], Estimate]


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to value the holders of a run.

    Args:
        engine: What it does to a game.
        games: Which: each round's ``as_run`` (weights stay as they were), each round's ``renormalised`` (as if only
            the coalition had taken part), or the one of ``retraining`` (the whole training again, by every coalition).
        summary: For people who choose.
        maximum_players: In one game, or None: any number.
    """

    engine: Engine
    games: Literal["as_run", "renormalised", "retraining"]
    summary: str
    maximum_players: int | None = None


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "path": Method(
            engine=aumann_shapley, games="as_run", summary="Aumann-Shapley along each round's path: a few gradients"
        ),
        "shapley": Method(
            engine=shapley,
            games="as_run",
            summary="exact Shapley value of each round as it was run",
            maximum_players=MAX_TABLE_PLAYERS,
        ),
        "svarm": Method(
            engine=svarm, games="as_run", summary="Shapley value of each round, by stratified sampling, with intervals"
        ),
        "permutation": Method(
            engine=permutation,
            games="as_run",
            summary="Shapley value of each round, by antithetic orders of arrival, with intervals",
        ),
        "banzhaf": Method(
            engine=banzhaf,
            games="as_run",
            summary="exact Banzhaf value of each round as it was run",
            maximum_players=MAX_TABLE_PLAYERS,
        ),
        "banzhaf_sampled": Method(
            engine=banzhaf_sampled,
            games="as_run",
            summary="Banzhaf value of each round, by maximum sample reuse, with intervals",
        ),
        "leave_one_out": Method(
            engine=leave_one_out, games="renormalised", summary="what each round's average loses without a holder"
        ),
        "multi_round": Method(
            engine=shapley,
            games="renormalised",
            summary="exact multi-round Shapley (Song et al. 2019): averages of coalitions",
            maximum_players=MAX_TABLE_PLAYERS,
        ),
        "gtg": Method(
            engine=gtg, games="renormalised", summary="GTG-Shapley (Liu et al. 2022): truncated orders, biased"
        ),
        "retraining": Method(
            engine=shapley,
            games="retraining",
            summary="the yardstick: exact Shapley value of training again by every coalition",
            maximum_players=MAX_TABLE_PLAYERS,
        ),
    }
)


@dataclass(frozen=True, kw_only=True)
class RunGames:
    """The games of a finished run; those that a method does not look at may be left out.

    Args:
        players: All holders; a round's game has those who contributed to it.
        as_run: One game a round.
        renormalised: One game a round.
        retraining: One game.
    """

    players: tuple[Hashable, ...]
    as_run: tuple[Game, ...] = ()
    renormalised: tuple[Game, ...] = ()
    retraining: tuple[Game, ...] = ()


def value_run(name: str, games: RunGames, sampling: Sampling) -> Estimate:
    """Value the holders of a run by a method: the sum of its games' values.

    Args:
        name: A key of :data:`METHODS`.
        games: Of the run.
        sampling: For the whole run: budget and error are divided among its games.

    Returns:
        For all players; who contributed to no round is worth 0.

    Raises:
        ValuationError: no such method, none of the games it looks at, too many players, or what its engine refuses.
    """
    method = METHODS.get(name)
    if method is None:
        raise ValuationError(f"method '{name}'", expected="one of: " + ", ".join(METHODS))
    chosen: tuple[Game, ...] = getattr(games, method.games)
    if not chosen:
        raise ValuationError(
            f"method {name} without any game {method.games}",
            remedy="It needs updates in the clear: ask for path on ciphertexts, or value a simulation.",
        )
    largest = max(len(game.players) for game in chosen)
    if method.maximum_players is not None and largest > method.maximum_players:
        raise ValuationError(
            f"method {name} with {largest} players in a round",
            expected=f"at most {method.maximum_players}",
            remedy="Use a method that samples coalitions: svarm, permutation or banzhaf_sampled.",
        )
    each = [_share(sampling, place, len(chosen)) for place in range(len(chosen))]
    return add_estimates(map(method.engine, chosen, each), players=games.players)


def _share(sampling: Sampling, place: int, games: int) -> Sampling:
    """One game's part of a run's sampling: independent errors add up as squares do."""
    return dataclasses.replace(
        sampling,
        seed=(*sampling.seed, place),
        absolute_error=sampling.absolute_error / math.sqrt(games),
        maximum_evaluations=max(1, sampling.maximum_evaluations // games),
    )
