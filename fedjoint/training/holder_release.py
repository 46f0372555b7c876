"""What a holder releases beside its updates: statistics before round 1, a histogram for metrics after the last.

And, where contributions are measured on records of the holders, in each round the gradient on what it has held out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from fedjoint.agreement.release_terms import SCORE_BINS, statistics_length
from fedjoint.agreement.terms import Terms
from fedjoint.data.records import Examples
from fedjoint.data.standardise import (
    Standardisation,
    standardise,
    statistics_of,
    statistics_sensitivity,
)
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.errors import PrivacyError, TrainingError
from fedjoint.models.evaluate import outputs_at
from fedjoint.privacy.noise import NoiseSource
from fedjoint.privacy.noisy_sums import noisy_sums
from fedjoint.privacy.sum_plan import SumPlan, deviations_kept, finest_plan, metrics_plan, most_examples
from fedjoint.privacy.validation_plan import validation_count, validation_plan
from fedjoint.training.local_update import agreed_module
from fedjoint.training.plan import OncePurpose
from fedjoint.training.validation import path_gradient_sum
from fedjoint.valuation.histogram import histogram_of

__all__ = ["HolderRecords", "plan_of", "standardisation_from"]

Model = npt.NDArray[np.float32]


class HolderRecords:
    """A holder's records as a run uses them: those it trains on, those held out, and how numbers are standardised.

    Args:
        terms: The agreement.
        holder_id: Whose they are.
        examples: All its records, encoded with the schema's public constants.
        noise: Where noise and secret choices come from.
        held_out: What :attr:`held_out` was before the process was killed; None: the choice is made now.

    Raises:
        TrainingError: the choice was made for another number of records.
    """

    def __init__(
        self, terms: Terms, holder_id: str, examples: Examples, *, noise: NoiseSource, held_out: bytes | None = None
    ) -> None:
        self._terms, self._all, self._noise = terms, examples, noise
        if terms.privacy.mode == "none":
            self._held_out = _chosen_openly(terms, holder_id, len(examples))
        else:  # secret and for each record alone, so that one record more changes nothing for the others
            self._held_out = noise.uniform(len(examples)) < terms.releases.held_out
        if held_out is not None:
            if len(held_out) != len(examples):
                raise TrainingError(
                    f"the run was begun with {len(held_out)} records and there are {len(examples)}",
                    expected="the same records until the run is over",
                )
            self._held_out = np.frombuffer(held_out, dtype=np.bool_)
        self._standardisation: Standardisation | None = None
        self._training: Examples | None = None  # standardised once, not in every round

    @property
    def held_out(self) -> bytes:
        """Which records are held out, a byte each: secret."""
        return self._held_out.tobytes()

    @property
    def training(self) -> Examples:
        """The records that updates are computed from.

        Raises:
            TrainingError: they are to be standardised by statistics that were not opened yet.
        """
        if self._training is None:
            self._training = self._part(~self._held_out)
        return self._training

    def standardise(self, standardisation: Standardisation) -> None:
        """Take the opened statistics."""
        self._standardisation = standardisation

    @property
    def validation(self) -> Examples:
        """The records that are held out.

        Raises:
            TrainingError: they are to be standardised by statistics that were not opened yet.
        """
        return self._part(self._held_out)

    def noisy_sums(self, purpose: OncePurpose, model: Model, *, before: Model) -> npt.NDArray[np.int64]:
        """What this holder encrypts for a purpose, in steps of its grid, noise included.

        Args:
            purpose: What for.
            model: After the last opened round, float32 [D].
            before: Before it; of a validation gradient, which is taken along the path between both.

        Raises:
            PrivacyError: it was not agreed, or does not fit the encryption.
            TrainingError: metrics before the statistics that records are standardised by.
        """
        if purpose == "statistics":
            sums = statistics_of(self._all, self._terms.data.schema)
        elif purpose == "metrics":
            sums = self._histogram(model)
        else:
            sums = path_gradient_sum(self._terms, self.validation, before, model)
        return noisy_sums(sums, plan_of(self._terms, purpose), self._noise)

    def _histogram(self, model: Model) -> npt.NDArray[np.float64]:
        held_out = self.validation
        if not len(held_out):
            return np.zeros(2 * SCORE_BINS)
        with torch.no_grad():
            vector = torch.from_numpy(model.astype(np.float64))
            features = torch.from_numpy(held_out.features.astype(np.float64))
            module = agreed_module(self._terms).double()
            scores = torch.sigmoid(outputs_at(module, vector, features=features)).reshape(-1)
        return histogram_of(scores.numpy(), held_out.targets)

    def _part(self, which: npt.NDArray[np.bool_]) -> Examples:
        part = self._all if which.all() else self._all.take(np.flatnonzero(which))
        if self._terms.releases.statistics_noise_multiplier is None:
            return part
        if self._standardisation is None:
            raise TrainingError("the statistics that records are standardised by were not opened yet")
        return self._standardisation.apply(part, self._terms.data.schema)


def plan_of(terms: Terms, purpose: OncePurpose) -> SumPlan:
    """How sums of a purpose are counted and blurred: public constants.

    Raises:
        PrivacyError: it was not agreed, or does not fit the encryption.
    """
    if purpose == "metrics":
        return metrics_plan(terms)
    if purpose == "validation":
        return validation_plan(terms)
    noise, schema = terms.releases.statistics_noise_multiplier, terms.data.schema
    if noise is None:
        raise PrivacyError("no statistics were agreed to be released", remedy="Agree on them first.")
    return finest_plan(
        statistics_length(schema),
        statistics_sensitivity(schema),
        noise_multiplier=noise,
        whole=False,
        largest=most_examples(terms),
        offset=agreed_parameters(terms).offset,
        deviations=deviations_kept(terms.privacy, statistics_length(schema) * len(terms.holders)),
    )


def standardisation_from(terms: Terms, steps: Sequence[int], contributors: Sequence[str]) -> Standardisation:
    """What opened statistics say, the same at every party.

    Raises:
        DataError: another number of sums than was agreed.
    """
    sums = plan_of(terms, "statistics").read(np.array(steps, dtype=np.int64))
    count = sum(terms.holder(holder).num_examples for holder in contributors)
    return standardise(sums, terms.data.schema, num_examples=count)


def _chosen_openly(terms: Terms, holder_id: str, count: int) -> npt.NDArray[np.bool_]:
    """Without privacy as many records as are counted with, by the agreed seed: the same in every run."""
    chosen = np.zeros(count, dtype=bool)
    if terms.releases.held_out:
        drawn = np.random.default_rng([terms.training.seed, terms.holder_ids.index(holder_id), 0, 2])
        chosen[drawn.permutation(count)[: validation_count(terms, holder_id)]] = True
    return chosen
