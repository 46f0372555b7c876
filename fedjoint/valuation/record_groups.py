"""Random groups of reference records, whose contrasts say how far contributions are off by the choice of records.

A record's *influence* on a contribution is the derivative of the contribution by the record's weight; the sampling
covariance of two contributions is the sum over records of the products of influences. Where contributions are made on
ciphertexts no influence is known. But J sums ``sum_x xi_k(x) influence(x)`` with random multipliers, fixed before, are
as linear in the updates as the contribution itself, and the mean of their products estimates that covariance
(:func:`fedjoint.valuation.uncertainty.covariance_of_contrasts`).

Multipliers are the same within each of ``G = J + 1`` groups, so that a whole group costs one gradient. Between groups
they are rows of the discrete cosine transform, type II: orthonormal, orthogonal to the constant one (which would only
give a sum of influences, zero), and of about one size throughout, so that no contrast hangs on a few groups. Any other
such rows give the same mean of products.

Source: Shao and Tu 1995, The Jackknife and Bootstrap (grouped jackknife, random weighting); Kott 2001, The
delete-a-group jackknife; Ahmed, Natarajan and Rao 1974 (the transform).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fedjoint.encryption.scratch import pieces
from fedjoint.errors import ValuationError

__all__ = ["RecordGroups"]

_Float = TypeVar("_Float", bound=np.floating[Any])


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordGroups:
    """Which group each reference record is in, and what is contrasted.

    Args:
        groups: The group of each record, int64 [n] of 0 to G - 1.
        contrasts: Orthonormal rows that each sum to zero, float64 [J, G] with ``G = J + 1``.

    Raises:
        ValuationError: groups or contrasts that are not such.
    """

    groups: npt.NDArray[np.int64]
    contrasts: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        count = len(self.contrasts) + 1
        if count < 2 or self.contrasts.shape != (count - 1, count):
            raise ValuationError(
                f"contrasts of shape {list(self.contrasts.shape)}", expected="[J, J + 1], J at least 1"
            )
        rows = np.vstack([self.contrasts, np.full(count, 1 / math.sqrt(count))])
        if not np.allclose(rows @ rows.T, np.eye(count), rtol=0, atol=1e-9):
            raise ValuationError("contrasts that are not orthonormal, or do not sum to zero")
        if self.groups.ndim != 1 or set(np.unique(self.groups).tolist()) != set(range(count)):
            raise ValuationError(
                f"{self.groups.size} records in groups {np.unique(self.groups)[: count + 1].tolist()}",
                expected=f"groups 0 to {count - 1}, a record in each",
            )

    @classmethod
    def drawn(cls, num_records: int, *, error_numbers: int, seed: int | Sequence[int]) -> RecordGroups:
        """Split records at random into groups whose sizes differ by at most one.

        Args:
            num_records: n, at least ``error_numbers + 1``.
            error_numbers: J, at least 1.
            seed: Of numpy's generator: the same groups for the same seed.

        Raises:
            ValuationError: no contrast is wanted, or there are fewer records than groups.

        Example:
            >>> found = RecordGroups.drawn(7, error_numbers=2, seed=0)
            >>> np.bincount(found.groups).tolist()
            [3, 2, 2]
        """
        count = error_numbers + 1
        if count < 2 or num_records < count:
            raise ValuationError(
                f"{error_numbers} contrasts between groups of {num_records} records",
                expected=f"at least 1, and a record for each of {max(count, 2)} groups",
                remedy="Lower valuation.error_numbers, or take a larger reference set.",
            )
        places = np.random.default_rng(seed).permutation(num_records).astype(np.int64)
        return cls(groups=places % count, contrasts=_cosines(count))

    def contrast(self, rows: npt.NDArray[_Float]) -> npt.NDArray[_Float]:
        """Contrast what each group does to the gradient of a loss, in place.

        Args:
            rows: p of :func:`fedjoint.models.evaluate.group_gradients`, [G, D], in memory or mapped from a file; they
                are overwritten.

        Returns:
            b, the first J of the rows: ``b_k = - sqrt(G) sum_g contrasts[k, g] (p_g - s_g sum_h p_h)`` with the
            groups' shares s of the records.

        Example:
            Of two records with gradients 1 and 3 one counts more, and the other less, by the same.

            >>> two = RecordGroups(groups=np.array([0, 1]), contrasts=np.array([[0.5, -0.5]]) * math.sqrt(2))
            >>> two.contrast(np.array([[0.5], [1.5]])).round(9).tolist()
            [[1.0]]
        """
        count = len(rows)
        shares = np.bincount(self.groups, minlength=count) / len(self.groups)
        mixture = -math.sqrt(count) * (self.contrasts - self.contrasts @ shares[:, None])
        for piece in pieces(rows.shape[1], rows):
            rows[:-1, piece] = mixture.astype(rows.dtype) @ rows[:, piece]
        return rows[:-1]


def _cosines(count: int) -> npt.NDArray[np.float64]:
    """All rows but the constant one of the orthonormal transform, [count - 1, count]."""
    angles = np.outer(np.arange(1, count), 2 * np.arange(count) + 1) * (math.pi / (2 * count))
    rows: npt.NDArray[np.float64] = math.sqrt(2 / count) * np.cos(angles)
    return rows
