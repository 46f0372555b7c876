import numpy as np
import pytest
import torch

from fedjoint.errors import InvalidValue, PrivacyError
from fedjoint.models.tasks import task_of
from fedjoint.privacy.clipped_sum import clipped_gradient_sum
from fedjoint.privacy.opacus_training import opacus_clipped_sum

RNG = np.random.default_rng(3)
FEATURES = RNG.normal(size=(300, 5)).astype(np.float32) * RNG.lognormal(size=(300, 1)).astype(np.float32)
TARGETS = {
    "binary": (RNG.random(300) < 0.4).astype(np.float32),
    "multiclass": RNG.integers(3, size=300),
    "number": RNG.normal(size=300).astype(np.float32),
}


def module_for(task, *, hidden=False):
    outputs = 3 if task == "multiclass" else 1
    torch.manual_seed(1)
    if hidden:
        return torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, outputs))
    return torch.nn.Linear(5, outputs)


def clipped(module, task, *, features=FEATURES, targets=None, clip_norm=0.7):
    return clipped_gradient_sum(
        module,
        features,
        targets=TARGETS[task] if targets is None else targets,
        per_example_loss=task_of(task).per_example_loss,
        clip_norm=clip_norm,
    )


def one_by_one(module, task, clip_norm):
    """Each record's gradient by itself, clipped by hand."""
    double, total = module.double(), 0.0
    for features, target in zip(FEATURES, TARGETS[task], strict=True):
        inputs, wanted = torch.from_numpy(features[None].astype(np.float64)), torch.tensor([target])
        loss = task_of(task).per_example_loss(double(inputs), wanted).sum()
        parts = torch.autograd.grad(loss, list(double.parameters()))
        gradient = torch.cat([part.ravel() for part in parts]).numpy()
        total = total + gradient * min(1.0, clip_norm / np.linalg.norm(gradient))
    return total


@pytest.mark.parametrize("task", ["binary", "multiclass", "number"])
@pytest.mark.parametrize("clip_norm", [0.05, 0.7, 50.0])
def test_the_closed_form_equals_opacus_and_the_records_one_by_one(task, clip_norm):
    module = module_for(task)
    ours = clipped(module, task, clip_norm=clip_norm)
    opacus = opacus_clipped_sum(
        module,
        torch.from_numpy(FEATURES.astype(np.float64)),
        torch.from_numpy(TARGETS[task]),
        task_of(task).per_example_loss,
        clip_norm=clip_norm,
    )
    # Opacus divides by the norm plus 1e-6, so it clips a little harder where gradients are short
    assert ours == pytest.approx(opacus, rel=1e-6, abs=1e-6 * len(FEATURES) * min(1.0, clip_norm))
    assert ours == pytest.approx(one_by_one(module, task, clip_norm), rel=1e-7, abs=1e-7 * len(FEATURES))


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_other_modules_go_through_opacus_and_equal_the_records_one_by_one(task):
    module = module_for(task, hidden=True)
    assert clipped(module, task) == pytest.approx(one_by_one(module, task, 0.7), rel=1e-5, abs=3e-4)


@pytest.mark.parametrize("hidden", [False, True])
def test_one_record_changes_the_sum_by_at_most_the_clip_norm(hidden):
    module, clip_norm = module_for("binary", hidden=hidden), 0.1
    whole = clipped(module, "binary", clip_norm=clip_norm)
    for left_out in range(5):
        kept = np.arange(len(FEATURES)) != left_out
        rest = clipped(module, "binary", features=FEATURES[kept], targets=TARGETS["binary"][kept], clip_norm=clip_norm)
        assert np.linalg.norm(whole - rest) <= clip_norm


def test_an_empty_sample_gives_zeros():
    empty = clipped(module_for("binary"), "binary", features=FEATURES[:0], targets=TARGETS["binary"][:0])
    assert empty.tolist() == [0.0] * 6


@pytest.mark.parametrize("hidden", [False, True])
def test_a_record_that_clipping_cannot_bound_is_refused(hidden):
    spoilt = FEATURES.copy()
    spoilt[7, 2] = np.nan
    with pytest.raises(PrivacyError, match="the gradient of a record is not finite"):
        clipped(module_for("binary", hidden=hidden), "binary", features=spoilt)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_loss_that_is_reduced_is_refused(hidden):
    with pytest.raises(PrivacyError, match="one number for each record"):
        clipped_gradient_sum(
            module_for("binary", hidden=hidden),
            FEATURES,
            targets=TARGETS["binary"],
            per_example_loss=lambda outputs, targets: outputs.mean()[None],
            clip_norm=1.0,
        )


def test_targets_of_another_length_are_refused():
    with pytest.raises(InvalidValue, match="differ in length"):
        clipped(module_for("binary"), "binary", targets=TARGETS["binary"][:5])
