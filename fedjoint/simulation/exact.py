"""What only a simulation may see: every update in the clear, and with it the exact Shapley value of each round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.terms import Terms
from fedjoint.conduct.reference import ReferenceSet
from fedjoint.models.vector import parameters_to_vector
from fedjoint.training.aggregate import mean_rate
from fedjoint.training.local_update import agreed_module
from fedjoint.training.optimizer import linear_step, optimizer_step, start_state
from fedjoint.valuation.estimate import Sampling
from fedjoint.valuation.methods import RunGames, value_run
from fedjoint.valuation.round_games import RoundGame

__all__ = ["MAX_HOLDERS_FOR_EXACT", "UpdateLog", "exact_contributions", "holder_steps"]

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

    def items(self) -> Iterator[tuple[int, str, Vector]]:
        """Round, holder and update of all that was heard."""
        return ((number, holder, update) for (number, holder), update in self._updates.items())

    def of_round(self, round_number: int, contributors: Sequence[str]) -> Vector:
        """Updates of a round, float64 [n, D], in the order of the contributors."""
        return np.stack([self._updates[round_number, holder] for holder in contributors])


def holder_steps(log: UpdateLog, contributors: Sequence[Sequence[str]], terms: Terms) -> Iterator[Mapping[str, Vector]]:
    """Each holder's part in the step of each round, whatever the server remembers; the parts sum to the step.

    Args:
        log: The updates.
        contributors: Who took part in each round.
        terms: The agreement.

    Returns:
        Round by round, holder to float64 [D]; those without a part are left out.

    Source: :mod:`fedjoint.valuation.steps`, with the sums taken holder by holder.
    """
    state = start_state(parameters_to_vector(agreed_module(terms)), terms.training)
    remembered: dict[str, Vector] = {}
    for number, holders in enumerate(contributors, start=1):
        means = dict(zip(holders, mean_rate(terms, holders) * log.of_round(number, holders), strict=True))
        state = optimizer_step(state, np.sum(list(means.values()), axis=0), terms.training)
        step = linear_step(state, terms.training)
        kept = {holder: step.decay * one for holder, one in remembered.items() if step.decay}
        remembered = {
            holder: kept.get(holder, 0.0) + means.get(holder, np.zeros(terms.num_parameters))
            for holder in terms.holder_ids
            if holder in kept or holder in means
        }
        yield {holder: step.scale * one for holder, one in remembered.items()}


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
        RoundGame(players=tuple(steps), before=before, updates=np.stack(list(steps.values())), reference=measure)
        for before, steps in zip(models, holder_steps(log, contributors, terms), strict=False)
    )
    exact = value_run("shapley", RunGames(players=terms.holder_ids, as_run=rounds), Sampling())
    return dict(zip(terms.holder_ids, map(float, exact.values), strict=True))
