"""Before a private run begins: is the noise really on, and as large as what is charged? On made-up records, at once.

The very code that will clip and noise is run, at the agreed model, with the holder's own source of noise. It finds what
an account cannot see: a generator that gives nothing, a mechanism that an installation lacks or that was changed. It is
a check of what is installed, not a proof; :mod:`fedjoint.privacy.audit` attacks the mechanism in earnest.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.terms import Terms
from fedjoint.errors import PrivacyError
from fedjoint.privacy.batch import Batch
from fedjoint.privacy.clipped_sum import clipped_gradient_sum
from fedjoint.privacy.joint_plan import JointPlan
from fedjoint.privacy.joint_share import noisy_share
from fedjoint.privacy.local_training import private_update
from fedjoint.privacy.noise import NoiseSource
from fedjoint.training.local_update import agreed_module, agreed_task, local_plan

__all__ = ["require_mechanism"]

#: With so many samples noise of the right size is outside the limits with a probability below 1e-13.
_SAMPLES, _LEAST, _MOST = 256, 0.6, 1.6
#: Hardly any sample is drawn at this rate, so that a step is noise alone.
_ALMOST_NEVER = 1e-6
_HUGE = 1e6
_ROUNDING = 1e-4


def require_mechanism(terms: Terms, holder_id: str, noise: NoiseSource) -> None:
    """Refuse to take part where clipping or noise is not what the account assumes.

    Args:
        terms: The agreement. Without privacy, or with reproducible noise, there is nothing to check.
        holder_id: The holder.
        noise: Its source.

    Raises:
        PrivacyError: a large gradient is not clipped; noise is missing, repeats itself, or is by far smaller or larger
            than agreed.
    """
    if terms.privacy.mode == "none" or not noise.is_secure:
        return
    _require_clipping(terms)
    if terms.privacy.mode == "local":
        _require_noise(*_local_noise(terms, holder_id, noise))
        return
    plan = JointPlan.of(terms)

    def share() -> npt.NDArray[np.float64]:
        module, task = agreed_module(terms), agreed_task(terms)
        none_drawn = _made_up(terms, 0)
        steps = noisy_share(module, none_drawn, per_example_loss=task.per_example_loss, plan=plan, noise=noise)
        drawn = steps.astype(np.float64)
        drawn[plan.num_parameters :] *= plan.share_sd / plan.contribution_sd
        return drawn

    _require_noise(share, float(plan.share_sd))


def _local_noise(
    terms: Terms, holder_id: str, noise: NoiseSource
) -> tuple[Callable[[], npt.NDArray[np.float64]], float]:
    plan = dataclasses.replace(local_plan(terms, holder_id), sampling_rate=_ALMOST_NEVER, local_steps=1)
    module, task = agreed_module(terms), agreed_task(terms)

    def update() -> npt.NDArray[np.float64]:
        found = private_update(
            module, _made_up(terms, 1), per_example_loss=task.per_example_loss, plan=plan, noise=noise
        )
        return found.vector.astype(np.float64)

    step = plan.learning_rate / plan.expected_batch_size
    return update, plan.noise_multiplier * plan.clip_norm * step


def _require_clipping(terms: Terms) -> None:
    clip_norm, task = terms.privacy.clip_norm, agreed_task(terms)
    assert clip_norm is not None  # modes with noise only
    batch = _made_up(terms, 2)
    found = clipped_gradient_sum(
        agreed_module(terms), batch, per_example_loss=task.per_example_loss, clip_norm=clip_norm
    )
    units = 2 if batch.groups is None else 1
    if float(found.total.norm()) > units * clip_norm * (1 + _ROUNDING):
        raise PrivacyError(
            f"the gradient of {units} made-up {terms.privacy.unit}s is {float(found.total.norm()):.3g} long",
            expected=f"at most {units * clip_norm:g}: clipping does not work here",
            remedy="Install fedjoint again; take part in nothing until `fedjoint audit` finds no attack.",
        )


def _require_noise(draw: Callable[[], npt.NDArray[np.float64]], sd: float) -> None:
    first = draw()
    drawn = [first, *(draw() for _ in range(math.ceil(_SAMPLES / len(first))))]
    # of pairs the differences: whatever is the same in both draws is no noise
    differences = np.concatenate([one - other for one, other in itertools.pairwise(drawn)])
    found = float(np.sqrt(np.mean(differences**2) / 2)) / sd
    if not _LEAST <= found <= _MOST:
        raise PrivacyError(
            f"the noise of made-up updates is {found:.3g} times what was agreed",
            expected=f"{_LEAST} to {_MOST} times: noise is off, repeats itself, or is of another size",
            remedy="Install fedjoint again; take part in nothing until `fedjoint audit` finds no attack.",
        )


def _made_up(terms: Terms, count: int) -> Batch:
    """Records of huge numbers, all of one patient where that is the unit; their gradients do not cancel."""
    signs = np.where(np.arange(count) % 2, -1, 1)[:, None]
    is_class = terms.data.schema.target.task == "multiclass"
    return Batch(
        features=(signs * np.full((count, terms.data.schema.width), _HUGE)).astype(np.float32),
        targets=np.arange(count).astype(np.int64 if is_class else np.float32),
        groups=np.zeros(count, dtype=np.int64) if terms.privacy.unit == "patient" else None,
    )
