"""How far a contribution could be off: by privacy noise, and by which records happen to be in the reference set.

**Privacy noise.** A contribution is ``sum_t <a_t, d_it>`` with plaintext vectors ``a_t``. Noise of standard deviation s
in each coordinate of ``d_it``, fresh in each round, therefore adds the standard deviation ``s sqrt(sum_t |a_t|^2)``.
This is the error of one contribution *given the path that the model took*: what the noise did to the path itself is
part of the model that was built and is valued with it.

**Sampling.** A reference record's influence on a contribution is the derivative of the contribution by the record's
weight. The sum of squared influences is the variance that a bootstrap over the reference records converges to.
Influences of two holders on the same records are correlated, and so are their errors: covariances are kept, as what
matters between two holders is the error of their difference.

On ciphertexts influences are not to be had, but a few weighted sums of them are: :func:`covariance_of_contrasts`.

Source: Jaeckel 1972; Efron 1982 (infinitesimal jackknife, chapter 6).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedjoint.errors import ValuationError
from fedjoint.strict import strict

__all__ = ["ErrorBars", "covariance_of_contrasts", "sampling_covariance"]


@strict
@dataclass(frozen=True, kw_only=True)
class ErrorBars:
    """Standard errors of the contributions of a run, in units of the utility.

    Args:
        noise: Holder to the standard error by privacy noise, which is independent from holder to holder.
        sampling: Covariances by the choice of reference records, one row for each holder in the order of ``noise``;
            None where they could not be had.
        numbers: From how many opened numbers of each holder they are estimated, so that a standard error is itself
            sure to about ``1 / sqrt(2 numbers)`` of it; None: they are computed from every update in the clear.
        bounds: Where only that is known, holder to the most that the choice of reference records can make of its
            standard error.

    Raises:
        ValuationError: a standard error that is negative or not finite, or a matrix of another shape.
    """

    noise: dict[str, float]
    sampling: tuple[tuple[float, ...], ...] | None = None
    numbers: int | None = None
    bounds: dict[str, float] | None = None

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) and value >= 0 for value in self.noise.values()):
            raise ValuationError("a standard error by noise is negative or not finite")
        bounds = self.noise if self.bounds is None else self.bounds
        if bounds.keys() != self.noise.keys() or not all(0 <= value < math.inf for value in bounds.values()):
            raise ValuationError("a bound of a standard error is negative or not finite, or of somebody else")
        rows = self.sampling or ()
        if rows and (len(rows) != len(self.noise) or any(len(row) != len(rows) for row in rows)):
            raise ValuationError(
                f"covariances in {len(rows)} rows for {len(self.noise)} holders", expected="a square matrix"
            )
        if not all(math.isfinite(value) for row in rows for value in row) or any(
            rows[i][i] < 0 for i in range(len(rows))
        ):
            raise ValuationError("covariances of the sampling error are not finite, or a variance is negative")

    def sampling_error(self, holder: str) -> float | None:
        """Standard error by the choice of reference records; None if it is not known."""
        if self.sampling is None:
            return None
        place = list(self.noise).index(holder)
        return math.sqrt(self.sampling[place][place])

    def bound(self, holder: str) -> float | None:
        """The most that the choice of reference records can make of its standard error; None if no bound is known."""
        return None if self.bounds is None else self.bounds[holder]

    def standard_error(self, holder: str) -> float:
        """Both errors together; what is only bounded is not in it.

        Example:
            >>> ErrorBars(noise={"a": 3.0}, sampling=((16.0,),)).standard_error("a")
            5.0
        """
        return math.hypot(self.noise[holder], self.sampling_error(holder) or 0.0)

    def of_difference(self, one: str, other: str) -> float:
        """Standard error of the difference of two holders' contributions, their covariance counted.

        Example:
            >>> same = ErrorBars(noise={"a": 0.0, "b": 0.0}, sampling=((4.0, 4.0), (4.0, 4.0)))
            >>> same.of_difference("a", "b")                        # both err alike: nothing between them is uncertain
            0.0
        """
        variance = self.noise[one] ** 2 + self.noise[other] ** 2
        if self.sampling is not None:
            names = list(self.noise)
            i, j = names.index(one), names.index(other)
            variance += max(self.sampling[i][i] + self.sampling[j][j] - 2 * self.sampling[i][j], 0.0)
        return math.sqrt(variance)


def sampling_covariance(influences: Mapping[str, npt.NDArray[np.float64]]) -> tuple[tuple[float, ...], ...]:
    """Covariances of contributions by the choice of reference records.

    Args:
        influences: Holder to the derivative of its contribution by each record's weight, at equal weights that sum to
            the number of records, float64 [records].

    Returns:
        One row for each holder, in the mapping's order.

    Example:
        The mean of 1, 2, 3: derivatives (x - mean) / n, variance (1 + 1) / 9.

        >>> sampling_covariance({"a": np.array([-1.0, 0.0, 1.0]) / 3})
        ((0.2222222222222222,),)
    """
    rows: Sequence[npt.NDArray[np.float64]] = list(influences.values())
    return tuple(tuple(float(one @ other) for other in rows) for one in rows)


def covariance_of_contrasts(numbers: Mapping[str, Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    """Covariances of contributions by the choice of reference records, estimated from contrasts between groups of them.

    Args:
        numbers: Holder to its J contrasts ``sum_x xi_k(x) influence(x)`` with the multipliers of
            :class:`fedjoint.valuation.record_groups.RecordGroups`, J at least 1 and the same for all.

    Returns:
        The mean over k of the products of two holders' contrasts: one row for each holder, in the mapping's order.

    Raises:
        ValuationError: a holder has no contrasts, or another number of them than the first.

    Guarantees:
        The expectation over random groups is ``n (1 - P) / (n - 1) * G / (G - 1)``-fold :func:`sampling_covariance`
        of n records in G groups, with P the sum of the groups' squared shares: ``n / (n - 1)``-fold for equal groups,
        as if that divided by n - 1. The estimate has J degrees of freedom: a standard error from it is off by a
        fraction of about ``1 / sqrt(2 J)``. No variance is negative, nor that of any difference.

    Example:
        >>> covariance_of_contrasts({"a": [1.0, 3.0], "b": [2.0, 0.0]})
        ((5.0, 1.0), (1.0, 2.0))

    Source:
        Shao and Tu 1995, The Jackknife and Bootstrap; Kott 2001, The delete-a-group jackknife, to which it comes for
        means over records.
    """
    rows = [np.asarray(row, dtype=np.float64) for row in numbers.values()]
    counts = {len(row) for row in rows}
    if len(counts) > 1 or 0 in counts:
        raise ValuationError(
            f"{sorted(counts)} contrasts of {len(rows)} holders", expected="the same number of each, at least 1"
        )
    return tuple(tuple(float(one @ other) / len(one) for other in rows) for one in rows)
