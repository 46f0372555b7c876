"""One holder's part in a round before encryption: train on its own records, with noise or, by consent, without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fedjoint.agreement.terms import PrivacyTerms, Terms
from fedjoint.data.records import Examples
from fedjoint.encryption.fixed_point import Source, Steps, Update, levels_of
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.encryption.words import Words
from fedjoint.models.modules import make_module
from fedjoint.models.tasks import Task, task_of
from fedjoint.models.training import PlainPlan, train_plainly
from fedjoint.models.vector import load_vector
from fedjoint.privacy.batch import Batch
from fedjoint.privacy.joint_plan import JointPlan
from fedjoint.privacy.joint_share import noisy_share
from fedjoint.privacy.local_plan import LocalPlan
from fedjoint.privacy.local_training import private_update
from fedjoint.privacy.noise import NoiseSource

__all__ = [
    "LocalTrainer",
    "agreed_module",
    "agreed_task",
    "expected_batch_size",
    "local_plan",
    "noise_source",
    "shortened",
]

Model = npt.NDArray[np.float32]


def agreed_module(terms: Terms) -> torch.nn.Module:
    """The agreed model at its agreed start."""
    schema = terms.data.schema
    return make_module(terms.model, schema.width, outputs=schema.target.outputs, seed=terms.training.seed)


def agreed_task(terms: Terms) -> Task:
    """The agreed loss and metrics."""
    return task_of(terms.data.schema.target.task)


def noise_source(privacy: PrivacyTerms, holder_id: str, *, after_round: int = 0) -> NoiseSource:
    """The operating system's randomness, unless the agreement says, insecurely, otherwise.

    Args:
        privacy: As agreed.
        holder_id: Whose.
        after_round: The last round that a process before this one began, whose noise must not come again.
    """
    if privacy.insecure_seed is None:
        return NoiseSource.secure()
    return NoiseSource.insecure(privacy.insecure_seed, f"{holder_id}/{after_round}" if after_round else holder_id)


def expected_batch_size(terms: Terms, holder_id: str) -> float:
    """Sampling rate times the stated examples less what is held out: public, unlike the number really drawn."""
    trained_on = (1 - terms.releases.held_out) * terms.holder(holder_id).num_examples
    return terms.training.sampling_rate * trained_on


def local_plan(terms: Terms, holder_id: str) -> LocalPlan:
    """A holder's private steps of a round in mode ``local``: public constants."""
    training, privacy = terms.training, terms.privacy
    assert privacy.clip_norm is not None and privacy.noise_multiplier is not None  # PrivacyTerms made sure
    return LocalPlan(
        clip_norm=privacy.clip_norm,
        noise_multiplier=privacy.noise_multiplier,
        sampling_rate=training.sampling_rate,
        learning_rate=training.learning_rate,
        local_steps=training.local_steps,
        proximal=training.proximal,
        expected_batch_size=expected_batch_size(terms, holder_id),
    )


@dataclass(frozen=True, kw_only=True)
class LocalTrainer:
    """Trains the agreed model on one holder's examples.

    Args:
        terms: The agreement.
        holder_id: Whose examples.
        examples: The records, encoded.
        noise: Where privacy noise comes from.
    """

    terms: Terms
    holder_id: str
    examples: Examples
    noise: NoiseSource

    def source(self, model: Model, round_number: int) -> Source:
        """What this holder encrypts in one round, [num_coordinates].

        In mode ``joint`` a noisy share, integers from the start; else the weighted update, rounded without bias.

        Raises:
            PrivacyError: the update is not finite, or the module cannot be trained privately.
            TrainingError: the parameters are no longer finite.
        """
        parameters = agreed_parameters(self.terms)
        if self.terms.privacy.mode == "joint":
            # the bound leaves room for the noise: what is cut off is paid for out of delta
            share = _filled_up(self._share(model), parameters.num_parameters, noises=self.terms.contribution_noises)
            return Steps(values=share, parameters=parameters)
        return Update(
            values=_filled_up(self.update(model, round_number), parameters.num_parameters),
            parameters=parameters,
            rounding=np.random.default_rng([self.terms.training.seed, self._place, round_number, 1]),
            weight=self.terms.weight(self.holder_id),
            clip=True,
        )

    def levels(self, model: Model, round_number: int) -> Words:
        """All of :meth:`source` at once, in levels of the agreed fixed point, uint64 [num_coordinates].

        Raises:
            PrivacyError: as for :meth:`source`.
            TrainingError: as for :meth:`source`.
        """
        return levels_of(self.source(model, round_number))

    @property
    def _batch(self) -> Batch:
        groups = self.examples.groups if self.terms.privacy.unit == "patient" else None
        return Batch(features=self.examples.features, targets=self.examples.targets, groups=groups)

    @property
    def _place(self) -> int:
        return self.terms.holder_ids.index(self.holder_id)

    def _share(self, model: Model) -> npt.NDArray[np.int64]:
        module = agreed_module(self.terms)
        load_vector(module, model)
        return noisy_share(
            module,
            self._batch,
            per_example_loss=agreed_task(self.terms).per_example_loss,
            plan=JointPlan.of(self.terms),
            noise=self.noise,
        )

    def update(self, model: Model, round_number: int) -> Model:
        """The model's change by this holder's records in one round, unweighted, float32 [D]; not in mode ``joint``.

        Raises:
            PrivacyError: the update is not finite, or the module cannot be trained privately.
            TrainingError: the parameters are no longer finite.
        """
        module = agreed_module(self.terms)
        if self.terms.privacy.mode == "none":
            return self._plain_update(module, model, round_number)
        load_vector(module, model)
        return private_update(
            module,
            self._batch,
            per_example_loss=agreed_task(self.terms).per_example_loss,
            plan=local_plan(self.terms, self.holder_id),
            noise=self.noise,
        ).vector

    def _plain_update(self, module: torch.nn.Module, model: Model, round_number: int) -> Model:
        training = self.terms.training
        after = train_plainly(
            module,
            model,
            features=self.examples.features,
            targets=self.examples.targets,
            task=agreed_task(self.terms),
            plan=PlainPlan(
                steps=training.local_steps,
                learning_rate=training.learning_rate,
                sampling_rate=training.sampling_rate,
                proximal=training.proximal,
                expected_batch_size=expected_batch_size(self.terms, self.holder_id),
                seed=(training.seed, self._place, round_number),
            ),
        )
        return shortened(after - model, training.maximum_update_norm)


def shortened(update: Model, most: float | None) -> Model:
    """An update no longer than agreed, in L2.

    Example:
        >>> shortened(np.array([3.0, 4.0], np.float32), 1.0).tolist()
        [0.6000000238418579, 0.800000011920929]
    """
    length = float(np.linalg.norm(update.astype(np.float64)))
    return update if most is None or length <= most else (update * (most / length)).astype(np.float32)


def _filled_up(vector: npt.NDArray[Any], size: int, *, noises: int = 0) -> npt.NDArray[Any]:
    """The vector with zeros before its last ``noises`` numbers, so many that a ciphertext of the run is full."""
    if vector.size == size:
        return vector
    end = vector.size - noises
    return np.concatenate([vector[:end], np.zeros(size - vector.size, dtype=vector.dtype), vector[end:]])
