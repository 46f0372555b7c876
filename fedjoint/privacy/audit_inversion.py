"""What was the record? Gradient inversion of a single update, with the agreed protection and without.

A linear layer's gradient for one record is the outer product of slope and input, and its bias' gradient is the slope:
one divided by the other is the input, exactly. That is what an update in the clear gives away.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from fedjoint.agreement.terms import Terms
from fedjoint.errors import PrivacyError
from fedjoint.privacy.audit_report import Inversion, View
from fedjoint.privacy.batch import Batch
from fedjoint.privacy.clipped_sum import PerExampleLoss, clipped_gradient_sum
from fedjoint.privacy.joint_plan import JointPlan
from fedjoint.privacy.joint_share import noisy_share
from fedjoint.privacy.local_plan import LocalPlan
from fedjoint.privacy.local_training import private_update
from fedjoint.privacy.noise import NoiseSource

__all__ = ["inversion_of", "invert"]

_RECORDS = 25
#: A clip norm that no gradient reaches: an update without protection.
_UNBOUNDED = 1e12


def invert(module: torch.nn.Module, update: NDArray[np.floating]) -> NDArray[np.float64]:
    """Reconstruct the one record behind an update.

    Args:
        module: Whose first linear layer, with a bias, reads the record.
        update: [D], in the order of ``module.parameters()``, of any scale.

    Returns:
        The guess [width]; zeros where the update says nothing.

    Raises:
        PrivacyError: the module does not start with such a layer.

    Source:
        Phong et al. 2018, "Privacy-preserving deep learning via additively homomorphic encryption", section III;
        Geiping et al. 2020, proposition 3.1.
    """
    first = next((part for part in module.modules() if not list(part.children())), None)
    if not isinstance(first, torch.nn.Linear) or first.bias is None:
        raise PrivacyError("the model does not start with a linear layer", remedy="This attack is not for it.")
    height, width = first.weight.shape
    slopes = update[height * width : height * (width + 1)]
    row = int(np.argmax(np.abs(slopes)))
    if slopes[row] == 0:
        return np.zeros(width)
    guess: NDArray[np.float64] = update[row * width : (row + 1) * width].astype(np.float64) / float(slopes[row])
    return guess


def inversion_of(
    terms: Terms,
    view: View,
    *,
    protected: bool,
    module: torch.nn.Module,
    per_example_loss: PerExampleLoss,
    generator: np.random.Generator,
) -> Inversion:
    """Attack made-up records one by one, each alone in a holder's data.

    Args:
        terms: The agreement.
        view: What the attacker sees of the one update.
        protected: Whether the agreed clipping and noise are on.
        module: The agreed model at its start.
        per_example_loss: The agreed loss.
        generator: Makes the records up.

    Returns:
        How like the records the guesses were.
    """
    update = _update_of(terms, view, module, per_example_loss) if protected else _plain(module, per_example_loss)
    width = terms.data.schema.width
    records = generator.normal(size=(_RECORDS, width)).astype(np.float32)
    guesses = np.array([invert(module, update(_alone(terms, one, generator))) for one in records])
    errors = np.linalg.norm(guesses - records, axis=1) / np.linalg.norm(records, axis=1)
    first = guesses[0]
    if protected and first.any():
        first = first * (np.linalg.norm(records[0]) / np.linalg.norm(first))
    return Inversion(
        view=view,
        protected=protected,
        records=_RECORDS,
        relative_error=float(np.median(errors)),
        resemblance=float(np.median(_cosines(records, guesses))),
        chance=float(np.median(_cosines(records, generator.normal(size=records.shape)))),
        original=tuple(map(float, records[0])),
        guess=tuple(map(float, first)),
    )


def _alone(terms: Terms, record: NDArray[np.float32], generator: np.random.Generator) -> Batch:
    target = terms.data.schema.target
    label = generator.normal() if not target.classes else float(generator.integers(max(len(target.classes), 2)))
    kind = np.int64 if target.task == "multiclass" else np.float32
    return Batch(features=record[None], targets=np.array([label], dtype=kind))


def _cosines(records: NDArray[np.floating], guesses: NDArray[np.floating]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(records, axis=1) * np.linalg.norm(guesses, axis=1)
    cosines: NDArray[np.float64] = np.abs((records * guesses).sum(axis=1)) / np.maximum(lengths, 1e-300)
    return cosines


def _plain(module: torch.nn.Module, loss: PerExampleLoss) -> Callable[[Batch], NDArray[np.floating]]:
    return lambda one: -clipped_gradient_sum(module, one, per_example_loss=loss, clip_norm=_UNBOUNDED).total.numpy()


def _update_of(
    terms: Terms, view: View, module: torch.nn.Module, loss: PerExampleLoss
) -> Callable[[Batch], NDArray[np.floating]]:
    """One protected round, by the code that a holder runs."""
    noise, privacy, training = NoiseSource.secure(), terms.privacy, terms.training
    if view == "update":
        assert privacy.clip_norm is not None and privacy.noise_multiplier is not None  # PrivacyTerms made sure
        plan = LocalPlan(
            clip_norm=privacy.clip_norm,
            noise_multiplier=privacy.noise_multiplier,
            sampling_rate=training.sampling_rate,
            learning_rate=training.learning_rate,
            local_steps=training.local_steps,
            expected_batch_size=1.0,
        )
        return lambda one: private_update(module, one, per_example_loss=loss, plan=plan, noise=noise).vector
    joint, others = JointPlan.of(terms), terms.honest_holders - 1 if view == "aggregate" else 0

    def shares(one: Batch) -> NDArray[np.floating]:
        holders = [one, *[one.take(np.zeros(0, dtype=np.int64))] * others]
        made = [noisy_share(module, batch, per_example_loss=loss, plan=joint, noise=noise) for batch in holders]
        return np.asarray(np.sum(made, axis=0)[: joint.num_parameters], dtype=np.float64)

    return shares
