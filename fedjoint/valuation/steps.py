"""Which updates a round's step is made of, where the server remembers those of earlier rounds.

A server that remembers makes of the round's mean update ``u_t = r_t sum_i d_it`` a step that is linear in this and all
earlier updates, given the path that the model took::

    step_t = scale_t * sum_{s <= t} decay^(t - s) u_s

SGD: decay 0, scale the server's rate. Momentum: decay b, the same scale. Adam: decay b, scale
``rate (1 - b) / (sqrt(second moment after t) + tau)``, coordinate by coordinate: a vector that everybody knows, as the
second moment follows from the opened sums; it is held fixed, like the path itself.

The utility gained in round t is ``<g_t, step_t>`` with the path gradient g_t. Each update is credited with what it
moves in its own round *and in all later ones*::

    phi_i = sum_s <a_s, r_s d_is>,    a_s = sum_{t >= s} decay^(t - s) scale_t * g_t

which is linear in ``d_is`` with a plaintext vector, and so computed on the ciphertext; the ``phi_i`` still sum to the
utility gained. A holder that left keeps the credit for what the server still remembers of it. The price is that a
round's ciphertexts are kept until later rounds add nothing that matters.

Source: the chain of sums is our own derivation; Polyak 1964 (momentum), Reddi et al. 2021 (FedAdam).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from fedjoint.encryption.scratch import IN_MEMORY, Scratch, pieces

__all__ = ["Carried", "CarriedWeights", "LinearStep"]

T = TypeVar("T")
Vector = npt.NDArray[np.float64]

#: An update of which the server remembers less than this is done with: 131 rounds at a momentum of 0.9.
_FORGOTTEN = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearStep:
    """How a round's step follows from this and earlier updates.

    Args:
        scale: What a unit of remembered update moves each parameter by, float64 [D] (or [1] for all alike).
        decay: What is left of an update after one more round, in [0, 1).
    """

    scale: Vector
    decay: float


@dataclass(kw_only=True)
class Carried(Generic[T]):
    """A round that later ones may still change the weights of.

    Args:
        item: Of the round.
        weights: So far.
        remembered: What the server still remembers of its update, in (0, 1].
    """

    item: T
    weights: Vector
    remembered: float


class CarriedWeights(Generic[T]):
    """The vectors ``a_s``, each given out with what was kept for it once no later round changes it.

    An item is what its owner needs of a round to value it: its ciphertexts, say.

    Args:
        carried: What :attr:`carried` was, when it is taken up again.
        scratch: Where weights are kept.

    Example:
        Momentum 1/2: the first update moves the model in both rounds, the second in its own.

        >>> carried = CarriedWeights[str]()
        >>> step = LinearStep(scale=np.array([1.0]), decay=0.5)
        >>> list(carried.add_round("first", np.array([8.0]), step)), list(carried.add_round("second", np.ones(1), step))
        ([], [])
        >>> list(carried.rest())
        [('first', array([8.5])), ('second', array([1.]))]
    """

    def __init__(self, carried: Iterable[Carried[T]] = (), *, scratch: Scratch = IN_MEMORY) -> None:
        self._kept, self._scratch = list(carried), scratch

    @property
    def carried(self) -> tuple[Carried[T], ...]:
        """The rounds that are not done with, oldest first."""
        return tuple(self._kept)

    def add_round(self, item: T, gradient: Vector, step: LinearStep) -> Iterator[tuple[T, Vector]]:
        """Account for a round.

        Args:
            item: Kept until its weights are final.
            gradient: The round's path gradient, float64 [D].
            step: How the round's step was made.

        Returns:
            Items whose weights are final, with those weights, oldest first.
        """
        for kept in self._kept:
            kept.remembered *= step.decay
        credit = self._scratch.array("<f8", gradient.size)
        scale = np.broadcast_to(step.scale, gradient.shape)
        for piece in pieces(gradient.size, gradient, step.scale, credit, *(kept.weights for kept in self._kept)):
            credit[piece] = scale[piece] * gradient[piece]
            for kept in self._kept:
                kept.weights[piece] += kept.remembered * credit[piece]
        self._kept.append(Carried(item=item, weights=credit, remembered=1.0))
        done = [kept for kept in self._kept if kept.remembered * step.decay < _FORGOTTEN]
        self._kept = self._kept[len(done) :]  # what came first is forgotten first
        return ((kept.item, kept.weights) for kept in done)

    def rest(self) -> Iterator[tuple[T, Vector]]:
        """What is still kept, when no round follows."""
        kept, self._kept = self._kept, []
        return ((one.item, one.weights) for one in kept)
