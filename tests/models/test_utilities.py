import numpy as np
import pytest
import torch

from fedjoint.agreement.terms import ModelTerms
from fedjoint.errors import InvalidValue
from fedjoint.models.evaluate import group_gradients, influences, loss_gradient, mean_loss, outputs_at
from fedjoint.models.modules import make_module
from fedjoint.models.tasks import auc_of, task_of
from fedjoint.models.utilities import utility_of
from fedjoint.valuation.record_groups import RecordGroups

RNG = np.random.default_rng(3)
MODULE = make_module(ModelTerms(kind="mlp", hidden=(4,)), 3, outputs=1, seed=2)
SIZE = sum(parameter.numel() for parameter in MODULE.parameters())
VECTOR = RNG.normal(size=SIZE)
TASK = task_of("binary")
FEATURES = RNG.normal(size=(40, 3))
TARGETS = (FEATURES[:, 0] + RNG.normal(size=40) > 0).astype(float)
SOFT_AUC = utility_of("soft_auc", TASK)
TIMES = np.round(RNG.exponential(np.exp(-FEATURES[:, 0])), 1) + 0.1  # with ties
SURVIVAL = task_of("survival")
KINDS = {
    "negative_loss": (TASK, TARGETS),
    "soft_auc": (TASK, TARGETS),
    "cox": (SURVIVAL, np.where(RNG.random(40) < 0.3, -TIMES, TIMES)),
}


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


def cox_by_hand(log_hazards, signed):
    """A sum over events of log(hazard / mean hazard of those at risk, by the number of all)."""
    times, total = np.abs(signed), 0.0
    for place in np.flatnonzero(signed > 0):
        at_risk = np.exp(log_hazards[times >= times[place]]).sum() / len(signed)
        total -= log_hazards[place] - np.log(at_risk)
    return total / (signed > 0).sum()


def test_the_cox_utility_is_the_log_partial_likelihood_with_breslows_ties():
    signed, log_hazards = KINDS["cox"][1], RNG.normal(size=40)
    assert len(set(np.abs(signed))) < 40  # there are ties
    cox = utility_of("cox", SURVIVAL)
    found = cox.loss(torch.from_numpy(log_hazards)[:, None], torch.from_numpy(signed), SURVIVAL)
    assert float(found) == pytest.approx(cox_by_hand(log_hazards, signed), rel=1e-12)
    shifted = cox.loss(torch.from_numpy(log_hazards + 500)[:, None], torch.from_numpy(signed), SURVIVAL)
    assert float(shifted) == pytest.approx(float(found), rel=1e-9)  # of hazards only their ratios count


@pytest.mark.parametrize("name", KINDS)
def test_the_gradient_is_the_slope_of_the_utility(name):
    task, targets = KINDS[name]
    utility, direction = utility_of(name, task), RNG.normal(size=SIZE)
    records = {"features": FEATURES, "targets": targets, "task": task, "utility": utility}
    up, down = (mean_loss(MODULE, VECTOR + sign * 1e-6 * direction, **records) for sign in (1, -1))
    gradient = loss_gradient(MODULE, VECTOR, **records)
    assert gradient @ direction == pytest.approx((up - down) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_influences_are_the_change_by_one_more_copy_of_a_record(name):
    """The rise of the utility along a direction, with a record counted slightly more often."""
    task, targets = KINDS[name]
    utility, directions = utility_of(name, task), RNG.normal(size=(2, SIZE))
    found = influences(MODULE, VECTOR, directions, records=(FEATURES, targets), task=task, utility=utility)
    assert found.shape == (2, 40)
    assert found.sum(axis=1) == pytest.approx(np.zeros(2), abs=1e-12)
    copies = 40
    rows = np.concatenate([np.tile(np.arange(40), copies), [7]])

    def rise(chosen):
        inputs = {"features": FEATURES[chosen], "targets": targets[chosen], "task": task, "utility": utility}
        return -directions @ loss_gradient(MODULE, VECTOR, **inputs)

    changed = (rise(rows) - rise(np.arange(40))) * copies
    assert found[:, 7] == pytest.approx(changed, rel=0.05)


@pytest.mark.parametrize("name", ["negative_loss", "soft_auc"])
def test_squared_influences_are_what_a_bootstrap_finds(name):
    utility, direction = utility_of(name, TASK), RNG.normal(size=SIZE)
    found = influences(MODULE, VECTOR, direction[None], records=(FEATURES, TARGETS), task=TASK, utility=utility)
    rng, rises = np.random.default_rng(1), []
    for _ in range(500):
        rows = rng.integers(0, 40, 40)
        inputs = {"features": FEATURES[rows], "targets": TARGETS[rows], "task": TASK, "utility": utility}
        rises.append(-direction @ loss_gradient(MODULE, VECTOR, **inputs))
    assert float(np.linalg.norm(found)) == pytest.approx(np.std(rises), rel=0.12)


@pytest.mark.parametrize(
    ("name", "task"), [("soft_auc", "number"), ("soft_auc", "multiclass"), ("cox", "binary"), ("gini", "binary")]
)
def test_a_utility_without_meaning_for_the_task_is_refused(name, task):
    with pytest.raises(InvalidValue, match=f"utility '{name}' for a {task} target"):
        utility_of(name, task_of(task))


GROUPS = RecordGroups.drawn(40, error_numbers=4, seed=1)
MULTIPLIERS = np.sqrt(5) * GROUPS.contrasts[:, GROUPS.groups]


def contrasted(name, precision=torch.float64):
    task, targets = KINDS[name]
    found = group_gradients(
        MODULE,
        VECTOR,
        groups=GROUPS.groups,
        records=(FEATURES, targets),
        task=task,
        utility=utility_of(name, task),
        precision=precision,
    )
    return GROUPS.contrast(np.array(list(found)))


def weighted_gradient(name, weights):
    task, targets = KINDS[name]
    point = torch.tensor(VECTOR, requires_grad=True)
    outputs = outputs_at(MODULE, point, features=torch.from_numpy(FEATURES))
    found = utility_of(name, task).weighted_loss(outputs, torch.from_numpy(targets), torch.from_numpy(weights), task)
    return torch.autograd.grad(found, point)[0].numpy()


@pytest.mark.parametrize("name", KINDS)
def test_contrasted_group_gradients_are_minus_the_change_of_the_gradient_as_records_count_more_or_less(name):
    for found, multipliers in zip(contrasted(name), MULTIPLIERS, strict=True):
        up, down = (weighted_gradient(name, 1 + sign * 1e-5 * multipliers) for sign in (1, -1))
        assert found == pytest.approx(-(up - down) / 2e-5, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("name", KINDS)
def test_their_products_with_a_direction_are_multiplied_influences(name):
    task, targets = KINDS[name]
    utility, directions = utility_of(name, task), RNG.normal(size=(3, SIZE))
    found = influences(MODULE, VECTOR, directions, records=(FEATURES, targets), task=task, utility=utility)
    assert contrasted(name) @ directions.T == pytest.approx(MULTIPLIERS @ found.T, rel=1e-9, abs=1e-12)
    single = contrasted(name, precision=torch.float32)
    assert single.dtype == np.float32
    assert single @ directions.T == pytest.approx(MULTIPLIERS @ found.T, abs=1e-6)
