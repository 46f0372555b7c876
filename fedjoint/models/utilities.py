"""What a model is good for, as a differentiable number: the utility whose rise the holders share.

A utility is given as a loss (its negative, up to a constant) of outputs, targets and *weights of records*, so that one
definition serves the value, its gradient in the model, and each record's influence on a contribution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from fedjoint.errors import InvalidValue
from fedjoint.models.tasks import Task

__all__ = ["NEGATIVE_LOSS", "Utility", "output_influences", "slopes_along", "utility_of"]

#: (outputs [n, k], targets [n], weights [n], task) to a scalar; of degree 0 in the weights.
WeightedLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Task], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Utility:
    """A utility as its loss.

    Args:
        name: As in the agreement.
        weighted_loss: Less is better; twice differentiable in the outputs almost everywhere.
        tasks: Names of the tasks that it has a meaning for.
    """

    name: Literal["negative_loss", "soft_auc", "cox"]
    weighted_loss: WeightedLoss
    tasks: frozenset[str]

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, task: Task) -> torch.Tensor:
        """The loss with every record counted once."""
        return self.weighted_loss(outputs, targets, torch.ones(len(targets), dtype=outputs.dtype), task)


def _mean_loss(outputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, task: Task) -> torch.Tensor:
    return (weights * task.per_example_loss(outputs, targets)).sum() / weights.sum()


def _soft_auc_loss(outputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, task: Task) -> torch.Tensor:
    """One minus the soft AUC: the mean over pairs of sigmoid(logit of the negative less that of the positive)."""
    logits, positive = outputs.squeeze(-1), targets.to(outputs.dtype)
    of_positive, of_negative = weights * positive, weights * (1 - positive)
    wrong = torch.sigmoid(logits[None, :] - logits[:, None])  # [positive, negative]
    return of_positive @ wrong @ of_negative / (of_positive.sum() * of_negative.sum())


def _cox_loss(outputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, task: Task) -> torch.Tensor:
    """Minus the log partial likelihood for each event, with Breslow's ties and mean in place of summed hazards."""
    log_hazards, times = outputs.squeeze(-1), targets.to(outputs.dtype)
    log_hazards = log_hazards - log_hazards.max().detach()  # only differences count
    order = torch.argsort(times.abs(), descending=True, stable=True)
    # at risk at a time are all that are sorted up to the last one of that very time
    last = torch.searchsorted(-times.abs()[order], -times.abs(), right=True) - 1
    at_risk = (weights * log_hazards.exp())[order].cumsum(0)[last] / weights.sum()
    events = weights * (times > 0).to(outputs.dtype)
    return -(events * (log_hazards - at_risk.log())).sum() / events.sum()


#: Minus the mean loss that the model is trained with.
NEGATIVE_LOSS = Utility(
    name="negative_loss", weighted_loss=_mean_loss, tasks=frozenset({"binary", "multiclass", "number", "survival"})
)
_UTILITIES = {
    "negative_loss": NEGATIVE_LOSS,
    "soft_auc": Utility(name="soft_auc", weighted_loss=_soft_auc_loss, tasks=frozenset({"binary"})),
    "cox": Utility(name="cox", weighted_loss=_cox_loss, tasks=frozenset({"survival"})),
}


def utility_of(name: str, task: Task) -> Utility:
    """The agreed utility.

    ``soft_auc`` is the probability that a positive record scores above a negative one, with the step between them
    smoothed to a sigmoid of the logits' difference, so that it has a gradient. ``cox`` is the log partial
    likelihood of the order in which events happened.

    Args:
        name: ``negative_loss``, ``soft_auc`` or ``cox``.
        task: What the model predicts.

    Raises:
        InvalidValue: there is no such utility, or it has no meaning for the task.

    Source:
        Yan et al. 2003 (a differentiable approximation of the Wilcoxon-Mann-Whitney statistic); Cox 1972, Breslow 1974.
    """
    utility = _UTILITIES.get(name)
    if utility is None or task.name not in utility.tasks:
        fitting = [name for name, one in _UTILITIES.items() if task.name in one.tasks]
        raise InvalidValue(f"utility '{name}' for a {task.name} target", expected="one of: " + ", ".join(fitting))
    return utility


def output_influences(
    outputs: torch.Tensor, changes: torch.Tensor, *, targets: torch.Tensor, task: Task, utility: Utility
) -> NDArray[np.float64]:
    """Each record's influence on how much the utility rises as the outputs change.

    Args:
        outputs: float64 [n, k].
        changes: Directions in which the outputs move, float64 [h, n, k].
        targets: [n].
        task: Gives the loss.
        utility: Whose rise.

    Returns:
        float64 [h, n]: the derivative by each record's weight, at weights of one, of minus the loss's derivative along
        each direction. Each row sums to zero, as only the proportions of the weights matter.
    """

    def rise(weights: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        slopes = torch.func.grad(lambda at: utility.weighted_loss(at, targets, weights, task))(outputs)
        return -(slopes * change).sum()

    weights = torch.ones(len(targets), dtype=outputs.dtype)
    found = torch.func.vmap(torch.func.grad(rise), in_dims=(None, 0))(weights, changes)
    return np.asarray(found.detach().numpy(), dtype=np.float64)


def slopes_along(
    outputs: torch.Tensor, multipliers: torch.Tensor, *, targets: torch.Tensor, task: Task, utility: Utility
) -> torch.Tensor:
    """How the loss's slope in the outputs changes as records count more or less.

    Args:
        outputs: [n, k]; no gradient flows to them.
        multipliers: By how much each record's weight changes, one direction a row, [J, n] of the outputs' type.
        targets: [n].
        task: Gives the loss.
        utility: Whose loss.

    Returns:
        [J, n, k]: the derivative along each row, at weights of one.
    """
    ones = torch.ones(len(targets), dtype=outputs.dtype)

    def by_weight(at: torch.Tensor) -> torch.Tensor:
        found = torch.func.grad(lambda weights: utility.weighted_loss(at, targets, weights, task))(ones)
        assert isinstance(found, torch.Tensor)
        return found

    pull_back = torch.func.vjp(by_weight, outputs.detach())[1]  # the order of the two derivatives does not matter
    return torch.stack([pull_back(row)[0] for row in multipliers])
