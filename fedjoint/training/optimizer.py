"""What the server makes of a round's mean update: the next model, by SGD, momentum or Adam.

Every party computes it from the same opened sum, to the bit: elementwise float64 arithmetic in a fixed order, rounded
to float32 once. What an optimiser remembers between rounds is part of its state, so that nothing hides in an object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedjoint.agreement.terms import TrainingTerms
from fedjoint.encryption.scratch import IN_MEMORY, Scratch, pieces
from fedjoint.errors import TrainingError
from fedjoint.valuation.steps import LinearStep

__all__ = ["Model", "ServerState", "linear_step", "num_moments", "optimizer_step", "start_state"]

Model: TypeAlias = NDArray[np.float32]
Vector: TypeAlias = NDArray[np.float64]

_MOMENTS = {"sgd": 0, "momentum": 1, "adam": 2}


@dataclass(frozen=True, kw_only=True, eq=False)
class ServerState:
    """A model between two rounds, and what the server's optimiser remembers of the rounds before.

    Args:
        model: float32 [D].
        moments: float64 [D] each: none for ``sgd``; the velocity for ``momentum``; the means of the updates and of
            their squares for ``adam``.
    """

    model: Model
    moments: tuple[Vector, ...] = ()


def num_moments(training: TrainingTerms) -> int:
    """How many vectors the agreed optimiser remembers: 0, 1 or 2."""
    return _MOMENTS[training.server_optimizer]


def start_state(model: Model, training: TrainingTerms) -> ServerState:
    """The state before the first round.

    Args:
        model: The agreed start, float32 [D].
        training: Names the optimiser.

    Returns:
        Moments of zero, but for the second of ``adam``, which starts at ``server_tau`` squared.
    """
    starts = (0.0, training.server_tau**2)[: num_moments(training)]
    return ServerState(model=model, moments=tuple(np.full(model.shape, start) for start in starts))


def optimizer_step(state: ServerState, update: Vector, training: TrainingTerms) -> ServerState:
    """Take one step along a round's mean update d, which points downhill.

    With the server's learning rate r, momentum b, second moment's decay c and adaptivity t::

        sgd        w' = w + r d
        momentum   v' = b v + d                 w' = w + r v'
        adam       m' = b m + (1 - b) d         w' = w + r m' / (sqrt(s') + t)
                   s' = c s + (1 - c) d²

    Args:
        state: Before the round.
        update: d, float64 [D].
        training: The agreed optimiser and its constants.

    Returns:
        The state after the round; the one before is unchanged.

    Raises:
        TrainingError: the model, or a moment, is no longer finite.

    Guarantees:
        The same bits on every machine with IEEE 754 doubles: no reduction, no fused operation.

    Example:
        >>> training = TrainingTerms(server_optimizer="momentum", server_momentum=0.5)
        >>> state = start_state(np.zeros(1, np.float32), training)
        >>> for _ in range(3):
        ...     state = optimizer_step(state, np.ones(1), training)
        >>> state.model.tolist(), state.moments[0].tolist()  # 1 + 1.5 + 1.75
        ([4.25], [1.75])

    Source:
        Polyak 1964 (heavy ball); Reddi et al. 2021, "Adaptive federated optimization", algorithm 2 (FedAvgM, FedAdam:
        no correction of the bias, as there).
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below, in words
        moments, direction = _direction(state.moments, update, training)
        model: Model = (state.model.astype(np.float64) + training.server_learning_rate * direction).astype(np.float32)
    if not (np.isfinite(model).all() and all(np.isfinite(moment).all() for moment in moments)):
        raise TrainingError("the model is no longer finite", remedy="Lower training.learning_rate.")
    return ServerState(model=model, moments=moments)


def _direction(
    moments: tuple[Vector, ...], update: Vector, training: TrainingTerms
) -> tuple[tuple[Vector, ...], Vector]:
    """The moments after a round, and where the model goes for each unit of the server's learning rate."""
    if training.server_optimizer == "sgd":
        return (), update
    decay = training.server_momentum
    if training.server_optimizer == "momentum":
        velocity = decay * moments[0] + update
        return (velocity,), velocity
    mean: Vector = decay * moments[0] + (1 - decay) * update
    square: Vector = training.server_beta2 * moments[1] + (1 - training.server_beta2) * (update * update)
    return (mean, square), mean / (np.sqrt(square) + training.server_tau)


def linear_step(after: ServerState, training: TrainingTerms, *, scratch: Scratch = IN_MEMORY) -> LinearStep:
    """How the round that ended in this state made its step of this and the earlier rounds' mean updates.

    Args:
        after: What :func:`optimizer_step` returned.
        training: The agreed optimiser and its constants.
        scratch: Where a vector as long as the model is kept.

    Example:
        >>> training = TrainingTerms(server_optimizer="momentum", server_momentum=0.5, server_learning_rate=2.0)
        >>> linear_step(start_state(np.zeros(1, np.float32), training), training)
        LinearStep(scale=array([2.]), decay=0.5)
    """
    rate = training.server_learning_rate
    if training.server_optimizer == "sgd":
        return LinearStep(scale=np.array([rate]), decay=0.0)
    decay = training.server_momentum
    if training.server_optimizer == "momentum":
        return LinearStep(scale=np.array([rate]), decay=decay)
    square = after.moments[1]
    scale: Vector = scratch.array("<f8", square.size)
    for piece in pieces(square.size, square, scale):
        scale[piece] = rate * (1 - decay) / (np.sqrt(square[piece]) + training.server_tau)
    return LinearStep(scale=scale, decay=decay)
