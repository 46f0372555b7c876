import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score, root_mean_squared_error

from fedjoint.errors import InvalidValue
from fedjoint.models.tasks import auc_of, concordance_of, task_of

BINARY, MULTICLASS, NUMBER = (task_of(name) for name in ("binary", "multiclass", "number"))


def losses(task, outputs, targets):
    return task.per_example_loss(torch.tensor(outputs, dtype=torch.float64), torch.tensor(targets)).tolist()


@pytest.mark.parametrize("kind", [int, float])
def test_the_binary_loss_is_the_cross_entropy_of_the_logistic_function(kind):
    assert losses(BINARY, [[0.0], [2.0], [-3.0]], [kind(1), kind(1), kind(1)]) == pytest.approx(
        [np.log(2), np.log1p(np.exp(-2)), np.log1p(np.exp(3))]
    )


def test_the_multiclass_loss_is_the_cross_entropy_of_the_softmax():
    assert losses(MULTICLASS, [[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]], [2, 0]) == pytest.approx(
        [np.log(3), np.log(np.exp([0, 1, 2]).sum())]
    )


def test_the_loss_of_a_number_is_half_the_squared_error():
    assert losses(NUMBER, [[1.0], [-2.0]], [3.0, -2.0]) == pytest.approx([2.0, 0.0])


@pytest.mark.parametrize(
    ("task", "width", "targets"), [(BINARY, 1, [0, 1, 1]), (MULTICLASS, 3, [0, 2, 1]), (NUMBER, 1, [0.5, 3.0, -1.0])]
)
def test_each_loss_depends_on_its_own_record_alone(task, width, targets):
    outputs = torch.arange(3.0 * width).reshape(3, width).requires_grad_(True)
    for i in range(3):
        (gradient,) = torch.autograd.grad(task.per_example_loss(outputs, torch.tensor(targets))[i], outputs)
        assert (gradient[[j for j in range(3) if j != i]] == 0).all()
        assert (gradient[i] != 0).any()


@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=40))
def test_auc_agrees_with_scikit_learn_ties_included(pairs):
    scores, positive = np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs])
    if positive.all() or not positive.any():
        assert auc_of(scores, positive) is None
    else:
        assert auc_of(scores, positive) == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)


@given(st.integers(0, 10_000), st.integers(3, 5))
def test_multiclass_metrics_agree_with_scikit_learn(seed, classes):
    generator = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(classes), generator.integers(0, classes, 25)])
    outputs = generator.normal(size=(len(targets), classes)) * 3
    chances = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    metrics = MULTICLASS.metrics(outputs, targets)
    assert metrics["auc"] == pytest.approx(roc_auc_score(targets, chances, multi_class="ovr"), abs=1e-12)
    assert metrics["accuracy"] == pytest.approx(accuracy_score(targets, outputs.argmax(axis=1)))


def test_classes_that_do_not_occur_are_left_out_of_the_macro_auc():
    outputs = np.array([[2.0, 0.0, -9.0], [0.0, 2.0, -9.0], [1.0, 0.0, -9.0]])
    assert MULTICLASS.metrics(outputs, np.array([0, 1, 0]))["auc"] == 1.0


def test_outputs_far_apart_do_not_overflow():
    metrics = MULTICLASS.metrics(np.array([[1e4, 0.0, 0.0], [0.0, 1e4, 0.0], [0.0, 0.0, 1e4]]), np.array([0, 1, 2]))
    assert metrics == {"auc": 1.0, "accuracy": 1.0}


@pytest.mark.parametrize(("task", "width", "target"), [(BINARY, 1, 0), (BINARY, 1, 1), (MULTICLASS, 3, 1)])
def test_there_is_no_auc_where_only_one_class_is_present(task, width, target):
    metrics = task.metrics(np.zeros((4, width)), np.full(4, target))
    assert metrics["auc"] is None
    assert metrics["accuracy"] == (1.0 if task is BINARY and target == 0 else 0.0)


@given(st.integers(0, 10_000))
def test_number_metrics_agree_with_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    targets, outputs = generator.normal(size=20), generator.normal(size=(20, 1))
    metrics = NUMBER.metrics(outputs, targets)
    assert metrics["r2"] == pytest.approx(r2_score(targets, outputs))
    assert metrics["rmse"] == pytest.approx(root_mean_squared_error(targets, outputs[:, 0]))


@pytest.mark.parametrize("targets", [[0.1, 0.1, 0.1], [3.0]])
def test_there_is_no_r2_where_the_target_does_not_vary(targets):
    metrics = NUMBER.metrics(np.ones((len(targets), 1)), np.array(targets))
    assert metrics["r2"] is None
    assert metrics["rmse"] == pytest.approx(abs(1 - targets[0]))


def test_an_unknown_task_is_refused_with_those_there_are():
    with pytest.raises(InvalidValue, match="binary, multiclass, number"):
        task_of("ranking")


def test_the_survival_loss_is_the_exponential_likelihood_and_least_at_the_rate_of_events():
    times, events = np.array([1.0, 2.0, 5.0, 0.5]), np.array([True, False, True, True])
    signed = np.where(events, times, -times)

    def loss(log_hazard):
        outputs = torch.full((4, 1), log_hazard, dtype=torch.float64)
        return float(task_of("survival").per_example_loss(outputs, torch.from_numpy(signed)).sum())

    best = np.log(events.sum() / times.sum())
    assert loss(best) == pytest.approx(events.sum() * (1 - best))
    assert loss(best) < min(loss(best - 0.01), loss(best + 0.01))


def test_concordance_is_the_order_of_events_and_none_where_nothing_can_be_compared():
    times = np.array([3.0, 1.0, -2.0, 4.0])
    assert concordance_of(-np.abs(times), times) == 1.0 and concordance_of(np.abs(times), times) == 0.0
    assert concordance_of(np.zeros(4), times) == 0.5 and concordance_of(np.zeros(2), np.array([-1.0, -2.0])) is None
