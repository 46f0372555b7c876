"""One holder's share of a round in mode ``joint``: a clipped sum on the grid, and discrete noise, as integers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fedjoint.privacy.batch import Batch, poisson_sample
from fedjoint.privacy.clipped_sum import PerExampleLoss, clipped_gradient_sum
from fedjoint.privacy.discrete_gaussian import discrete_gaussian
from fedjoint.privacy.joint_plan import JointPlan
from fedjoint.privacy.noise import NoiseSource

__all__ = ["noisy_share"]


def noisy_share(
    module: torch.nn.Module, batch: Batch, *, per_example_loss: PerExampleLoss, plan: JointPlan, noise: NoiseSource
) -> NDArray[np.int64]:
    """Draw a Poisson sample and sum its clipped gradients, downhill, with the holder's share of noise.

    Args:
        module: At the round's parameters; it is left as it was.
        batch: All of the holder's records.
        per_example_loss: One loss per record, which depends on that record alone.
        plan: Public constants of the run.
        noise: The holder's source of noise and of secret samples.

    Returns:
        int64 [D + 2 (J + 1)] in steps of the grid: minus the noisy gradient sum, and for each number that is opened at
        the end, the contribution's first, two that are noise only. Nothing is divided by a number of records.

    Raises:
        PrivacyError: the module cannot be trained privately.

    Guarantees:
        The sum of the shares of all holders is private as :mod:`fedjoint.privacy.joint_plan` says. A share by itself
        carries its own part of the noise only: it may leave the holder encrypted and in no other way.
    """
    drawn = batch if plan.sampling_rate == 1 else batch.take(poisson_sample(batch, plan.sampling_rate, noise))
    gradient = clipped_gradient_sum(module, drawn, per_example_loss=per_example_loss, clip_norm=plan.clip_norm)
    share = -np.rint(gradient.total.numpy() / plan.step).astype(np.int64)
    share += discrete_gaussian(plan.num_parameters, sd=plan.share_sd, noise=noise)
    return np.concatenate([share, discrete_gaussian(plan.contribution_noises, sd=plan.contribution_sd, noise=noise)])
