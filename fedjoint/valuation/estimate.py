"""What every method returns, what it may spend, and when it may stop."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

import numpy as np
from scipy.special import stdtrit

from fedjoint.errors import InvalidValue, ValuationError
from fedjoint.valuation.games import Game, Masks, Vector, values_of

__all__ = ["Estimate", "Evaluations", "Sampling", "add_estimates", "exact_estimate", "sampled_estimate"]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What a method that samples may spend, and how near it should come. Methods that do not sample ignore it.

    Args:
        seed: Whole numbers of at least 0; the same seed gives the same estimate.
        absolute_error: Stop once every player's half width is at most this, in units of the utility; 0: never.
        relative_error: Stop once every half width is at most this part of the mean absolute value; 0: never.
        confidence: Of the intervals, in (0, 1).
        maximum_evaluations: Coalitions evaluated at most; a method that needs more to begin says how many.
        batch: Coalitions asked of the game at once, at most.

    Raises:
        InvalidValue: a value is outside its range.
    """

    seed: tuple[int, ...] = (0,)
    absolute_error: float = 0.0
    relative_error: float = 0.0
    confidence: float = 0.95
    maximum_evaluations: int = 10_000
    batch: int = 4096

    def __post_init__(self) -> None:
        if not self.seed or min(self.seed) < 0:
            raise InvalidValue(f"seed = {list(self.seed)}", expected="whole numbers of at least 0, one or more")
        for name in ("absolute_error", "relative_error"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidValue(f"{name} = {getattr(self, name)}", expected="a finite number of at least 0")
        if not 0 < self.confidence < 1:
            raise InvalidValue(f"confidence = {self.confidence}", expected="a probability between 0 and 1")
        for name in ("maximum_evaluations", "batch"):
            if getattr(self, name) < 1:
                raise InvalidValue(f"{name} = {getattr(self, name)}", expected="at least 1")

    def generator(self) -> np.random.Generator:
        """A fresh generator from the seed."""
        return np.random.default_rng(self.seed)

    def reached(self, estimate: Estimate) -> bool:
        """Whether an estimate is as near as was asked."""
        wanted = max(self.absolute_error, self.relative_error * float(np.abs(estimate.values).mean()))
        return wanted > 0 and bool(estimate.half_widths.max() <= wanted)


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """Every player's value, and how sure it is.

    Args:
        players: The game's keys.
        values: float64 [n], in units of the utility.
        standard_errors: float64 [n], of sampling coalitions alone; zeros where none were sampled.
        half_widths: float64 [n], of the confidence intervals; zeros where none were sampled.
        evaluations: Coalitions evaluated.
        reached: Whether the error asked for was reached; True where nothing is sampled.
    """

    players: tuple[Hashable, ...]
    values: Vector
    standard_errors: Vector
    half_widths: Vector
    evaluations: int
    reached: bool = True

    def by_player(self) -> dict[Hashable, float]:
        """Value of each player."""
        return dict(zip(self.players, map(float, self.values), strict=True))


@dataclass(kw_only=True)
class Evaluations:
    """Asks a game in batches and counts; the only mutable thing in a method."""

    game: Game
    sampling: Sampling
    spent: int = field(default=0, init=False)

    @property
    def left(self) -> int:
        """How many more coalitions may be evaluated."""
        return self.sampling.maximum_evaluations - self.spent

    def values(self, masks: Masks) -> Vector:
        """Utilities of bool [k, n], float64 [k].

        Raises:
            ValuationError: the budget does not suffice, or a utility is not finite.
        """
        if len(masks) > self.left:
            raise ValuationError(
                f"maximum_evaluations = {self.sampling.maximum_evaluations}",
                expected=f"at least {self.spent + len(masks)} for {len(self.game.players)} players",
                remedy="Allow more evaluations, or use another method.",
            )
        self.spent += len(masks)
        step = self.sampling.batch
        parts = [values_of(self.game, masks[start : start + step]) for start in range(0, len(masks), step)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def ends(self) -> tuple[float, float]:
        """Utilities of nobody and of everybody."""
        nobody = np.zeros((1, len(self.game.players)), dtype=np.bool_)
        empty, full = self.values(np.concatenate([nobody, ~nobody]))
        return float(empty), float(full)


def exact_estimate(game: Game, values: Vector, *, evaluations: int) -> Estimate:
    """An estimate without sampling error."""
    nothing = np.zeros(len(values))
    return Estimate(
        players=game.players, values=values, standard_errors=nothing, half_widths=nothing, evaluations=evaluations
    )


def sampled_estimate(
    evaluations: Evaluations, values: Vector, standard_errors: Vector, *, look: int, freedom: float = math.inf
) -> Estimate:
    """An estimate with confidence intervals that hold although the method looks at them to decide when to stop.

    The k-th look has 1 / (k (k + 1)) of the error probability: together they have it all. Each interval is for one
    player, by the normal or Student's distribution, and so asymptotic.

    Args:
        evaluations: Of the game, with the sampling's rule.
        values: float64 [n].
        standard_errors: float64 [n].
        look: From 1.
        freedom: Degrees of freedom of the standard errors.
    """
    sampling = evaluations.sampling
    chance = (1 - sampling.confidence) / (look * (look + 1))
    quantile = -float(stdtrit(freedom, chance / 2))
    estimate = Estimate(
        players=evaluations.game.players,
        values=values,
        standard_errors=standard_errors,
        half_widths=quantile * standard_errors,
        evaluations=evaluations.spent,
        reached=False,
    )
    if not sampling.reached(estimate):
        return estimate
    return Estimate(**{**vars(estimate), "reached": True})


def add_estimates(estimates: Iterable[Estimate], *, players: tuple[Hashable, ...]) -> Estimate:
    """The values of a sum of games, one a round, say: a value of a sum is the sum of values.

    Args:
        estimates: Of games with any of the players, sampled independently.
        players: All players of the sum; who is in no game is worth nothing.

    Returns:
        Standard errors and half widths are roots of summed squares.

    Raises:
        ValuationError: a game has a player who is not named.
    """
    place = {player: index for index, player in enumerate(players)}
    values, variances, widths = np.zeros((3, len(players)))
    evaluations, reached = 0, True
    for estimate in estimates:
        unknown = [player for player in estimate.players if player not in place]
        if unknown:
            raise ValuationError(f"player {unknown[0]!r} in a round", expected=f"one of {list(players)!r:.80}")
        where = [place[player] for player in estimate.players]
        values[where] += estimate.values
        variances[where] += estimate.standard_errors**2
        widths[where] += estimate.half_widths**2
        evaluations, reached = evaluations + estimate.evaluations, reached and estimate.reached
    return Estimate(
        players=players,
        values=values,
        standard_errors=np.sqrt(variances),
        half_widths=np.sqrt(widths),
        evaluations=evaluations,
        reached=reached,
    )
