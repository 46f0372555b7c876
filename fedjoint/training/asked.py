"""Who is asked for an update in a round: all holders, or as many as agreed, drawn anew for each round."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fedjoint.agreement.terms import Terms

__all__ = ["asked_in_round"]


def asked_in_round(terms: Terms, number: int, active: Iterable[str]) -> list[str]:
    """The holders that a round asks, sorted.

    The order of the draw is a public function of the agreement, so that no coordinator chooses whom to ask. Privacy
    accounts do not count on it: a holder pays for each round that it takes part in.

    Args:
        terms: The agreement.
        number: The round, from 1.
        active: Who has not left the run.

    Returns:
        The first ``training.holders_per_round`` of the drawn order that are active; all who are where none is agreed.
    """
    there = set(active)
    count = terms.training.holders_per_round
    if count is None:
        return sorted(there)
    order = np.random.default_rng([terms.training.seed, number, 2]).permutation(len(terms.holders))
    return sorted([terms.holder_ids[place] for place in order if terms.holder_ids[place] in there][:count])
