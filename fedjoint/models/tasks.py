"""What is learnt: for each kind of target its loss per record and its metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from fedjoint.errors import InvalidValue

__all__ = ["Metrics", "Task", "auc_of", "concordance_of", "task_of"]

#: Name to value; None where a metric has no meaning for the records at hand.
Metrics: TypeAlias = dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A kind of target, as its loss and its metrics.

    Args:
        name: ``binary``, ``multiclass``, ``number`` or ``survival``.
        per_example_loss: (outputs [n, k], targets [n]) to one loss per record [n]; differentiable in the outputs.
        metrics: (outputs float64 [n, k], targets [n]) to named numbers, for n of at least 1 and finite outputs.
    """

    name: Literal["binary", "multiclass", "number", "survival"]
    per_example_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    metrics: Callable[[NDArray[np.float64], NDArray[np.generic]], Metrics]


def task_of(name: Literal["binary", "multiclass", "number", "survival"]) -> Task:
    """The task of a target.

    Args:
        name: As in the schema's target. ``binary``: one logit, targets 0 or 1. ``multiclass``: one logit per class,
            targets 0 to k - 1. ``number``: one output in the target's scaled unit, and errors in that unit.
            ``survival``: one output, the log of the hazard per scaled unit of time; targets are times, below zero where
            they are censored.

    Raises:
        InvalidValue: there is no such task.

    Example:
        >>> task_of("binary").metrics(np.array([[-1.0], [2.0]]), np.array([0, 1]))
        {'auc': 1.0, 'accuracy': 1.0}
    """
    for task in _TASKS:
        if task.name == name:
            return task
    raise InvalidValue(f"task '{name}'", expected="one of: " + ", ".join(task.name for task in _TASKS))


def auc_of(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """Probability that a positive record scores above a negative one, ties counting half.

    Args:
        scores: [n].
        positive: [n].

    Returns:
        In [0, 1]; None where there are only positives or only negatives.

    Example:
        >>> auc_of(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
        0.75

    Source:
        Mann and Whitney 1947; Hanley and McNeil 1982.
    """
    num_positive = int(positive.sum())
    num_negative = positive.size - num_positive
    if num_positive == 0 or num_negative == 0:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # equal scores share the mean of their ranks
    wins = float(ranks[positive].sum()) - num_positive * (num_positive + 1) / 2
    return wins / (num_positive * num_negative)


def concordance_of(scores: NDArray[np.float64], signed_times: NDArray[np.float64]) -> float | None:
    """Probability that of two records the one with the earlier event has the higher hazard, ties counting half.

    Args:
        scores: Log hazards, [n].
        signed_times: Times, below zero where censored, [n].

    Returns:
        In [0, 1]; None where no two records can be compared.

    Example:
        >>> concordance_of(np.array([2.0, 1.0, 3.0]), np.array([1.0, 4.0, -2.0]))  # one pair in order, one not
        0.5

    Source:
        Harrell et al. 1982.
    """
    times, events = np.abs(signed_times), signed_times > 0
    earlier = events[:, None] & (times[:, None] < times[None, :])
    if not earlier.any():
        return None
    wins = (scores[:, None] > scores[None, :]) + 0.5 * (scores[:, None] == scores[None, :])
    return float(wins[earlier].mean())


def _binary_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    logits = outputs.squeeze(-1)
    return functional.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none")


def _multiclass_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs, targets.long(), reduction="none")


def _number_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return 0.5 * (outputs.squeeze(-1) - targets.to(outputs.dtype)) ** 2


def _binary_metrics(outputs: NDArray[np.float64], targets: NDArray[np.generic]) -> Metrics:
    logits, positive = outputs[:, 0], targets.astype(np.float64) > 0.5
    return {"auc": auc_of(logits, positive), "accuracy": float(((logits > 0) == positive).mean())}


def _multiclass_metrics(outputs: NDArray[np.float64], targets: NDArray[np.generic]) -> Metrics:
    """Macro one-against-the-rest AUC over the classes that occur; None where only one does."""
    exponents = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    chances = exponents / exponents.sum(axis=1, keepdims=True)
    classes = targets.astype(np.int64)
    by_class = [auc_of(chances[:, k], classes == k) for k in range(outputs.shape[1])]
    known = [auc for auc in by_class if auc is not None]
    return {
        "auc": float(np.mean(known)) if known else None,
        "accuracy": float((outputs.argmax(axis=1) == classes).mean()),
    }


def _number_metrics(outputs: NDArray[np.float64], targets: NDArray[np.generic]) -> Metrics:
    wanted = targets.astype(np.float64)
    squared_error = float(((outputs[:, 0] - wanted) ** 2).mean())
    constant = bool((wanted == wanted[0]).all())  # nothing to explain then, and the variance may be only nearly zero
    return {"r2": None if constant else 1 - squared_error / float(wanted.var()), "rmse": squared_error**0.5}


def _survival_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Minus the log-likelihood of an exponential model with proportional hazards: one number for each record."""
    log_hazards, times = outputs.squeeze(-1), targets.to(outputs.dtype)
    return times.abs() * log_hazards.exp() - (times > 0).to(outputs.dtype) * log_hazards


def _survival_metrics(outputs: NDArray[np.float64], targets: NDArray[np.generic]) -> Metrics:
    signed = targets.astype(np.float64)
    losses = _survival_loss(torch.from_numpy(outputs), torch.from_numpy(signed))
    return {"concordance": concordance_of(outputs[:, 0], signed), "survival_loss": float(losses.mean())}


_TASKS = (
    Task(name="binary", per_example_loss=_binary_loss, metrics=_binary_metrics),
    Task(name="multiclass", per_example_loss=_multiclass_loss, metrics=_multiclass_metrics),
    Task(name="number", per_example_loss=_number_loss, metrics=_number_metrics),
    Task(name="survival", per_example_loss=_survival_loss, metrics=_survival_metrics),
)
