"""Metrics from a histogram: close to the exact ones, with error bars that cover them."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fedjoint.valuation.histogram import histogram_of, metrics_of_histogram


def scored(count, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.random(count) < 0.4
    logits = 1.6 * (targets - 0.5) + rng.normal(size=count)
    return 1 / (1 + np.exp(-logits)), targets.astype(np.float32)


def test_every_record_is_counted_once_by_label_and_score():
    counts = histogram_of(np.array([0.0, 0.1, 0.999, 1.0, 0.55]), np.array([0, 1, 0, 1, 1]))
    assert counts.sum() == 5
    assert [int(place) for place in np.flatnonzero(counts)] == [0, 9, 11, 15, 19]


def test_without_noise_the_metrics_are_the_exact_ones_but_for_ties_within_a_bin():
    scores, targets = scored(4000)
    found = metrics_of_histogram(histogram_of(scores, targets), noise_sd=0.0)
    assert found.auc == pytest.approx(roc_auc_score(targets, scores), abs=0.01)
    assert found.accuracy == pytest.approx(np.mean((scores >= 0.5) == targets), abs=1e-12)
    assert found.num_examples == 4000


@pytest.mark.parametrize(("count", "noise_sd"), [(600, 4.0), (3000, 4.0)])
def test_the_error_bar_is_that_of_noise_and_choice_of_records(count, noise_sd):
    rng, found = np.random.default_rng(1), []
    for seed in range(120):
        scores, targets = scored(count, seed)
        noisy = histogram_of(scores, targets) + rng.normal(scale=noise_sd, size=20)
        found.append(metrics_of_histogram(noisy, noise_sd=noise_sd, seed=seed))
    spread = np.std([one.auc for one in found])
    assert np.median([one.auc_error for one in found]) == pytest.approx(spread, rel=0.5)
    assert spread < {600: 0.05, 3000: 0.015}[count]


def test_where_there_is_no_record_nothing_is_measured():
    found = metrics_of_histogram(np.zeros(20), noise_sd=3.0)
    assert (found.auc, found.accuracy, found.auc_error, found.num_examples) == (None, None, None, 0.0)
    one_class = metrics_of_histogram(np.array([5.0] * 10 + [0.0] * 10), noise_sd=0.0)
    assert one_class.auc is None and one_class.accuracy == 0.5
