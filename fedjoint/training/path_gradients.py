"""Where the gradient along a round's path comes from: the exchange's own records, or the sum of the holders' parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.terms import Terms
from fedjoint.encryption.scratch import IN_MEMORY, Scratch, pieces
from fedjoint.errors import ValuationError
from fedjoint.privacy.update_noise import longest_update
from fedjoint.privacy.validation_plan import gradient_noise_sd, gradient_sampling_sd, read_gradient
from fedjoint.strict import strict
from fedjoint.training.aggregate import ServerState, mean_rate
from fedjoint.training.optimizer import linear_step
from fedjoint.training.release_round import OpenedRelease
from fedjoint.valuation.aumann_shapley import path_gradient, path_nodes
from fedjoint.valuation.record_groups import RecordGroups

__all__ = ["AskHolders", "ExchangeGradients", "HolderGradients", "PathGradients", "Reference", "SavedNoise"]

Vector = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.floating[Any]]
#: Has the validation gradient of a round released and opened.
AskHolders = Callable[[int], OpenedRelease]


class Reference(Protocol):
    """The exchange's reference set, on which the model's worth is measured."""

    def loss(self, model: npt.NDArray[np.floating[Any]]) -> float:
        """Mean loss of a model."""
        ...

    def gradient(self, model: npt.NDArray[np.floating[Any]]) -> Vector:
        """Gradient of the mean loss, float64 [D]."""
        ...

    def contrast_gradients(
        self, model: npt.NDArray[np.floating[Any]], groups: RecordGroups, *, scratch: Scratch = IN_MEMORY
    ) -> Vectors:
        """Gradients of contrasts between groups of its records, float [J, D], kept in the scratch."""
        ...

    def metrics(self, model: npt.NDArray[np.floating[Any]]) -> Mapping[str, float | None]:
        """What people read: AUC, accuracy."""
        ...


@strict
@dataclass(frozen=True, kw_only=True)
class SavedNoise:
    """What is known so far of how far gradients are off, for whoever keeps it between two processes.

    Args:
        remembered: Holder to the length of its part in the server's memory, at most.
        variance: Holder to the variance of its contribution by noise.
        sampling: Holder to the bound on the error of its contribution by the choice of records.
    """

    remembered: dict[str, float] = field(default_factory=dict)
    variance: dict[str, float] = field(default_factory=dict)
    sampling: dict[str, float] = field(default_factory=dict)


class PathGradients(Protocol):
    """Gives each round's path gradient, and says how far it is off."""

    def of_round(self, number: int, before: ServerState, after: ServerState) -> Vector:
        """Minus the mean gradient of the loss along the path, float64 [D]; asked once a round, in order."""
        ...

    def errors_of_round(self, before: ServerState, after: ServerState) -> Vectors:
        """Gradients whose inner products with updates tell the error by the choice of records, float [J, D]."""
        ...

    def take_part(self, contributors: Sequence[str], after: ServerState) -> None:
        """Account for who moved the model along that path, with the server's state after the round."""
        ...

    def noise_error(self, holder: str) -> float:
        """Standard error of the holder's contribution by noise in the gradients, in units of the utility."""
        ...

    def sampling_bound(self, holder: str) -> float | None:
        """At most so large is its standard error by the choice of records; None: no public constant bounds it."""
        ...

    def saved(self) -> SavedNoise:
        """What :meth:`restore` needs."""
        ...

    def restore(self, saved: SavedNoise) -> None:
        """Go on from what :meth:`saved` gave."""
        ...


