"""Contributions measured on records that holders keep out of training: the gradient along a round's path, in parts.

For the model ``w`` before a round and ``w'`` after it the path gradient is a mean over reference records ``r``::

    g = - integral_0^1 mean_r grad l(w + s (w' - w); r) ds

Each holder sums over its own held-out records what quadrature makes of the integral, every record's gradient clipped at
every node. The weights of the nodes are positive and sum to 1, so one record changes the sum by at most the clip norm:
however many nodes there are, a round releases *one* noisy sum. Only the sum over all holders is opened; divided by the
public number of records, it takes the place of the exchange's own gradient, and what is paid on follows from it.

Clipping makes the utility a little different from the mean loss: records on which the model is far off count for no
more than the clip norm. Noise in ``g`` enters every contribution: ``g`` of a round with noise of standard deviation s
in each coordinate adds ``s |r d_i|`` to holder i's. The length of an update is encrypted, and is bounded by what the
agreement allows: ``r w_i`` times steps, rate and clip norm, and the update's own noise.

Source: our own; Abadi et al. 2016 for clipping.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.terms import Terms
from fedjoint.data.records import Examples
from fedjoint.models.evaluate import loss_gradient
from fedjoint.models.vector import load_vector
from fedjoint.privacy.batch import Batch
from fedjoint.privacy.clipped_sum import clipped_gradient_sum
from fedjoint.training.local_update import agreed_module, agreed_task
from fedjoint.valuation.aumann_shapley import path_nodes

__all__ = ["path_gradient_sum"]

Model = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]


def path_gradient_sum(terms: Terms, held_out: Examples, before: Model, after: Model) -> Vector:
    """What a holder's held-out records add to a round's path gradient, before noise.

    Args:
        terms: The agreement.
        held_out: Records that the holder does not train on; may be none.
        before: The model before the round, float32 [D].
        after: The model after it, float32 [D].

    Returns:
        Minus the sum over records of their gradients along the path, each clipped where the agreement has a clip norm,
        float64 [D].

    Raises:
        PrivacyError: the module cannot be differentiated record by record.

    Guarantees:
        One unit more or less changes it by at most the clip norm, in L2, up to rounding.
    """
    total = np.zeros(terms.num_parameters)
    if not len(held_out):
        return total
    path = path_nodes(before.astype(np.float64), after.astype(np.float64), points=terms.valuation.quadrature_points)
    for model, weight in path:
        total -= weight * _gradient_sum(terms, held_out, model)
    return total


def _gradient_sum(terms: Terms, records: Examples, model: Vector) -> Vector:
    module, task, clip_norm = agreed_module(terms), agreed_task(terms), terms.privacy.clip_norm
    if clip_norm is None:
        mean = loss_gradient(module, model, features=records.features, targets=records.targets, task=task)
        return len(records) * mean
    module = module.double()
    load_vector(module, model)
    groups = records.groups if terms.privacy.unit == "patient" else None
    batch = Batch(features=records.features, targets=records.targets, groups=groups)
    found = clipped_gradient_sum(module, batch, per_example_loss=task.per_example_loss, clip_norm=clip_norm)
    return np.asarray(found.total.numpy(), dtype=np.float64)
