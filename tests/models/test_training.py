import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.agreement.terms import ModelTerms
from fedjoint.errors import InvalidValue, TrainingError
from fedjoint.models.evaluate import loss_gradient, mean_loss
from fedjoint.models.modules import make_module
from fedjoint.models.tasks import task_of
from fedjoint.models.training import PlainPlan, train_plainly
from fedjoint.models.vector import parameters_to_vector

GENERATOR = np.random.default_rng(2)
FEATURES = GENERATOR.normal(size=(40, 3)).astype(np.float32)
TARGETS = (FEATURES @ [1.0, -2.0, 0.5] + 0.3).astype(np.float32)
MODULE = make_module(ModelTerms(), 3, outputs=1, seed=0)
RECORDS = {"features": FEATURES, "targets": TARGETS, "task": task_of("number")}


def plan_of(**changes):
    return PlainPlan(**({"steps": 1, "learning_rate": 0.5, "expected_batch_size": 40.0} | changes))


def test_one_full_step_goes_down_the_closed_form_gradient():
    start = np.array([0.1, 0.2, 0.3, -0.1])
    residual = FEATURES.astype(float) @ start[:3] + start[3] - TARGETS
    gradient = np.append(FEATURES.astype(float).T @ residual, residual.sum())
    expected = start - 0.5 * gradient / 25.0
    trained = train_plainly(MODULE, start, **RECORDS, plan=plan_of(expected_batch_size=25.0))
    assert trained.dtype == np.float32
    assert trained == pytest.approx(expected, rel=1e-6)


def test_proximal_steps_are_those_of_the_loss_and_half_the_pull_times_the_squared_distance():
    start, pull = np.array([0.5, 0.0, -0.5, 0.2]), 0.8
    vector = start
    for _ in range(5):
        vector = vector - 0.5 * (loss_gradient(MODULE, vector, **RECORDS) + pull * (vector - start))
    trained = train_plainly(MODULE, start, **RECORDS, plan=plan_of(steps=5, proximal=pull))
    assert trained == pytest.approx(vector, rel=1e-5)


def test_steps_follow_each_other():
    vector = np.zeros(4)
    for _ in range(5):
        vector = vector - 0.5 * loss_gradient(MODULE, vector, **RECORDS)
    assert train_plainly(MODULE, np.zeros(4), **RECORDS, plan=plan_of(steps=5)) == pytest.approx(vector, rel=1e-5)


def test_many_steps_find_the_least_squares_solution():
    trained = train_plainly(MODULE, np.zeros(4), **RECORDS, plan=plan_of(steps=400))
    assert trained == pytest.approx([1.0, -2.0, 0.5, 0.3], abs=1e-5)


def test_a_logistic_model_learns():
    records = {"features": FEATURES, "targets": (TARGETS > 0).astype(np.float32), "task": task_of("binary")}
    trained = train_plainly(MODULE, np.zeros(4), **records, plan=plan_of(steps=50))
    assert (
        mean_loss(MODULE, trained, **records)
        < 0.3
        < np.log(2)
        == pytest.approx(mean_loss(MODULE, np.zeros(4), **records))
    )


def test_a_sampled_step_divides_by_the_expected_size_and_not_by_the_size_drawn():
    plan = plan_of(sampling_rate=0.3, expected_batch_size=12.0, seed=(7, 1, 7))
    chosen = np.random.default_rng((7, 1, 7)).random(40) < 0.3
    assert chosen.sum() != 12
    subset = {"features": FEATURES[chosen], "targets": TARGETS[chosen], "task": RECORDS["task"]}
    expected = -0.5 * loss_gradient(MODULE, np.zeros(4), **subset) * chosen.sum() / 12.0
    assert train_plainly(MODULE, np.zeros(4), **RECORDS, plan=plan) == pytest.approx(expected, rel=1e-6)


def test_an_empty_sample_is_a_step_that_changes_nothing():
    start = np.array([1.0, 2.0, 3.0, 4.0])
    assert (train_plainly(MODULE, start, **RECORDS, plan=plan_of(sampling_rate=1e-9, steps=3)) == start).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 2**53), min_size=1, max_size=3))
def test_the_same_plan_gives_the_same_bytes(seed):
    plan = plan_of(sampling_rate=0.5, steps=3, seed=tuple(seed))
    first, again = (train_plainly(MODULE, np.zeros(4), **RECORDS, plan=plan) for _ in range(2))
    assert first.tobytes() == again.tobytes()


def test_another_seed_draws_other_samples():
    first, other = (
        train_plainly(MODULE, np.zeros(4), **RECORDS, plan=plan_of(sampling_rate=0.5, seed=seed))
        for seed in ((0, 1), (0, 2))
    )
    assert (first != other).any()


def test_neither_the_module_nor_a_global_generator_is_touched():
    module = make_module(ModelTerms(kind="mlp", hidden=(4,)), 3, outputs=1, seed=0)
    start = parameters_to_vector(module)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    train_plainly(module, start, **RECORDS, plan=plan_of(sampling_rate=0.5, steps=4))
    assert (parameters_to_vector(module) == start).all()
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()


@pytest.mark.parametrize("rate", [1e3, 1e30])
def test_a_learning_rate_that_runs_away_is_stopped_with_a_word(rate):
    with pytest.raises(TrainingError, match="no longer finite"):
        train_plainly(MODULE, np.zeros(4), **RECORDS, plan=plan_of(steps=200, learning_rate=rate))


def test_what_does_not_fit_is_refused():
    with pytest.raises(InvalidValue, match="one target per record"):
        train_plainly(MODULE, np.zeros(4), **{**RECORDS, "targets": TARGETS[:-1]}, plan=plan_of())
    with pytest.raises(InvalidValue, match="one target per record"):
        train_plainly(MODULE, np.zeros(4), features=FEATURES[:0], targets=[], task=RECORDS["task"], plan=plan_of())
    with pytest.raises(InvalidValue, match=r"expected \[4\]"):
        train_plainly(MODULE, np.zeros(3), **RECORDS, plan=plan_of())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("inf")),
        ("expected_batch_size", -1.0),
        ("sampling_rate", 0.0),
        ("sampling_rate", 1.1),
        ("seed", ()),
        ("seed", (-1,)),
    ],
)
def test_a_plan_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(InvalidValue, match=name):
        plan_of(**{name: value})
