from collections import Counter

import numpy as np
from sklearn.datasets import load_breast_cancer as load_published

from fedjoint.data.datasets.breast_cancer import BREAST_CANCER_SCHEMA, load_breast_cancer
from fedjoint.data.encode import encode


def test_the_records_are_scikit_learns_and_malignant_is_positive():
    dataset = load_breast_cancer()
    published = load_published()
    for number, name in enumerate(published.feature_names):
        assert [float(cell) for cell in dataset.table.column(str(name))] == published.data[:, number].tolist()
    encoded = encode(dataset.table, dataset.schema)
    assert np.array_equal(encoded.targets, 1 - published.target)  # scikit-learn's 0 is malignant


def test_four_made_up_holders_of_different_sizes_share_the_records_always_alike():
    first, second = load_breast_cancer(), load_breast_cancer()
    assert Counter(first.holder_of) == {"Holder A": 228, "Holder B": 170, "Holder C": 114, "Holder D": 57}
    assert np.array_equal(first.holder_of, second.holder_of)
    assert any("made up" in note for note in first.notes)


def test_the_public_constants_centre_and_scale_every_column():
    features = encode(load_breast_cancer().table, BREAST_CANCER_SCHEMA).features
    assert features.shape == (569, 30)
    assert np.abs(features.mean(axis=0)).max() < 0.15
    assert np.abs(features.std(axis=0) - 1).max() < 0.1
