"""A holder's sums over its records as integers with discrete noise, ready to be encrypted and added to others'."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedjoint.privacy.discrete_gaussian import discrete_gaussian
from fedjoint.privacy.noise import NoiseSource
from fedjoint.privacy.sum_plan import SumPlan

__all__ = ["noisy_sums"]


def noisy_sums(sums: NDArray[np.floating], plan: SumPlan, noise: NoiseSource) -> NDArray[np.int64]:
    """Round sums to the plan's grid and add this holder's noise; none if the plan, as agreed, has none.

    Args:
        sums: Float [plan.length]; one record more changes them by at most ``plan.sensitivity`` in L2.
        plan: Public constants.
        noise: The holder's source.

    Returns:
        int64 [plan.length], in steps.

    Guarantees:
        The sum of such releases of several holders is private as :mod:`fedjoint.privacy.sum_plan` says.
    """
    rounded = np.rint(np.asarray(sums, dtype=np.float64) * plan.steps).astype(np.int64)
    if not plan.noise_multiplier:
        return rounded
    return rounded + discrete_gaussian(plan.length, sd=plan.share_sd, noise=noise)
