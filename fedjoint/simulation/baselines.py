"""Models trained alone, or on pooled records, for comparison: what joining is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.terms import Terms
from fedjoint.data.division import Division
from fedjoint.data.records import Examples
from fedjoint.models.training import PlainPlan, train_plainly
from fedjoint.models.vector import parameters_to_vector
from fedjoint.training.local_update import agreed_module, agreed_task

__all__ = ["Baselines", "train_baselines"]


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """Models trained without privacy for comparison: on all records pooled, and by each holder alone."""

    pooled: npt.NDArray[np.float32]
    alone: Mapping[str, npt.NDArray[np.float32]]


def train_baselines(division: Division, terms: Terms) -> Baselines:
    """Train the agreed model with the agreed number of steps on pooled records, and on each holder's own.

    Nobody could do the first in earnest, as records may not be pooled: it is what joining is measured against.
    """
    holders = division.holders
    pooled = Examples(
        features=np.concatenate([records.examples.features for records in holders]),
        targets=np.concatenate([records.examples.targets for records in holders]),
    )
    alone = {
        records.id: _train(records.examples, terms, (terms.training.seed, place, 0))
        for place, records in enumerate(holders)
    }
    return Baselines(pooled=_train(pooled, terms, (terms.training.seed, len(holders), 0)), alone=alone)


def _train(examples: Examples, terms: Terms, seed: tuple[int, ...]) -> npt.NDArray[np.float32]:
    module, training = agreed_module(terms), terms.training
    plan = PlainPlan(
        steps=training.rounds * training.local_steps,
        learning_rate=training.learning_rate,
        sampling_rate=training.sampling_rate,
        expected_batch_size=training.sampling_rate * len(examples),
        seed=seed,
    )
    return train_plainly(
        module,
        parameters_to_vector(module),
        features=examples.features,
        targets=examples.targets,
        task=agreed_task(terms),
        plan=plan,
    )
