import numpy as np
import pytest
import torch

from fedjoint.agreement.terms import ModelTerms
from fedjoint.errors import InvalidValue
from fedjoint.models.evaluate import influences, loss_gradient, mean_loss
from fedjoint.models.modules import make_module
from fedjoint.models.tasks import auc_of, task_of
from fedjoint.models.utilities import utility_of

RNG = np.random.default_rng(3)
MODULE = make_module(ModelTerms(kind="mlp", hidden=(4,)), 3, outputs=1, seed=2)
SIZE = sum(parameter.numel() for parameter in MODULE.parameters())
VECTOR = RNG.normal(size=SIZE)
TASK = task_of("binary")
FEATURES = RNG.normal(size=(40, 3))
TARGETS = (FEATURES[:, 0] + RNG.normal(size=40) > 0).astype(float)
SOFT_AUC = utility_of("soft_auc", TASK)
BOTH = ["negative_loss", "soft_auc"]


def loss(vector, *, rows=slice(None), utility=SOFT_AUC):
    return mean_loss(MODULE, vector, features=FEATURES[rows], targets=TARGETS[rows], task=TASK, utility=utility)


def test_the_soft_auc_is_the_mean_sigmoid_over_pairs():
    with torch.no_grad():
        outputs = torch.tensor([[2.0], [0.5], [-1.0]], dtype=torch.float64)
    found = SOFT_AUC.loss(outputs, torch.tensor([1.0, 0.0, 0.0]), TASK)
    assert float(found) == pytest.approx(((1 + np.exp(1.5)) ** -1 + (1 + np.exp(3.0)) ** -1) / 2, rel=1e-12)


def test_the_soft_auc_of_sharp_scores_is_the_auc():
    logits = RNG.normal(size=30) * 1e4
    targets = RNG.random(30) > 0.5
    found = SOFT_AUC.loss(torch.from_numpy(logits)[:, None], torch.from_numpy(targets.astype(float)), TASK)
    assert 1 - float(found) == pytest.approx(auc_of(logits, targets), abs=1e-6)


@pytest.mark.parametrize("name", BOTH)
def test_the_gradient_is_the_slope_of_the_utility(name):
    utility, direction = utility_of(name, TASK), RNG.normal(size=SIZE)
    up, down = (loss(VECTOR + sign * 1e-6 * direction, utility=utility) for sign in (1, -1))
    gradient = loss_gradient(MODULE, VECTOR, features=FEATURES, targets=TARGETS, task=TASK, utility=utility)
    assert gradient @ direction == pytest.approx((up - down) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("name", BOTH)
def test_influences_are_the_change_by_one_more_copy_of_a_record(name):
    """The rise of the utility along a direction, with a record counted slightly more often."""
    utility, directions = utility_of(name, TASK), RNG.normal(size=(2, SIZE))
    found = influences(MODULE, VECTOR, directions, records=(FEATURES, TARGETS), task=TASK, utility=utility)
    assert found.shape == (2, 40)
    assert found.sum(axis=1) == pytest.approx(np.zeros(2), abs=1e-12)
    copies = 40
    rows = np.concatenate([np.tile(np.arange(40), copies), [7]])

    def rise(chosen):
        inputs = {"features": FEATURES[chosen], "targets": TARGETS[chosen], "task": TASK, "utility": utility}
        return -directions @ loss_gradient(MODULE, VECTOR, **inputs)

    changed = (rise(rows) - rise(np.arange(40))) * copies
    assert found[:, 7] == pytest.approx(changed, rel=0.05)


@pytest.mark.parametrize("name", BOTH)
def test_squared_influences_are_what_a_bootstrap_finds(name):
    utility, direction = utility_of(name, TASK), RNG.normal(size=SIZE)
    found = influences(MODULE, VECTOR, direction[None], records=(FEATURES, TARGETS), task=TASK, utility=utility)
    rng, rises = np.random.default_rng(1), []
    for _ in range(500):
        rows = rng.integers(0, 40, 40)
        inputs = {"features": FEATURES[rows], "targets": TARGETS[rows], "task": TASK, "utility": utility}
        rises.append(-direction @ loss_gradient(MODULE, VECTOR, **inputs))
    assert float(np.linalg.norm(found)) == pytest.approx(np.std(rises), rel=0.12)


@pytest.mark.parametrize(("name", "task"), [("soft_auc", "number"), ("soft_auc", "multiclass"), ("gini", "binary")])
def test_a_utility_without_meaning_for_the_task_is_refused(name, task):
    with pytest.raises(InvalidValue, match=f"utility '{name}' for a {task} target"):
        utility_of(name, task_of(task))