class ExchangeGradients:
    """Path gradients of the exchange's own reference set, which carry no noise.

    Args:
        reference: Gives the loss's gradient.
        points: Nodes of the quadrature.
        groups: Of the reference records, if the error by their choice is to be estimated.
        scratch: Where vectors as long as the model are kept.
    """

    def __init__(
        self,
        reference: Reference,
        *,
        points: int,
        groups: RecordGroups | None = None,
        scratch: Scratch = IN_MEMORY,
    ) -> None:
        self._reference, self._points, self._groups, self._scratch = reference, points, groups, scratch

    def of_round(self, number: int, before: ServerState, after: ServerState) -> Vector:
        """See :class:`PathGradients`."""
        gradient = self._reference.gradient
        return path_gradient(gradient, before.model, after.model, points=self._points, scratch=self._scratch)

    def errors_of_round(self, before: ServerState, after: ServerState) -> Vectors:
        """Taken in the middle of the path: an error need not be known as well as what it is the error of.

        Raises:
            ValuationError: a gradient is not finite.
        """
        if self._groups is None:
            return _no_errors(before)
        ((middle, _),) = path_nodes(before.model, after.model, points=1, scratch=self._scratch)
        found = self._reference.contrast_gradients(middle, self._groups, scratch=self._scratch)
        if not all(np.isfinite(found[:, piece]).all() for piece in pieces(middle.size, found)):
            raise ValuationError(
                "the gradient of a group of reference records is not finite", remedy="Lower training.learning_rate."
            )
        return found

    def take_part(self, contributors: Sequence[str], after: ServerState) -> None:
        """Do nothing."""

    def noise_error(self, holder: str) -> float:
        """No noise, no error."""
        return 0.0

    def sampling_bound(self, holder: str) -> None:
        """Nothing clips the records' gradients."""

    def saved(self) -> SavedNoise:
        """Nothing."""
        return SavedNoise()

    def restore(self, saved: SavedNoise) -> None:
        """Do nothing."""


class HolderGradients:
    """Path gradients of records that the holders keep out of training: one opened sum a round.

    Args:
        terms: The agreement.
        ask: See :data:`AskHolders`.

    Guarantees:
        :meth:`noise_error` and :meth:`sampling_bound` are upper bounds, from public constants alone: the lengths of
        updates are encrypted. Noise is fresh in each round, the held-out records are the same: errors by their choice
        add up as they are, and not in squares.
    """

    def __init__(self, terms: Terms, ask: AskHolders) -> None:
        self._terms, self._ask, self._sd, self._sampling_sd = terms, ask, 0.0, math.inf
        self._remembered = dict.fromkeys(terms.holder_ids, 0.0)
        self._variance = dict.fromkeys(terms.holder_ids, 0.0)
        self._sampling = dict.fromkeys(terms.holder_ids, 0.0)

    def of_round(self, number: int, before: ServerState, after: ServerState) -> Vector:
        """See :class:`PathGradients`.

        Raises:
            TrainingError: too few holders released their part, or opened the sum.
        """
        opened = self._ask(number)
        self._sd = gradient_noise_sd(self._terms, opened.contributors)
        self._sampling_sd = gradient_sampling_sd(self._terms, opened.contributors)
        return read_gradient(self._terms, opened.values, opened.contributors)

    def errors_of_round(self, before: ServerState, after: ServerState) -> Vectors:
        """None: no record's gradient is known."""
        return _no_errors(before)

    def take_part(self, contributors: Sequence[str], after: ServerState) -> None:
        """Add up errors of ``s |part in the step|``, with what the server remembers of earlier updates."""
        if not self._clipped:
            return  # nor is there noise, or a bound on an update's length
        step, rate = linear_step(after, self._terms.training), mean_rate(self._terms, contributors)
        for holder, before in self._remembered.items():
            sent = rate * longest_update(self._terms, holder) if holder in contributors else 0.0
            self._remembered[holder] = step.decay * before + sent
            length = float(step.scale.max()) * self._remembered[holder]
            self._variance[holder] += (self._sd * length) ** 2
            self._sampling[holder] += self._sampling_sd * length

    @property
    def _clipped(self) -> bool:
        return self._terms.privacy.clip_norm is not None

    def noise_error(self, holder: str) -> float:
        """See the class."""
        return math.sqrt(self._variance[holder])

    def sampling_bound(self, holder: str) -> float | None:
        """See the class; None without a clip norm."""
        return self._sampling[holder] if self._clipped else None

    def saved(self) -> SavedNoise:
        """See :class:`PathGradients`."""
        return SavedNoise(
            remembered=dict(self._remembered), variance=dict(self._variance), sampling=dict(self._sampling)
        )

    def restore(self, saved: SavedNoise) -> None:
        """See :class:`PathGradients`."""
        self._remembered, self._variance = dict(saved.remembered), dict(saved.variance)
        self._sampling = dict(saved.sampling)


def _no_errors(state: ServerState) -> Vectors:
    return np.zeros((0, state.model.size), dtype=np.float32)
