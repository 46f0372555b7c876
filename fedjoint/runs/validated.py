"""Contributions measured on the holders' own records: what of that can be checked from a run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from fedjoint.agreement.signing import SignedAgreement
from fedjoint.agreement.terms import Terms
from fedjoint.encryption.opened import MINIMUM_OPENERS
from fedjoint.errors import RecordError
from fedjoint.privacy.validation_plan import gradient_sha256, read_gradient
from fedjoint.runs.folder import GRADIENTS, SUMS
from fedjoint.runs.recompute import require_signed
from fedjoint.runs.recorded import OpenedGradient, RecordedRun
from fedjoint.runs.replay import keeps_sums, replay_sums

__all__ = ["check_validation"]


def check_validation(folder: Path, run: RecordedRun, agreement: SignedAgreement) -> str:
    """The gradient of each round was opened alike by enough holders, and gives the gain that is stated.

    Raises:
        RecordError: names the round.
    """
    terms = agreement.terms
    rounds = [opened.round for opened in run.gradients]
    wanted = list(range(1, len(run.rounds) + 1)) if terms.validated_by_holders else []
    if rounds != wanted:
        raise RecordError(f"validation gradients were opened in rounds {rounds[:5]}…", expected="each, where agreed")
    if not terms.validated_by_holders:
        return "the exchange measures on a reference set of its own"
    for opened in run.gradients:
        _check_opened(run, opened, agreement)
    words = f"gradients of {len(rounds)} rounds, each opened alike by at least {MINIMUM_OPENERS} holders"
    if not keeps_sums(terms):
        return f"{words}; too large to compute gains again: they were not kept"
    gains = tuple(_gains(folder, run, terms))
    if not np.allclose(gains, run.valued.gains, rtol=1e-9, atol=1e-15):
        raise RecordError("the gain stated of a round is not what its gradient and the model's path give")
    return f"{words}; they give the gain of each round"


def _check_opened(run: RecordedRun, opened: OpenedGradient, agreement: SignedAgreement) -> None:
    facts = {
        "purpose": "validation",
        "round": opened.round,
        "contributors": list(opened.contributors),
        "gradient_sha256": opened.gradient_sha256,
    }
    for holder, signature in opened.opened.items():
        where = f"validation gradient of round {opened.round} opened by '{holder}'"
        require_signed(agreement, run.run_id, holder, "opened release", facts, signature, where)
    if len(opened.opened) < MINIMUM_OPENERS:
        raise RecordError(f"the gradient of round {opened.round} was opened by {len(opened.opened)} holders")
    if len(opened.contributors) < agreement.terms.training.minimum_holders:
        raise RecordError(f"the gradient of round {opened.round} is of {len(opened.contributors)} holders")


def _gains(folder: Path, run: RecordedRun, terms: Terms) -> Iterator[float]:
    """The rise of the utility in each round, from the files of opened sums and gradients."""
    path, each = folder / GRADIENTS, 8 * terms.num_parameters
    if path.stat().st_size != each * len(run.gradients):
        raise RecordError(f"{path.name} has {path.stat().st_size} bytes", expected=f"{each * len(run.gradients)} bytes")
    states = pairwise(replay_sums(folder / SUMS, run, terms))
    with path.open("rb") as file:
        for opened, (before, after) in zip(run.gradients, states, strict=True):
            values = np.frombuffer(file.read(each), "<i8").astype(np.int64)
            if gradient_sha256(values.tolist()) != opened.gradient_sha256:
                raise RecordError(f"{path.name} holds another gradient of round {opened.round} than holders signed for")
            gradient = read_gradient(terms, values, opened.contributors)
            yield float(gradient @ (after.model.astype(np.float64) - before.model))
