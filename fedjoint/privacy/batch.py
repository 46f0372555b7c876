"""Records to be protected, and the secret sample of them that takes part in a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedjoint.errors import InvalidValue

if TYPE_CHECKING:
    from fedjoint.privacy.noise import NoiseSource

__all__ = ["Batch", "poisson_sample"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Records with their targets, and whose they are where the unit of privacy is more than a record.

    Args:
        features: [n, ...], as the model takes them; n may be 0, as a sample can be empty.
        targets: [n], as the loss takes them.
        groups: Whole numbers [n]: equal ones mark the records of one patient, who is then protected as a whole. None:
            each record is a unit by itself.

    Raises:
        InvalidValue: lengths differ, or groups are no whole numbers.
    """

    features: NDArray[Any]
    targets: NDArray[Any]
    groups: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if len(self.features) != len(self.targets):
            raise InvalidValue("features and targets differ in length", expected="one target per record")
        if self.groups is not None and (
            self.groups.shape != self.targets.shape[:1] or not np.issubdtype(self.groups.dtype, np.integer)
        ):
            raise InvalidValue("groups do not fit the records", expected="one whole number per record")

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: NDArray[Any]) -> Batch:
        """The records of an index or mask, as a copy."""
        groups = None if self.groups is None else self.groups[index]
        return Batch(features=self.features[index], targets=self.targets[index], groups=groups)


def poisson_sample(batch: Batch, sampling_rate: float, noise: NoiseSource) -> NDArray[np.bool_]:
    """Which records take part in a step: each unit of privacy by its own secret coin, with all of its records.

    Args:
        batch: All of a holder's records.
        sampling_rate: Probability of each unit, in (0, 1].
        noise: Where the coins come from.

    Returns:
        bool [n].

    Guarantees:
        Units are drawn independently of each other and of how many there are, which is what amplification by sampling
        assumes: never a fixed number out of a shuffled list.

    Source:
        Zhu and Wang 2019, "Poisson subsampled Rényi differential privacy".
    """
    if sampling_rate == 1:
        return np.ones(len(batch), dtype=bool)
    if batch.groups is None:
        return noise.uniform(len(batch)) < sampling_rate
    units, unit_of = np.unique(batch.groups, return_inverse=True)
    drawn: NDArray[np.bool_] = (noise.uniform(len(units)) < sampling_rate)[unit_of]
    return drawn
