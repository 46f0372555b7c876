import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import TrainingError
from fedjoint.training.aggregate import (
    apply_sum,
    model_bytes,
    model_from_bytes,
    sum_bytes,
    sum_from_bytes,
    total_weight,
)
from tests.fakes import NUM_PARAMETERS, make_consortium

TERMS = make_consortium(server_learning_rate=0.5).terms
STEP, OFFSET = 2 * 8.0 / (2**20 - 2), 2**19 - 1

levels = st.lists(st.integers(0, 2**20 - 2), min_size=NUM_PARAMETERS, max_size=NUM_PARAMETERS)
models = st.lists(st.floats(-10, 10, width=32), min_size=NUM_PARAMETERS, max_size=NUM_PARAMETERS)


def test_the_model_moves_by_the_updates_weighted_by_who_is_there():
    # ahus has 40 and cork 20 of 90 records; together they are worth 60 / 90
    sums = np.array([OFFSET * 2 + 1000, OFFSET * 2 - 1000, OFFSET * 2, OFFSET * 2], dtype=np.uint64)
    after = apply_sum(np.zeros(NUM_PARAMETERS, np.float32), sums, ("ahus", "cork"), TERMS)
    moved = 0.5 * 1000 * STEP / (60 / 90)
    assert after == pytest.approx([moved, -moved, 0.0, 0.0], rel=1e-7)
    assert total_weight(TERMS, ["ahus", "cork"]) == pytest.approx(2 / 3)
    assert total_weight(TERMS, TERMS.holder_ids) == pytest.approx(1.0)


@given(models, st.lists(levels, min_size=2, max_size=3))
def test_the_next_model_is_the_same_to_the_bit_in_whatever_order_updates_arrived(model, updates):
    start = np.array(model, dtype=np.float32)
    contributors = ("ahus", "bern", "cork")[: len(updates)]
    results = {
        model_bytes(apply_sum(start, np.array(order, dtype=np.uint64).sum(axis=0), contributors, TERMS))
        for order in itertools.permutations(updates)
    }
    assert len(results) == 1


@given(models, levels)
def test_the_next_model_is_one_rounding_away_from_exact(model, update):
    start = np.array(model, dtype=np.float32)
    after = apply_sum(start, np.array(update, dtype=np.uint64), ("bern",), TERMS)
    exact = [
        float(before) + 0.5 / (30 / 90) * (level - OFFSET) * STEP for before, level in zip(start, update, strict=True)
    ]
    assert after.dtype == np.float32
    assert np.abs(after - exact).max() <= np.spacing(np.abs(np.array(exact, np.float32))).max()


def test_a_model_that_is_no_longer_finite_is_refused():
    diverged = np.array([0, 0, np.inf, 0], dtype=np.float32)
    with pytest.raises(TrainingError, match="no longer finite"):
        apply_sum(diverged, np.zeros(NUM_PARAMETERS, dtype=np.uint64), ("ahus",), TERMS)


@given(models)
def test_a_model_survives_its_bytes(model):
    start = np.array(model, dtype=np.float32)
    assert model_from_bytes(model_bytes(start), TERMS).tobytes() == start.tobytes()
    assert model_bytes(start) == start.astype("<f4").tobytes()


@given(levels)
def test_a_sum_survives_its_bytes(sums):
    assert sum_from_bytes(sum_bytes(np.array(sums, dtype=np.uint64)), TERMS).tolist() == sums


@pytest.mark.parametrize("size", [0, 4 * NUM_PARAMETERS - 1, 4 * NUM_PARAMETERS + 4])
def test_a_model_of_another_length_is_refused(size):
    with pytest.raises(TrainingError, match=f"a model of {size} bytes; expected {4 * NUM_PARAMETERS} bytes"):
        model_from_bytes(bytes(size), TERMS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_is_not_finite_is_refused(value):
    with pytest.raises(TrainingError, match="not finite"):
        model_from_bytes(model_bytes(np.array([0, 0, 0, value], dtype=np.float32)), TERMS)


@pytest.mark.parametrize("size", [0, 8 * NUM_PARAMETERS - 8, 8 * NUM_PARAMETERS + 1])
def test_a_sum_of_another_length_is_refused(size):
    with pytest.raises(TrainingError, match=f"a decrypted sum of {size} bytes"):
        sum_from_bytes(bytes(size), TERMS)
