"""A cooperative game: players, and what each coalition of them is worth.

Players are opaque keys (a holder's id, say); coalitions are rows of booleans, so that a game of 1,000 players is asked
as one of 10 is, and many coalitions at once: a game that can, evaluates them together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from fedjoint.errors import ValuationError

__all__ = [
    "MAX_TABLE_PLAYERS",
    "DiagonalGame",
    "FunctionGame",
    "Game",
    "Masks",
    "Vector",
    "all_coalitions",
    "table_of",
    "values_of",
]

Masks: TypeAlias = npt.NDArray[np.bool_]
Vector: TypeAlias = npt.NDArray[np.float64]

#: 65,536 coalitions: half a mebibyte of utilities, and as many models to evaluate.
MAX_TABLE_PLAYERS = 16


class Game(Protocol):
    """What every method can value."""

    @property
    def players(self) -> tuple[Hashable, ...]:
        """Distinct keys, in the order of the masks' columns."""
        ...

    def values(self, masks: Masks) -> Vector:
        """Utilities of coalitions: bool [k, n] to float64 [k], each row for itself; must be a pure function."""
        ...


@runtime_checkable
class DiagonalGame(Game, Protocol):
    """A game whose players can also take part in part, as an update can be added in part."""

    def diagonal_gradient(self, fraction: float) -> Vector:
        """By how much each player's last bit adds where all take part by ``fraction`` in [0, 1]: float64 [n]."""
        ...


@dataclass(frozen=True, kw_only=True)
class FunctionGame:
    """A game given as a function.

    Args:
        players: Distinct keys, one at least.
        function: bool [k, n] to numbers [k].

    Raises:
        ValuationError: no players, or two with the same key.

    Example:
        >>> game = FunctionGame(players=("ahus", "bern"), function=lambda masks: masks.sum(axis=1) ** 2.0)
        >>> game.values(all_coalitions(2)).tolist()
        [0.0, 1.0, 1.0, 4.0]
    """

    players: tuple[Hashable, ...]
    function: Callable[[Masks], npt.NDArray[np.generic]]

    def __post_init__(self) -> None:
        if not self.players or len(set(self.players)) != len(self.players):
            raise ValuationError(f"players {list(self.players)!r:.80}", expected="one or more distinct keys")

    def values(self, masks: Masks) -> Vector:
        """Utilities, float64 [k]."""
        return np.asarray(self.function(masks), dtype=np.float64)


def values_of(game: Game, masks: Masks) -> Vector:
    """Ask a game, and refuse an answer that is none.

    Args:
        game: Any.
        masks: bool [k, n].

    Returns:
        float64 [k].

    Raises:
        ValuationError: not k numbers, or a utility is not finite; it names the first such coalition.
    """
    values = game.values(masks)
    if values.shape != (len(masks),):
        raise ValuationError(
            f"a game that answers {len(masks)} coalitions with numbers of shape {list(values.shape)}",
            expected=f"[{len(masks)}]",
        )
    if not np.isfinite(values).all():
        where = int(np.argmin(np.isfinite(values)))
        members = [key for key, present in zip(game.players, masks[where], strict=True) if present]
        raise ValuationError(
            f"the utility of coalition {members!r:.80} is {values[where]}",
            expected="a finite number",
            remedy="Look at that coalition's model: its loss may have overflowed.",
        )
    return values


@functools.lru_cache(maxsize=4)
def all_coalitions(num_players: int) -> Masks:
    """Every coalition once, read-only bool [2^n, n]; bit i of a row's index says whether player i is in it.

    Args:
        num_players: 1 to 16.

    Raises:
        ValuationError: more players than a table is made for.

    Example:
        >>> all_coalitions(2).astype(int).tolist()
        [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    if not 1 <= num_players <= MAX_TABLE_PLAYERS:
        raise ValuationError(
            f"{num_players} players",
            expected=f"1 to {MAX_TABLE_PLAYERS} where every coalition is evaluated",
            remedy="Use a method that samples coalitions: svarm, permutation or banzhaf_sampled.",
        )
    masks = (np.arange(1 << num_players)[:, None] >> np.arange(num_players) & 1).astype(np.bool_)
    masks.setflags(write=False)
    return masks


def table_of(game: Game) -> Vector:
    """The utility of every coalition, float64 [2^n], in the order of :func:`all_coalitions`.

    Raises:
        ValuationError: more than 16 players, or a utility is not finite.
    """
    return values_of(game, all_coalitions(len(game.players)))
