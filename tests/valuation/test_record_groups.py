import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.encryption.scratch import Scratch
from fedjoint.errors import ValuationError
from fedjoint.valuation.record_groups import RecordGroups

drawn = st.builds(
    lambda numbers, more, seed: RecordGroups.drawn(numbers + 1 + more, error_numbers=numbers, seed=[seed, 3]),
    st.integers(1, 16),
    st.integers(0, 60),
    st.integers(0, 1000),
)


@given(drawn)
def test_contrasts_are_orthonormal_and_orthogonal_to_ones(found):
    count = len(found.contrasts)
    assert found.contrasts.shape == (count, count + 1)
    assert found.contrasts @ found.contrasts.T == pytest.approx(np.eye(count), abs=1e-12)
    assert found.contrasts.sum(axis=1) == pytest.approx(np.zeros(count), abs=1e-12)


@given(drawn)
def test_every_record_is_in_a_group_and_groups_differ_by_one_record_at_most(found):
    sizes = np.bincount(found.groups)
    assert found.groups.dtype == np.int64 and sizes.sum() == len(found.groups)
    assert len(sizes) == found.contrasts.shape[1] and sizes.max() - sizes.min() <= 1


@given(drawn)
def test_squared_multipliers_of_every_record_are_one_on_average_and_none_is_large(found):
    multipliers = np.sqrt(found.contrasts.shape[1]) * found.contrasts[:, found.groups]
    assert (multipliers**2).mean(axis=0) == pytest.approx(np.ones(len(found.groups)), rel=1e-12)
    assert np.abs(multipliers).max() <= np.sqrt(2) * (1 + 1e-12)


def test_the_same_seed_gives_the_same_groups_and_another_one_others():
    first, again, other = (RecordGroups.drawn(60, error_numbers=8, seed=[seed, 3]).groups for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


@given(drawn, st.integers(0, 1000))
def test_contrasting_weighs_what_each_group_adds_beyond_its_share(found, seed):
    parts = np.random.default_rng(seed).normal(size=(found.contrasts.shape[1], 5))
    shares = np.bincount(found.groups)[:, None] / len(found.groups)
    expected = -np.sqrt(len(parts)) * found.contrasts @ (parts - shares * parts.sum(axis=0))
    assert found.contrast(parts) == pytest.approx(expected, abs=1e-12)


def test_contrasting_rows_in_a_file_piece_by_piece_gives_the_same(monkeypatch, tmp_path):
    monkeypatch.setattr("fedjoint.encryption.scratch._PIECE", 7)
    found, parts = RecordGroups.drawn(20, error_numbers=3, seed=0), np.random.default_rng(1).normal(size=(4, 30))
    rows = Scratch(folder=tmp_path, small_bytes=0).array("<f8", 120).reshape(4, 30)
    rows[:] = parts
    assert found.contrast(rows) == pytest.approx(found.contrast(parts), rel=1e-12)


@pytest.mark.parametrize(
    ("records", "numbers", "words"),
    [
        (8, 8, "8 contrasts between groups of 8 records; expected at least 1, and a record for each of 9 groups"),
        (8, 0, "0 contrasts"),
    ],
)
def test_groups_without_a_record_and_no_contrasts_are_refused(records, numbers, words):
    with pytest.raises(ValuationError, match=words):
        RecordGroups.drawn(records, error_numbers=numbers, seed=0)


TWO = np.array([[1.0, -1.0]]) / np.sqrt(2)


@pytest.mark.parametrize(
    ("groups", "contrasts", "words"),
    [
        ([0, 1], np.zeros((0, 1)), r"contrasts of shape \[0, 1\]"),
        ([0, 1], np.eye(2), r"contrasts of shape \[2, 2\]"),
        ([0, 1], 2 * TWO, "not orthonormal"),
        ([0, 1], np.array([[1.0, 0.0]]), "do not sum to zero"),
        ([0, 0], TWO, r"2 records in groups \[0\]"),
        ([0, 1, 2], TWO, r"in groups \[0, 1, 2\]; expected groups 0 to 1"),
        ([-1, 0, 1], TWO, "in groups"),
    ],
)
def test_what_is_no_grouping_or_no_contrast_is_refused(groups, contrasts, words):
    with pytest.raises(ValuationError, match=words):
        RecordGroups(groups=np.array(groups), contrasts=contrasts)
