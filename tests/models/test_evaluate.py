import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.agreement.terms import ModelTerms
from fedjoint.errors import InvalidValue
from fedjoint.models.evaluate import evaluate, group_gradients, loss_gradient, mean_loss
from fedjoint.models.modules import make_module
from fedjoint.models.tasks import task_of
from fedjoint.models.vector import num_parameters, parameters_to_vector

GENERATOR = np.random.default_rng(5)
FEATURES = GENERATOR.normal(size=(30, 4)).astype(np.float32)
TARGETS = {
    "binary": (GENERATOR.random(30) < 0.4).astype(np.float32),
    "multiclass": GENERATOR.integers(0, 3, 30),
    "number": GENERATOR.normal(size=30).astype(np.float32),
}


def setting(task, kind="linear"):
    terms = ModelTerms() if kind == "linear" else ModelTerms(kind="mlp", hidden=(5,))
    module = make_module(terms, 4, outputs=3 if task == "multiclass" else 1, seed=0)
    vector = np.random.default_rng(1).normal(size=num_parameters(module))
    return module, vector, {"features": FEATURES, "targets": TARGETS[task], "task": task_of(task)}


def test_the_mean_loss_of_a_logistic_model_is_its_closed_form():
    module, vector, records = setting("binary")
    logits = FEATURES.astype(float) @ vector[:4] + vector[4]
    signs = 2 * TARGETS["binary"].astype(float) - 1
    assert mean_loss(module, vector, **records) == pytest.approx(np.log1p(np.exp(-signs * logits)).mean(), rel=1e-13)


def test_the_gradient_of_a_logistic_model_is_its_closed_form():
    module, vector, records = setting("binary")
    residual = 1 / (1 + np.exp(-(FEATURES.astype(float) @ vector[:4] + vector[4]))) - TARGETS["binary"]
    expected = np.append(FEATURES.astype(float).T @ residual, residual.sum()) / 30
    gradient = loss_gradient(module, vector, **records)
    assert gradient.dtype == np.float64
    assert gradient == pytest.approx(expected, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    task=st.sampled_from(["binary", "multiclass", "number"]),
    kind=st.sampled_from(["linear", "mlp"]),
    seed=st.integers(0, 1000),
)
def test_the_gradient_is_the_slope_of_the_mean_loss(task, kind, seed):
    module, vector, records = setting(task, kind)
    direction = np.random.default_rng(seed).normal(size=vector.size)
    slope = (
        mean_loss(module, vector + 1e-6 * direction, **records)
        - mean_loss(module, vector - 1e-6 * direction, **records)
    ) / 2e-6
    assert loss_gradient(module, vector, **records) @ direction == pytest.approx(slope, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("task", ["binary", "multiclass", "number"])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_evaluating_depends_on_the_vector_alone_and_changes_nothing(task, kind):
    module, vector, records = setting(task, kind)
    before, given_vector = parameters_to_vector(module), vector.copy()
    first = [call(module, vector, **records) for call in (mean_loss, evaluate)]
    gradient = loss_gradient(module, vector, **records)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(7.0)
    assert [call(module, vector, **records) for call in (mean_loss, evaluate)] == first
    assert (loss_gradient(module, vector, **records) == gradient).all()
    assert (vector == given_vector).all()
    assert all(parameter.grad is None for parameter in module.parameters())
    assert before.size == vector.size


def test_evaluate_gives_the_metrics_of_the_task():
    module, _, records = setting("binary")
    best_on_first = np.array([1.0, 0, 0, 0, 0])
    records["targets"] = (FEATURES[:, 0] > 0).astype(np.float32)
    assert evaluate(module, best_on_first, **records) == {"auc": 1.0, "accuracy": 1.0}
    assert evaluate(module, -best_on_first, **records) == {"auc": 0.0, "accuracy": 0.0}


@pytest.mark.parametrize("call", [mean_loss, loss_gradient, evaluate])
def test_what_does_not_fit_is_refused(call):
    module, vector, records = setting("binary")
    with pytest.raises(InvalidValue, match=r"expected \[5\]"):
        call(module, vector[:-1], **records)
    for features, targets in ((FEATURES[:0], []), (FEATURES, [1.0]), (FEATURES[0], [1.0] * 4)):
        with pytest.raises(InvalidValue, match="features of shape"):
            call(module, vector, features=features, targets=targets, task=records["task"])


def test_outputs_that_are_not_finite_have_no_metrics():
    module, vector, records = setting("binary")
    with pytest.raises(InvalidValue, match="outputs are not finite"):
        evaluate(module, vector, **{**records, "features": np.full_like(FEATURES, np.nan)})


@pytest.mark.parametrize("task", ["binary", "multiclass", "number"])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_group_adds_the_sum_of_its_records_gradients_to_that_of_the_mean(task, kind):
    module, vector, records = setting(task, kind)
    groups, targets = np.arange(30) % 4, records["targets"]
    own = [
        loss_gradient(module, vector, features=FEATURES[[row]], targets=targets[[row]], task=records["task"])
        for row in range(30)
    ]
    grouped = {"groups": groups, "records": (FEATURES, targets), "task": records["task"]}
    found = list(group_gradients(module, vector, **grouped, precision=torch.float64))
    assert np.array(found) == pytest.approx(
        np.array([np.sum(np.array(own)[groups == g], axis=0) / 30 for g in range(4)])
    )
    assert sum(found) == pytest.approx(loss_gradient(module, vector, **records), rel=1e-10)
    assert next(group_gradients(module, vector, **grouped)).dtype == np.float32


def test_groups_of_other_records_are_refused():
    module, vector, records = setting("binary")
    with pytest.raises(InvalidValue, match=r"groups of shape \[29\]; expected one for each of 30 records"):
        group_gradients(
            module, vector, groups=np.zeros(29, int), records=(FEATURES, records["targets"]), task=records["task"]
        )
