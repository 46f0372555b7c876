"""What a holder's updates added, for its own eyes: by round, and by class where it has the reference records.

It is computed at the holder, from its own updates in the clear and the models that it opened. Nobody else can: the
exchange has ciphertexts and, at the end, one number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.terms import Terms
from fedjoint.conduct.path_parts import PathParts
from fedjoint.conduct.reference import ReferenceSet
from fedjoint.errors import ValuationError
from fedjoint.runs.own import OwnContribution
from fedjoint.training.aggregate import mean_rate
from fedjoint.training.diary import OwnRound
from fedjoint.training.optimizer import linear_step

__all__ = ["own_contribution"]

Vector = npt.NDArray[np.float64]


def own_contribution(
    terms: Terms,
    rounds: Iterable[OwnRound],
    *,
    holder: str,
    run_id: str,
    agreement_sha256: str,
    reference: ReferenceSet | None = None,
    stated: float | None = None,
) -> OwnContribution:
    """Value one holder's updates along the path that the model took.

    Args:
        terms: The agreement.
        rounds: The holder's diary, every agreed round in order.
        holder: Its id.
        run_id: Of the run.
        agreement_sha256: Of the agreement.
        reference: The exchange's reference set; None where contributions are measured on holders' records.
        stated: The contribution on the holder's statement, if it has one.

    Raises:
        ValuationError: the reference set is needed and missing.

    Guarantees:
        It is the number that is opened of the same updates, up to the rounding of encrypted weights, before the agreed
        guards.
    """
    if reference is None and not terms.validated_by_holders:
        raise ValuationError(
            "without the reference records nobody can say what an update added",
            expected="the exchange's reference set that the agreement commits to",
            remedy="Ask the exchange for the file; its hash is in the agreement.",
        )
    parts = PathParts(reference, terms, [holder]) if reference is not None else None
    remembered: Vector = np.zeros(terms.num_parameters)
    by_round: list[float | None] = []
    for one in rounds:
        remembered *= _kept(terms)
        if one.update is not None and holder in one.contributors:
            remembered += mean_rate(terms, one.contributors) * one.update
        by_round.append(_gain(terms, one, remembered, holder=holder, parts=parts))
    by_class: Mapping[str, Mapping[str, float]] = parts.by_class() if parts is not None else {}
    return OwnContribution(
        run_id=run_id,
        agreement_sha256=agreement_sha256,
        holder=holder,
        name=terms.holder(holder).identity.name,
        utility=terms.valuation.utility,
        num_reference=len(reference.examples) if reference is not None else None,
        by_round=tuple(by_round),
        by_class={name: values[holder] for name, values in by_class.items()},
        stated=stated,
    )


def _kept(terms: Terms) -> float:
    """What the server remembers of an update after one more round."""
    return 0.0 if terms.training.server_optimizer == "sgd" else terms.training.server_momentum


def _gain(terms: Terms, one: OwnRound, remembered: Vector, *, holder: str, parts: PathParts | None) -> float | None:
    """The holder's part in one round; None if it did not see how the model moved, and may have had one."""
    if not remembered.any():
        return 0.0
    if one.before is None or one.after is None:
        return None
    step = linear_step(one.after, terms.training).scale * remembered
    if parts is None:
        return float(one.gradient @ step) if one.gradient is not None else None
    before, after = one.before.model.astype(np.float64), one.after.model.astype(np.float64)
    return parts.add_round(before, after, {holder: step})[holder]
