"""AUC and accuracy from a noisy histogram of labels by score: what remains when no score may leave its holder."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedjoint.agreement.release_terms import SCORE_BINS
from fedjoint.strict import strict

__all__ = ["HistogramMetrics", "histogram_of", "metrics_of_histogram"]

_DRAWS = 400


@strict
@dataclass(frozen=True, kw_only=True)
class HistogramMetrics:
    """Metrics with their errors (one standard deviation: of noise and of the choice of records); None: not measurable.

    Args:
        auc: Area under the ROC curve; scores in one bin count as ties.
        auc_error: Its standard deviation.
        accuracy: At a score of one half.
        accuracy_error: Its standard deviation.
        num_examples: Records in the histogram, as counted with noise, at least 0.
    """

    auc: float | None
    auc_error: float | None
    accuracy: float | None
    accuracy_error: float | None
    num_examples: float


def histogram_of(probabilities: NDArray[np.floating], targets: NDArray[np.generic]) -> NDArray[np.float64]:
    """Count records by label and score: float64 [2 * SCORE_BINS], negatives first. One record changes one count by 1.

    Args:
        probabilities: [n] in [0, 1], of the positive class.
        targets: [n], 0 or 1.

    Example:
        >>> counts = histogram_of(np.array([0.05, 0.95, 1.0]), np.array([0, 1, 1]))
        >>> counts[0], counts[-1], counts.sum()
        (np.float64(1.0), np.float64(2.0), np.float64(3.0))
    """
    bins = np.clip((probabilities * SCORE_BINS).astype(np.int64), 0, SCORE_BINS - 1)
    places = bins + SCORE_BINS * np.asarray(targets).astype(np.int64)
    return np.bincount(places, minlength=2 * SCORE_BINS).astype(np.float64)


def metrics_of_histogram(counts: NDArray[np.float64], *, noise_sd: float, seed: int = 0) -> HistogramMetrics:
    """What a noisy histogram says.

    Args:
        counts: Opened, float64 [2 * SCORE_BINS].
        noise_sd: Standard deviation of the noise on each count.
        seed: Of the error bars' own draws.

    Example:
        >>> exact = metrics_of_histogram(np.array([90.0] * 5 + [10.0] * 5 + [10.0] * 5 + [90.0] * 5), noise_sd=0.0)
        >>> exact.accuracy, exact.auc is not None and 0.85 < exact.auc < 0.95
        (0.9, True)
    """
    generator = np.random.default_rng(seed)
    likely = np.maximum(counts, 0.0)
    draws = generator.poisson(likely, size=(_DRAWS, counts.size)) + noise_sd * generator.normal(
        size=(_DRAWS, counts.size)
    )
    auc, accuracy = _auc(counts), _accuracy(counts)
    return HistogramMetrics(
        auc=auc,
        auc_error=None if auc is None else _spread([_auc(draw) for draw in draws]),
        accuracy=accuracy,
        accuracy_error=None if accuracy is None else _spread([_accuracy(draw) for draw in draws]),
        num_examples=max(0.0, float(counts.sum())),
    )


def _auc(counts: NDArray[np.float64]) -> float | None:
    """Probability that a positive scores above a negative, ties counting half; unbiased counts are not cut at zero."""
    negatives, positives = counts[:SCORE_BINS], counts[SCORE_BINS:]
    if min(negatives.sum(), positives.sum()) < 1:
        return None
    below = np.cumsum(negatives) - negatives / 2
    return float(np.clip(positives @ below / (positives.sum() * negatives.sum()), 0.0, 1.0))


def _accuracy(counts: NDArray[np.float64]) -> float | None:
    half, total = SCORE_BINS // 2, counts.sum()
    if total < 1:
        return None
    right = counts[:half].sum() + counts[SCORE_BINS + half :].sum()
    return float(np.clip(right / total, 0.0, 1.0))


def _spread(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return float(np.std(known)) if len(known) > _DRAWS // 2 else None
