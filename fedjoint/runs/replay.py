"""The path of the model, computed again: from its start and every opened sum to the model that holders signed for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.agreement.terms import Terms
from fedjoint.errors import RecordError, TrainingError
from fedjoint.runs.recorded import RecordedRun
from fedjoint.training.aggregate import Levels, apply_sum, model_bytes, sum_bytes, sum_from_bytes
from fedjoint.training.optimizer import Model, ServerState, start_state

__all__ = ["MAX_SUMS_BYTES", "gradients_to_bytes", "keeps_sums", "replay_sums", "sums_to_bytes"]

#: A run keeps its sums if all agreed rounds fit into so many bytes: every table's model does.
MAX_SUMS_BYTES = 256 << 20


def keeps_sums(terms: Terms) -> bool:
    """Whether runs under these terms keep the sums that were opened, to compute the model again."""
    return 8 * terms.num_coordinates * terms.training.rounds <= MAX_SUMS_BYTES


def sums_to_bytes(start: Model, sums: Iterable[Levels]) -> bytes:
    """A model's start (little-endian float32), then the sum of each round (little-endian uint64)."""
    return model_bytes(start) + b"".join(map(sum_bytes, sums))


def gradients_to_bytes(rounds: Iterable[Sequence[int]]) -> bytes:
    """The opened validation gradient of each round, in steps of its grid: little-endian int64."""
    return b"".join(np.array(values, dtype="<i8").tobytes() for values in rounds)


def replay_sums(path: Path, run: RecordedRun, terms: Terms) -> Iterator[ServerState]:
    """Take every step of the agreed optimiser again.

    Args:
        path: What :func:`sums_to_bytes` wrote.
        run: Says who took part in each round, and what holders signed for.
        terms: The agreement.

    Returns:
        The state before round 1, and after each round.

    Raises:
        RecordError: the file has another length, or a sum or model is not the one that holders signed for.

    Guarantees:
        What holders signed for pins the start too: another one gives another model after the first round.
    """
    head, each = 4 * terms.num_parameters, 8 * terms.num_coordinates
    expected = head + each * len(run.rounds)
    if path.stat().st_size != expected:
        raise RecordError(f"{path.name} has {path.stat().st_size} bytes", expected=f"{expected} bytes")
    with path.open("rb") as file:
        state = start_state(_start(file.read(head), terms), terms.training)
        yield state
        for opened in run.rounds:
            data = file.read(each)
            if {reply.sum_sha256 for reply in opened.opened.values()} != {sha256_hex(data)}:
                raise RecordError(f"{path.name} holds another sum of round {opened.round} than holders signed for")
            contributors = tuple(sorted(run.summed[opened.round].receipts))
            state = _step(state, sum_from_bytes(data, terms), contributors, terms)
            if sha256_hex(model_bytes(state.model)) != opened.model_sha256:
                raise RecordError(f"the model after round {opened.round} is not what the sum gives")
            yield state


def _start(data: bytes, terms: Terms) -> Model:
    start = np.frombuffer(data, "<f4").astype(np.float32)
    if not np.isfinite(start).all():
        raise RecordError("the start of the model is not finite")
    return start


def _step(state: ServerState, levels: Levels, contributors: tuple[str, ...], terms: Terms) -> ServerState:
    try:
        return apply_sum(state, levels, contributors, terms)
    except TrainingError as problem:
        raise RecordError(str(problem)) from None
