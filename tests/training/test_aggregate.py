import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.encryption import scratch
from fedjoint.encryption.scratch import Scratch
from fedjoint.errors import EncryptionError, TrainingError
from fedjoint.training.aggregate import (
    ServerState,
    apply_sum,
    model_bytes,
    model_sha256,
    state_bytes,
    state_from_bytes,
    sum_bytes,
    sum_from_bytes,
    total_weight,
)
from fedjoint.training.optimizer import optimizer_step, start_state
from tests.fakes import NUM_PARAMETERS, make_consortium

TERMS = make_consortium(server_learning_rate=0.5).terms
AGREED = {name: make_consortium(server_optimizer=name).terms for name in ("sgd", "momentum", "adam")}
STEP, OFFSET = 2 * 8.0 / (2**20 - 2), 2**19 - 1

levels = st.lists(st.integers(0, 2**20 - 2), min_size=NUM_PARAMETERS, max_size=NUM_PARAMETERS)
models = st.lists(st.floats(-10, 10, width=32), min_size=NUM_PARAMETERS, max_size=NUM_PARAMETERS)


def test_the_model_moves_by_the_updates_weighted_by_who_is_there():
    # ahus has 40 and cork 20 of 90 records; together they are worth 60 / 90
    sums = np.array([OFFSET * 2 + 1000, OFFSET * 2 - 1000, OFFSET * 2, OFFSET * 2], dtype=np.uint64)
    after = apply_sum(
        start_state(np.zeros(NUM_PARAMETERS, np.float32), TERMS.training), sums, ("ahus", "cork"), TERMS
    ).model
    moved = 0.5 * 1000 * STEP / (60 / 90)
    assert after == pytest.approx([moved, -moved, 0.0, 0.0], rel=1e-7)
    assert total_weight(TERMS, ["ahus", "cork"]) == pytest.approx(2 / 3)
    assert total_weight(TERMS, TERMS.holder_ids) == pytest.approx(1.0)


@given(models, st.lists(levels, min_size=2, max_size=3))
def test_the_next_model_is_the_same_to_the_bit_in_whatever_order_updates_arrived(model, updates):
    start = ServerState(model=np.array(model, dtype=np.float32))
    contributors = ("ahus", "bern", "cork")[: len(updates)]
    results = {
        state_bytes(apply_sum(start, np.array(order, dtype=np.uint64).sum(axis=0), contributors, TERMS)).tobytes()
        for order in itertools.permutations(updates)
    }
    assert len(results) == 1


@given(models, levels)
def test_the_next_model_is_one_rounding_away_from_exact(model, update):
    start = np.array(model, dtype=np.float32)
    after = apply_sum(ServerState(model=start), np.array(update, dtype=np.uint64), ("bern",), TERMS).model
    exact = [
        float(before) + 0.5 / (30 / 90) * (level - OFFSET) * STEP for before, level in zip(start, update, strict=True)
    ]
    assert after.dtype == np.float32
    assert np.abs(after - exact).max() <= np.spacing(np.abs(np.array(exact, np.float32))).max()


def test_a_model_that_is_no_longer_finite_is_refused():
    diverged = np.array([0, 0, np.inf, 0], dtype=np.float32)
    with pytest.raises(TrainingError, match="no longer finite"):
        apply_sum(ServerState(model=diverged), np.zeros(NUM_PARAMETERS, dtype=np.uint64), ("ahus",), TERMS)


@given(models, st.sampled_from(sorted(AGREED)))
def test_a_model_survives_its_bytes_with_what_the_optimiser_remembers(model, optimizer):
    terms = AGREED[optimizer]
    start = start_state(np.array(model, dtype=np.float32), terms.training)
    state = optimizer_step(start, np.arange(NUM_PARAMETERS, dtype=float), terms.training)
    again = state_from_bytes(state_bytes(state), terms)
    assert again.model.tobytes() == state.model.tobytes()
    assert [moment.tobytes() for moment in again.moments] == [moment.tobytes() for moment in state.moments]
    assert state_bytes(start)[: 4 * NUM_PARAMETERS].tobytes() == model_bytes(start.model)


@pytest.mark.parametrize("optimizer", sorted(AGREED))
def test_a_state_kept_in_files_and_worked_on_in_pieces_is_the_same_to_the_bit(optimizer, tmp_path, monkeypatch):
    terms, rng = AGREED[optimizer], np.random.default_rng(0)
    start = start_state(rng.normal(size=NUM_PARAMETERS).astype(np.float32), terms.training)
    levels = rng.integers(0, 1000, NUM_PARAMETERS, dtype=np.uint64)
    expected = apply_sum(start, levels, ("ahus", "cork"), terms)
    monkeypatch.setattr(scratch, "_PIECE", 3)
    mapped = Scratch(folder=tmp_path, small_bytes=0)
    got = apply_sum(start, levels, ("ahus", "cork"), terms, scratch=mapped)
    assert state_bytes(got, scratch=mapped).tobytes() == state_bytes(expected).tobytes()
    assert model_sha256(got.model) == sha256_hex(model_bytes(expected.model))


def test_a_sum_of_another_length_moves_no_model():
    start = start_state(np.zeros(NUM_PARAMETERS, np.float32), TERMS.training)
    with pytest.raises(EncryptionError, match=f"a sum of 3 numbers; expected {NUM_PARAMETERS}"):
        apply_sum(start, np.zeros(3, dtype=np.uint64), ("ahus",), TERMS)


@given(levels)
def test_a_sum_survives_its_bytes(sums):
    assert sum_from_bytes(sum_bytes(np.array(sums, dtype=np.uint64)), TERMS).tolist() == sums


@pytest.mark.parametrize("size", [0, 4 * NUM_PARAMETERS - 1, 4 * NUM_PARAMETERS + 4])
def test_a_model_of_another_length_is_refused(size):
    with pytest.raises(TrainingError, match=f"a model of {size} bytes; expected {4 * NUM_PARAMETERS} bytes"):
        state_from_bytes(bytes(size), TERMS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_is_not_finite_is_refused(value):
    with pytest.raises(TrainingError, match="not finite"):
        state_from_bytes(model_bytes(np.array([0, 0, 0, value], dtype=np.float32)), TERMS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_velocity_that_is_not_finite_is_refused(value):
    state = ServerState(model=np.zeros(NUM_PARAMETERS, np.float32), moments=(np.array([0, 0, 0, value]),))
    with pytest.raises(TrainingError, match="not finite"):
        state_from_bytes(state_bytes(state), AGREED["momentum"])


@pytest.mark.parametrize("size", [0, 8 * NUM_PARAMETERS - 8, 8 * NUM_PARAMETERS + 1])
def test_a_sum_of_another_length_is_refused(size):
    with pytest.raises(TrainingError, match=f"a decrypted sum of {size} bytes"):
        sum_from_bytes(bytes(size), TERMS)
