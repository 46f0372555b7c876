from __future__ import annotations

import numpy as np
import pytest

from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.data.datasets.heart import HEART_SCHEMA
from fedjoint.data.datasets.synthetic import divide_synthetic, synthetic_dataset
from fedjoint.errors import DataError

AGE = Column(name="age", kind="number", center=50.0, scale=10.0, low=18.0, high=110.0)


def test_records_are_drawn_from_the_constants_of_the_schema():
    dataset = synthetic_dataset(HEART_SCHEMA, (300, 200), seed=1)
    ages = dataset.table.column("age").astype(float)
    assert len(ages) == 2_500 and ages.min() >= 18 and ages.max() <= 110
    assert abs(ages.mean() - 54) < 4 * 9 / 50 and abs(ages.std() - 9) < 4 * 9 / 70
    kinds, counts = np.unique(dataset.table.column("cp"), return_counts=True)
    assert set(kinds) == set(HEART_SCHEMA.columns[2].categories) and counts.min() > 500


def test_each_holder_has_exactly_its_size_and_the_rest_is_for_measuring():
    division = divide_synthetic(synthetic_dataset(HEART_SCHEMA, (30, 7), seed=1), (30, 7))
    assert [len(holder.examples) for holder in division.holders] == [30, 7]
    assert len(division.reference) == 2_000 and set(division.reference_holder_of) == {"Reference"}


def test_a_seed_repeats_its_records_and_another_does_not():
    def draw(seed):
        return divide_synthetic(synthetic_dataset(HEART_SCHEMA, (30, 7), seed=seed), (30, 7)).reference.sha256()

    assert draw(1) == draw(1) != draw(2)


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        (Target(name="y", task="binary", classes=("no", "yes")), 2),
        (Target(name="y", task="multiclass", classes=("a", "b", "c")), 3),
        (Target(name="y", task="number", center=5.0, scale=2.0), None),
    ],
)
def test_the_target_can_be_learnt_and_is_not_given_away(target, classes):
    schema = Schema(columns=(AGE,), target=target)
    reference = divide_synthetic(synthetic_dataset(schema, (30, 30), seed=3), (30, 30)).reference
    if classes is not None:
        assert len(np.unique(reference.targets)) == classes
        means = [reference.features[reference.targets == k].mean() for k in range(classes)]
        assert max(means) - min(means) > 0.5
    else:
        assert 0.7 < abs(np.corrcoef(reference.features[:, 0], reference.targets)[0, 1]) < 0.99


@pytest.mark.parametrize("sizes", [(), (5,), (5, 0), (999_999, 2)])
def test_sizes_out_of_range_are_refused(sizes):
    with pytest.raises(DataError, match="at least 2 holders"):
        synthetic_dataset(HEART_SCHEMA, sizes, seed=0)
