"""From a decrypted sum to the next model: the same arithmetic, to the bit, at every holder and at the coordinator."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.terms import Terms
from fedjoint.encryption.fixed_point import dequantise_sum
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.errors import TrainingError

__all__ = [
    "apply_sum",
    "model_bytes",
    "model_from_bytes",
    "step_rate",
    "sum_bytes",
    "sum_from_bytes",
    "total_weight",
]

Model = npt.NDArray[np.float32]
Levels = npt.NDArray[np.uint64]


def total_weight(terms: Terms, contributors: Iterable[str]) -> float:
    """Sum of the certified weights of those whose updates are in a sum, in (0, 1]."""
    return float(sum(terms.weight(holder) for holder in contributors))


def step_rate(terms: Terms, contributors: Iterable[str]) -> float:
    """What a round multiplies an opened sum with before adding it to the model.

    For averaged updates: the server's rate over the contributors' weight. In mode ``joint`` the sum is one of
    gradients, and is divided by the sampling rate times the certified examples of *all* holders, who takes part or not:
    a public constant of the agreement. A round in which holders are missing takes a shorter step.
    """
    training = terms.training
    if terms.privacy.mode == "joint":
        return training.server_learning_rate * training.learning_rate / (training.sampling_rate * terms.num_examples)
    return training.server_learning_rate / total_weight(terms, contributors)


def apply_sum(model: Model, levels: Levels, contributors: tuple[str, ...], terms: Terms) -> Model:
    """The model after a round: ``w' = w + rate * sum``, with the rate of :func:`step_rate`.

    Args:
        model: float32 [D], before the round.
        levels: The decrypted sum, uint64 [D] ([D + 2] in mode ``joint``), in fixed-point levels.
        contributors: Ids of the holders in the sum, sorted.
        terms: The agreement.

    Returns:
        float32 [D]; computed in float64 and rounded once, so that every party gets the same bits.

    Raises:
        TrainingError: the model is no longer finite.

    Source: McMahan et al. (2017), FedAvg, with certified sizes as weights; ``joint``: Abadi et al. (2016), algorithm 1.
    """
    total = dequantise_sum(levels, len(contributors), agreed_parameters(terms))
    update = step_rate(terms, contributors) * total[: terms.num_parameters]
    after = (model.astype(np.float64) + update).astype(np.float32)
    if not np.isfinite(after).all():
        raise TrainingError("the model is no longer finite", remedy="Lower training.learning_rate.")
    return after


def model_bytes(model: Model) -> bytes:
    """A model as little-endian float32."""
    return model.astype("<f4").tobytes()


def model_from_bytes(data: bytes, terms: Terms) -> Model:
    """Read what :func:`model_bytes` wrote.

    Raises:
        TrainingError: another length than the agreed model's, or a value that is not finite.
    """
    expected = 4 * terms.num_parameters
    if len(data) != expected:
        raise TrainingError(f"a model of {len(data)} bytes", expected=f"{expected} bytes")
    model = np.frombuffer(data, "<f4").astype(np.float32)
    if not np.isfinite(model).all():
        raise TrainingError("a model with values that are not finite")
    return model


def sum_bytes(levels: Levels) -> bytes:
    """A decrypted sum as little-endian uint64."""
    return levels.astype("<u8").tobytes()


def sum_from_bytes(data: bytes, terms: Terms) -> Levels:
    """Read what :func:`sum_bytes` wrote.

    Raises:
        TrainingError: another length than an agreed update's.
    """
    expected = 8 * terms.num_coordinates
    if len(data) != expected:
        raise TrainingError(f"a decrypted sum of {len(data)} bytes", expected=f"{expected} bytes")
    return np.frombuffer(data, "<u8").astype(np.uint64)
