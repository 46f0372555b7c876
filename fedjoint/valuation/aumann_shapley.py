"""The Aumann-Shapley value of a round: how much of the utility gained along the round's path each update bought.

For the model ``w`` before a round and ``w' = w + sum_i d_i`` after it, the game of the round is
``v(S) = L(w) - L(w + sum_{i in S} d_i)``. Its Aumann-Shapley value is ``phi_i = <g, d_i>`` with
``g = - integral_0^1 grad L(w + s (w' - w)) ds``. It is linear in ``d_i``, so that it can be computed on a ciphertext.

Source: Aumann and Shapley (1974), Values of Non-Atomic Games, chapter 3; the diagonal formula.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedjoint.encryption.scratch import IN_MEMORY, Scratch, pieces
from fedjoint.errors import ValuationError
from fedjoint.valuation.estimate import Estimate, Sampling, exact_estimate
from fedjoint.valuation.games import DiagonalGame, Game, Vector

__all__ = ["aumann_shapley", "path_gradient", "path_nodes"]

AnyVector: TypeAlias = NDArray[np.floating[Any]]


def path_nodes(
    before: AnyVector, after: AnyVector, *, points: int, scratch: Scratch = IN_MEMORY
) -> Iterator[tuple[Vector, float]]:
    """Models along a round's straight path and their weights in the integral over it: Gauss-Legendre quadrature.

    Args:
        before: The model before the round, float [D].
        after: The model after the round, float [D].
        points: Nodes, 1 to 32.
        scratch: Where the models are kept.

    Returns:
        Model (float64 [D]) and weight, one by one; the weights sum to 1.
    """
    nodes, weights = np.polynomial.legendre.leggauss(points)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        model = scratch.array("<f8", before.size)
        for piece in pieces(before.size, before, after, model):
            start = before[piece].astype(np.float64)
            model[piece] = start + node * (after[piece] - start)
        yield model, float(weight)


def path_gradient(
    loss_gradient: Callable[[Vector], Vector],
    before: AnyVector,
    after: AnyVector,
    *,
    points: int,
    scratch: Scratch = IN_MEMORY,
) -> Vector:
    """The vector ``g`` of a round by Gauss-Legendre quadrature along the straight path of the model.

    Args:
        loss_gradient: Gradient of the utility's loss at a model, float64 [D] to float64 [D].
        before: The model before the round, float [D].
        after: The model after the round, float [D].
        points: Nodes of the quadrature, 1 to 32; exact for losses that are polynomials of degree up to ``2 * points``
            along the path.
        scratch: Where vectors as long as the model are kept.

    Returns:
        ``g``, float64 [D]: ``<g, d>`` is the contribution of an update ``d``.

    Raises:
        ValuationError: the gradient is not finite at a node.

    Guarantees:
        Efficiency: ``<g, after - before>`` is the utility gained, up to the quadrature's error.

    Example:
        >>> quadratic = lambda w: w                             # L(w) = |w|^2 / 2
        >>> g = path_gradient(quadratic, np.array([2.0, 0.0]), np.array([0.0, 1.0]), points=1)
        >>> float(g @ np.array([-2.0, 1.0]))                    # L(before) - L(after) = 2 - 0.5
        1.5
    """
    total = scratch.array("<f8", before.size)
    for model, weight in path_nodes(before, after, points=points, scratch=scratch):
        gradient = loss_gradient(model)
        for piece in pieces(total.size, total, gradient):
            total[piece] -= weight * gradient[piece]
    if not all(np.isfinite(total[piece]).all() for piece in pieces(total.size, total)):
        raise ValuationError("the loss gradient of a round is not finite", remedy="Lower training.learning_rate.")
    return total


def aumann_shapley(game: Game, sampling: Sampling, *, points: int = 4) -> Estimate:
    """The Aumann-Shapley value of a game whose players can take part in part, updates in the clear.

    Args:
        game: Must have a ``diagonal_gradient``, as :class:`fedjoint.valuation.round_games.RoundGame` has.
        sampling: Ignored: nothing is sampled.
        points: Nodes of the quadrature, 1 to 32.

    Returns:
        ``integral_0^1 dv / dx_i (s, ..., s) ds`` for each player; evaluations count gradients. For a round's game it is
        ``<g, d_i>`` with ``g`` of :func:`path_gradient`.

    Raises:
        ValuationError: the game has no diagonal, or the gradient is not finite at a node.

    Guarantees:
        Efficiency up to the quadrature's error; whoever's update is zero gets exactly 0.
    """
    del sampling
    if not isinstance(game, DiagonalGame):
        raise ValuationError(
            f"a {type(game).__name__}, in which nobody can take part in part",
            expected="the game of a round as it was run",
            remedy="Use shapley or a method that samples coalitions.",
        )
    nodes, weights = np.polynomial.legendre.leggauss(points)
    values = np.zeros(len(game.players))
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        values += weight * game.diagonal_gradient(float(node))
    if not np.isfinite(values).all():
        raise ValuationError("the gradient along a round's path is not finite", remedy="Lower training.learning_rate.")
    return exact_estimate(game, values, evaluations=points)
