"""Training without privacy: for baselines, and for a holder whose own policy allows ``privacy.mode`` none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from fedjoint.errors import InvalidValue, TrainingError
from fedjoint.models.evaluate import outputs_at
from fedjoint.models.tasks import Task
from fedjoint.models.vector import check_vector

__all__ = ["PlainPlan", "train_plainly"]


@dataclass(frozen=True, kw_only=True)
class PlainPlan:
    """Steps of gradient descent without privacy.

    Args:
        steps: At least 1.
        learning_rate: In units of the mean gradient, > 0.
        sampling_rate: Probability with which each record takes part in a step, in (0, 1]; 1: every record.
        expected_batch_size: What the summed gradient is divided by: sampling rate times the certified number of
            examples, as under privacy, so that both modes take the same steps.
        proximal: FedProx: times the distance from the start, added to the mean gradient; at least 0.
        seed: Of the sampling, as whole numbers: the agreement's seed, the holder's place and the round, say.

    Raises:
        InvalidValue: a value is outside its range.
    """

    steps: int
    learning_rate: float
    sampling_rate: float = 1.0
    expected_batch_size: float
    proximal: float = 0.0
    seed: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InvalidValue(f"steps = {self.steps}", expected="at least 1")
        for name in ("learning_rate", "expected_batch_size"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidValue(f"{name} = {value}", expected="a finite number above 0")
        if not 0 <= self.proximal * self.learning_rate <= 1:
            raise InvalidValue(f"proximal = {self.proximal}", expected="0 to 1 / learning_rate")
        if not 0 < self.sampling_rate <= 1:
            raise InvalidValue(f"sampling_rate = {self.sampling_rate}", expected="a probability in (0, 1]")
        if not self.seed or min(self.seed) < 0:
            raise InvalidValue(f"seed = {list(self.seed)}", expected="whole numbers of at least 0, one or more")


def train_plainly(
    module: torch.nn.Module,
    vector: ArrayLike,
    *,
    features: ArrayLike,
    targets: ArrayLike,
    task: Task,
    plan: PlainPlan,
) -> NDArray[np.float32]:
    """Descend along the summed gradient, divided by the expected batch size, and along the pull back to the start.

    Args:
        module: Gives the computation; it is not changed.
        vector: Parameters to start from, [D].
        features: [n, inputs], n at least 1.
        targets: [n], as the task takes them.
        task: Gives the loss.
        plan: Steps, rates and seed.

    Returns:
        The parameters after the last step, float32 [D]; computed in double precision.

    Raises:
        InvalidValue: the vector does not fit the module, or features and targets differ in length or are empty.
        TrainingError: the parameters are no longer finite.

    Guarantees:
        A pure function of its arguments: the same plan draws the same samples.

    Source:
        McMahan et al. 2017 (FedAvg); Li et al. 2020, "Federated optimization in heterogeneous networks" (FedProx).
    """
    inputs, wanted = torch.from_numpy(np.array(features, dtype=np.float64)), torch.from_numpy(np.array(targets))
    if not (len(inputs) == len(wanted) > 0):
        raise InvalidValue(f"{len(inputs)} records and {len(wanted)} targets", expected="one target per record")
    generator = np.random.default_rng(plan.seed)
    point = torch.from_numpy(check_vector(module, vector)).requires_grad_(True)
    start = point.detach().clone()
    for _ in range(plan.steps):
        batch = (inputs, wanted)
        if plan.sampling_rate < 1:
            chosen = torch.from_numpy(generator.random(len(inputs)) < plan.sampling_rate)
            batch = (inputs[chosen], wanted[chosen])
        loss = task.per_example_loss(outputs_at(module, point, features=batch[0]), batch[1]).sum()
        (gradient,) = torch.autograd.grad(loss, point)
        with torch.no_grad():
            pull = plan.proximal * (point - start)
            point -= plan.learning_rate * (gradient / plan.expected_batch_size + pull)
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite and is refused below
        trained = point.detach().numpy().astype(np.float32)
    if not np.isfinite(trained).all():
        raise TrainingError("the parameters are no longer finite", remedy="Lower training.learning_rate.")
    return trained
