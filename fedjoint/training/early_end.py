"""When a run ends before all agreed rounds: what is kept of it, what the record says, and when it is an error."""

from __future__ import annotations

from collections.abc import Mapping

from fedjoint.errors import TrainingError
from fedjoint.training.coordinator_state import CoordinatorMemory, Logged
from fedjoint.training.plan import Log, Refusal

__all__ = ["keep_end", "log_end"]


def keep_end(memory: CoordinatorMemory, number: int, what: str, refusals: Mapping[str, Refusal]) -> None:
    """Stage that the run ends with the model so far.

    Args:
        memory: Of the coordinator.
        number: The round that was not trained or not opened.
        what: What happened, in words.
        refusals: Why, by holder.
    """
    reasons = sorted({refusal.code for refusal in refusals.values()})
    body = {"round": number, "reasons": reasons, "words": _words(refusals)}
    memory.stage_pending(None)
    memory.stage(end=f"{what} ({', '.join(reasons) or 'nobody left'})", ended=Logged(type="run.ended_early", body=body))


def log_end(memory: CoordinatorMemory, log: Log, number: int, refusals: Mapping[str, Refusal]) -> None:
    """Write down what :func:`keep_end` kept, which is an error if there is no model.

    Raises:
        TrainingError: no round was trained.
    """
    ended = memory.facts.ended
    assert ended is not None  # that is why we are here
    log(ended.type, ended.body)
    if number == 1:
        exhausted = {refusal.code for refusal in refusals.values()} == {"privacy.budget_exhausted"}
        raise TrainingError(
            f"no round could be trained. {_words(refusals)}",
            remedy="Raise privacy.epsilon or privacy.noise_multiplier, if the holders' lifetime budgets have room."
            if exhausted
            else "See each holder's own log.",
        )


def _words(refusals: Mapping[str, Refusal]) -> str:
    return "; ".join(f"{holder}: {refusal.message}" for holder, refusal in sorted(refusals.items()))
