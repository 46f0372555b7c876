"""From a decrypted sum to the next model: the same arithmetic, to the bit, at every holder and at the coordinator."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.terms import Terms
from fedjoint.encryption.fixed_point import dequantise_into
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.encryption.scratch import IN_MEMORY, Bytes, Scratch, pieces, sha256_of
from fedjoint.errors import EncryptionError, TrainingError
from fedjoint.training.optimizer import Model, ServerState, num_moments, optimizer_step

__all__ = [
    "Levels",
    "Model",
    "ServerState",
    "apply_sum",
    "mean_rate",
    "model_bytes",
    "model_sha256",
    "state_bytes",
    "state_from_bytes",
    "step_rate",
    "sum_bytes",
    "sum_from_bytes",
    "total_weight",
]

Levels = npt.NDArray[np.uint64]


def total_weight(terms: Terms, contributors: Iterable[str]) -> float:
    """Sum of the certified weights of those whose updates are in a sum, in (0, 1]."""
    return float(sum(terms.weight(holder) for holder in contributors))


def mean_rate(terms: Terms, contributors: Iterable[str]) -> float:
    """What makes the mean update of an opened sum: what the server's optimiser is given.

    For averaged updates: one over the contributors' weight. In mode ``joint`` the sum is one of
    clipped gradients, and is divided by the clip norm, so that one learning rate suits every clip norm, and by the
    sampling rate times the certified examples of *all* holders, who takes part or not: public constants of the
    agreement. A round in which holders are missing takes a shorter step.
    """
    training = terms.training
    if terms.privacy.mode == "joint":
        assert terms.privacy.clip_norm is not None  # PrivacyTerms made sure
        trained_on = (1 - terms.releases.held_out) * terms.num_examples
        return training.learning_rate / (terms.privacy.clip_norm * training.sampling_rate * trained_on)
    return 1 / total_weight(terms, contributors)


def step_rate(terms: Terms, contributors: Iterable[str]) -> float:
    """What a round of the optimiser ``sgd`` multiplies an opened sum with before adding it to the model."""
    return terms.training.server_learning_rate * mean_rate(terms, contributors)


def apply_sum(
    state: ServerState, levels: Levels, contributors: tuple[str, ...], terms: Terms, *, scratch: Scratch | None = None
) -> ServerState:
    """The model after a round: one step of the agreed optimiser along the mean update, :func:`mean_rate` times the sum.

    Args:
        state: Before the round.
        levels: The decrypted sum, uint64 [num_coordinates], in fixed-point levels.
        contributors: Ids of the holders in the sum, sorted.
        terms: The agreement.
        scratch: Where the new state is kept; in memory if None.

    Returns:
        The state after it; computed in float64 and rounded once, so that every party gets the same bits.

    Raises:
        EncryptionError: a sum of another length.
        TrainingError: the model is no longer finite.

    Source: McMahan et al. (2017), FedAvg, with certified sizes as weights; ``joint``: Abadi et al. (2016), algorithm 1.
    """
    parameters, size, rate = agreed_parameters(terms), terms.num_parameters, mean_rate(terms, contributors)
    if levels.shape != (parameters.num_parameters,):
        raise EncryptionError(f"a sum of {levels.size} numbers", expected=f"{parameters.num_parameters}")
    after = _room_for_state(terms, scratch or IN_MEMORY)
    for piece in pieces(size, levels, state.model, *state.moments, after.model, *after.moments):
        update = np.empty(piece.stop - piece.start)
        dequantise_into(update, levels[piece], len(contributors), parameters)
        update *= rate
        before = ServerState(model=state.model[piece], moments=tuple(moment[piece] for moment in state.moments))
        stepped = optimizer_step(before, update, terms.training)
        after.model[piece] = stepped.model
        for room, moment in zip(after.moments, stepped.moments, strict=True):
            room[piece] = moment
    return after


def _room_for_state(terms: Terms, scratch: Scratch) -> ServerState:
    size, moments = terms.num_parameters, num_moments(terms.training)
    return ServerState(
        model=scratch.array("<f4", size), moments=tuple(scratch.array("<f8", size) for _ in range(moments))
    )


def model_bytes(model: Model) -> bytes:
    """A model as little-endian float32."""
    return model.astype("<f4").tobytes()


def model_sha256(model: Model) -> str:
    """SHA-256 of :func:`model_bytes`, of a model of any size."""
    return sha256_of(model.astype("<f4", copy=False))


def state_bytes(state: ServerState, *, scratch: Scratch | None = None) -> Bytes:
    """A model as :func:`model_bytes` writes it, then the optimiser's moments as little-endian float64."""
    parts = [state.model.astype("<f4", copy=False), *(moment.astype("<f8", copy=False) for moment in state.moments)]
    room, start = (scratch or IN_MEMORY).array("u1", sum(part.nbytes for part in parts)), 0
    for part in parts:
        data = part.view(np.uint8)
        for piece in pieces(data.size, data, room):
            room[start + piece.start : start + piece.stop] = data[piece]
        start += data.size
    return room


def state_from_bytes(data: bytes | Bytes, terms: Terms) -> ServerState:
    """Read what :func:`state_bytes` wrote; what is read are views of the bytes.

    Raises:
        TrainingError: another length than the agreed model's, or a value that is not finite.
    """
    size, moments = terms.num_parameters, num_moments(terms.training)
    expected = (4 + 8 * moments) * size
    if len(data) != expected:
        raise TrainingError(f"a model of {len(data)} bytes", expected=f"{expected} bytes")
    model = np.frombuffer(data, "<f4", count=size)
    rest = np.frombuffer(data, "<f8", offset=4 * size).reshape(moments, size)
    for array in (model, *rest):
        if not all(np.isfinite(array[piece]).all() for piece in pieces(size, array)):
            raise TrainingError("a model with values that are not finite")
    return ServerState(model=model, moments=tuple(rest))


def sum_bytes(levels: Levels) -> bytes:
    """A decrypted sum as little-endian uint64."""
    return levels.astype("<u8").tobytes()


def sum_from_bytes(data: bytes | Bytes, terms: Terms) -> Levels:
    """Read what :func:`sum_bytes` wrote, as a view of the bytes.

    Raises:
        TrainingError: another length than an agreed update's.
    """
    expected = 8 * terms.num_coordinates
    if len(data) != expected:
        raise TrainingError(f"a decrypted sum of {len(data)} bytes", expected=f"{expected} bytes")
    return np.frombuffer(data, "<u8")
