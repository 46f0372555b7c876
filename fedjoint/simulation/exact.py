"""What only a simulation may see: every update in the clear, and with it the exact Shapley value of each round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.terms import Terms
from fedjoint.simulation.reference import ReferenceSet
from fedjoint.training.aggregate import step_rate
from fedjoint.valuation.estimate import Sampling
from fedjoint.valuation.methods import RunGames, value_run
from fedjoint.valuation.round_games import RoundGame

__all__ = ["MAX_HOLDERS_FOR_EXACT", "UpdateLog", "exact_contributions"]

#: 2^10 models a round are evaluated in seconds; more would take longer than the training.
MAX_HOLDERS_FOR_EXACT = 10

Vector = npt.NDArray[np.float64]


class UpdateLog:
    """Hears each weighted update as it was encrypted; an observer for :class:`fedjoint.training.holder.Holder`."""

    def __init__(self) -> None:
        self._updates: dict[tuple[int, str], Vector] = {}

    def __call__(self, holder: str, round_number: int, update: Vector) -> None:
        """Keep one update."""
        self._updates[round_number, holder] = update

    def of_round(self, round_number: int, contributors: Sequence[str]) -> Vector:
        """Updates of a round, float64 [n, D], in the order of the contributors."""
        return np.stack([self._updates[round_number, holder] for holder in contributors])


def exact_contributions(
    log: UpdateLog,
    models: Sequence[Vector],
    contributors: Sequence[Sequence[str]],
    reference: ReferenceSet,
    terms: Terms,
) -> Mapping[str, float] | None:
    """Sum over rounds of the exact Shapley values of the same games that the encrypted contributions value.

    Args:
        log: The updates.
        models: The model before round 1 and after each round.
        contributors: Who took part in each round.
        reference: Measures the utility.
        terms: The agreement.

    Returns:
        A number for each holder, in units of the utility; None where there are too many holders for all coalitions.
    """
    if len(terms.holders) > MAX_HOLDERS_FOR_EXACT:
        return None
    measure = reference.of_coalitions()
    rounds = tuple(
        RoundGame(
            players=tuple(holders),
            before=before.astype(np.float64),
            updates=step_rate(terms, holders) * log.of_round(number, holders),
            reference=measure,
        )
        for number, (before, holders) in enumerate(zip(models, contributors, strict=False), start=1)
    )
    exact = value_run("shapley", RunGames(players=terms.holder_ids, as_run=rounds), Sampling())
    return dict(zip(terms.holder_ids, map(float, exact.values), strict=True))
