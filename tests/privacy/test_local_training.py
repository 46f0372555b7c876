import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from fedjoint.errors import InvalidValue, PrivacyError
from fedjoint.privacy.batch import Batch
from fedjoint.privacy.clipped_sum import check_module
from fedjoint.privacy.local_plan import LocalPlan
from fedjoint.privacy.local_training import private_update
from fedjoint.privacy.noise import NoiseSource

QUIET = 1e-6  # the least noise multiplier: below float32's resolution in most tests


def squared(outputs, targets):
    return 0.5 * (outputs.squeeze(-1) - targets) ** 2


def logistic(outputs, targets):
    return nn.functional.binary_cross_entropy_with_logits(outputs.squeeze(-1), targets, reduction="none")


def plan_of(**changes):
    values = {"clip_norm": 0.5, "noise_multiplier": QUIET, "learning_rate": 1.0, "expected_batch_size": 1.0}
    return LocalPlan(**(values | changes))


def update(module, features, targets, *, noise=None, loss=squared, **changes):
    noise = NoiseSource.insecure(0, "test") if noise is None else noise
    return private_update(
        module,
        Batch(features=np.asarray(features, dtype=np.float32), targets=np.asarray(targets, dtype=np.float32)),
        per_example_loss=loss,
        plan=plan_of(**changes),
        noise=noise,
    )


def linear(weight, bias=0.0):
    layer = nn.Linear(len(weight), 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([weight]))
        layer.bias.fill_(bias)
    return layer


def some_records(count, width, seed=0):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(count, width)).astype(np.float32)
    return features, (features[:, 0] > 0).astype(np.float32)


def mlp(width):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(width, 5), nn.ReLU(), nn.Linear(5, 1))


def clipped_sum(module, features, targets, clip_norm):
    """The oracle: one backward pass a record, by hand."""
    total = np.zeros(sum(p.numel() for p in module.parameters()))
    for x, y in zip(torch.from_numpy(features), torch.from_numpy(targets), strict=True):
        module.zero_grad()
        logistic(module(x[None]), y[None]).sum().backward()
        gradient = np.concatenate([p.grad.double().numpy().ravel() for p in module.parameters()])
        total += gradient * min(1.0, clip_norm / np.linalg.norm(gradient))
    module.zero_grad()
    return total


def test_the_clipped_sum_is_the_one_computed_by_hand():
    # at w = 0, b = 0 and target -1 the gradient of a record is (x, 1): norms 1.25 and 3; the clip norm is 1
    result = update(linear([0.0, 0.0]), [[0.75, 0.0], [2.0, 2.0]], [-1.0, -1.0], clip_norm=1.0, expected_batch_size=4.0)
    expected = (np.array([0.75, 0.0, 1.0]) / 1.25 + np.array([2.0, 2.0, 1.0]) / 3) / 4
    assert result.vector == pytest.approx(-expected, abs=5e-6)


def test_a_gradient_within_the_clip_norm_is_left_as_it_is():
    result = update(linear([0.0, 0.0]), [[0.3, 0.4]], [-1.0], clip_norm=10.0, learning_rate=0.5)
    assert result.vector == pytest.approx([-0.15, -0.2, -0.5], abs=1e-4)


@pytest.mark.parametrize("clip_norm", [0.05, 0.5, 50.0])
def test_the_clipped_sum_of_an_mlp_is_that_of_its_records_one_by_one(clip_norm):
    features, targets = some_records(20, 4)
    module = mlp(4)
    expected = clipped_sum(module, features, targets, clip_norm)
    result = update(module, features, targets, loss=logistic, clip_norm=clip_norm)
    assert -result.vector == pytest.approx(expected, abs=1e-4 * clip_norm + 2e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3), st.floats(-1e6, 1e6, width=32))
def test_one_record_more_moves_the_update_by_no_more_than_the_clip_norm(record, target):
    features, targets = some_records(6, 3)
    common = {"clip_norm": 0.25, "learning_rate": 0.8, "expected_batch_size": 5.0}
    without = update(linear([0.1, -0.2, 0.3]), features, targets, **common)
    with_it = update(linear([0.1, -0.2, 0.3]), [*features, record], [*targets, target], **common)
    assert np.linalg.norm(with_it.vector - without.vector) <= 0.8 * 0.25 / 5.0 * (1 + 1e-5) + 1e-6


def test_the_noise_has_the_standard_deviation_that_is_accounted_for():
    # all-zero records have no gradient without a bias; chi-squared bounds with a false alarm in 5e8 runs
    module = nn.Linear(20_000, 1, bias=False)
    plan = {"clip_norm": 0.5, "noise_multiplier": 3.0, "learning_rate": 0.7, "expected_batch_size": 12.0}
    noise = update(module, np.zeros((7, 20_000)), np.zeros(7), noise=NoiseSource.secure(), **plan).vector.astype(float)
    noise /= 0.7 * 0.5 * 3.0 / 12.0
    low, high = stats.chi2.ppf([1e-9, 1 - 1e-9], df=20_000)
    assert low < (noise**2).sum() < high
    assert stats.kstest(noise, "norm").pvalue > 1e-9


def test_steps_do_not_share_their_noise():
    module = nn.Linear(2_000, 1, bias=False)
    zeros = (np.zeros((3, 2_000)), np.zeros(3))
    one = update(module, *zeros, noise=NoiseSource.insecure(0, "one"), noise_multiplier=1.0).vector
    four = update(module, *zeros, noise=NoiseSource.insecure(0, "one"), noise_multiplier=1.0, local_steps=4).vector
    assert four.std() / one.std() == pytest.approx(2.0, rel=0.15)  # 4 if the same noise were added each time


def test_the_number_of_records_does_not_change_the_divisor():
    # a mean loss would divide by the number drawn, which is secret: one record and three copies would then move alike
    record, targets = [[0.3, 0.4]], [-1.0]
    one = update(linear([0.0, 0.0]), record, targets, clip_norm=10.0, expected_batch_size=5.0)
    three = update(linear([0.0, 0.0]), record * 3, targets * 3, clip_norm=10.0, expected_batch_size=5.0)
    assert three.vector == pytest.approx(3 * one.vector, rel=1e-3)


def test_the_number_of_records_does_not_change_the_noise():
    module = nn.Linear(50, 1, bias=False)
    few, many = (
        update(module, np.zeros((count, 50)), np.zeros(count), noise_multiplier=2.0, expected_batch_size=64.0)
        for count in (63, 64)
    )
    assert (few.vector == many.vector).all()


def test_each_record_is_sampled_at_the_rate_that_is_accounted_for():
    drawn = []

    def counting(outputs, targets):
        drawn.append(len(targets))
        return squared(outputs, targets)

    features, targets = some_records(99, 2)
    rate, steps = 0.1067, 300
    result = update(
        linear([0.0, 0.0]), features, targets, loss=counting, noise=NoiseSource.secure(),
        sampling_rate=rate, local_steps=steps, learning_rate=1e-6,
    )  # fmt: skip
    assert (result.event.sampling_rate, result.event.count) == (rate, steps)
    # a binomial count within 6.5 standard deviations: a false alarm in 1e10 runs
    drawn.pop(0)  # the first sample twice: once to see that it is a loss of single records
    trials = 99 * steps
    assert abs(sum(drawn) - trials * rate) < 6.5 * math.sqrt(trials * rate * (1 - rate))
    assert len(set(drawn)) > 3  # Poisson: batches differ in size, where shuffled batches would not


def test_a_full_batch_takes_every_record_in_every_step():
    sizes = []

    def counting(outputs, targets):
        sizes.append(len(targets))
        return squared(outputs, targets)

    update(linear([0.0]), [[1.0], [2.0], [3.0]], [0.0, 0.0, 0.0], loss=counting, local_steps=3)
    assert sizes == [3, 3, 3, 3]  # the first time to see that it is a loss of single records


@pytest.mark.parametrize("module", [linear([0.1, 0.2]), mlp(2)], ids=["linear", "mlp"])
def test_an_empty_sample_gives_a_step_of_noise_alone_and_is_accounted_for(module):
    features, targets = some_records(4, 2)
    result = update(module, features, targets, loss=logistic, sampling_rate=1e-12, noise_multiplier=2.0, local_steps=3)
    assert np.isfinite(result.vector).all() and (result.vector != 0).all()
    assert result.event.count == 3


def test_several_steps_follow_each_other():
    # one parameter, squared loss, gradient w * 1 - 1 within the clip norm: w after k steps is 1 - (1 - rate)^k
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    result = update(module, [[1.0]], [1.0], clip_norm=100.0, learning_rate=0.5, local_steps=3)
    assert result.vector == pytest.approx([0.875], abs=1e-3)


def test_proximal_steps_are_pulled_back_to_where_the_round_began():
    features, targets, weight, bias = np.array([[1.0], [-2.0]]), np.array([3.0, 1.0]), 0.2, -0.1
    at = np.array([weight, bias])
    for _ in range(4):
        residual = features[:, 0] * at[0] + at[1] - targets
        gradient = np.array([residual @ features[:, 0], residual.sum()]) / 2
        at = at - 0.1 * (gradient + 3.0 * (at - [weight, bias]))
    plan = {"clip_norm": 100.0, "learning_rate": 0.1, "local_steps": 4, "expected_batch_size": 2.0, "proximal": 3.0}
    found = update(linear([weight], bias), features, targets, **plan)
    assert found.vector == pytest.approx(at - [weight, bias], abs=1e-3)
    assert found.event == plan_of(**plan | {"proximal": 0.0}).event


def test_the_module_is_left_as_it_was_and_can_be_used_again():
    features, targets = some_records(8, 3)
    module = mlp(3).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    attributes = {name: set(vars(part)) for name, part in module.named_modules()}
    first = update(module, features, targets, loss=logistic, noise_multiplier=1.0)
    again = update(module, features, targets, loss=logistic, noise_multiplier=1.0)
    assert (first.vector == again.vector).all()
    assert all((module.state_dict()[name] == value).all() for name, value in before.items())
    assert {name: set(vars(part)) for name, part in module.named_modules()} == attributes
    assert not any(part._forward_hooks or part._backward_hooks for part in module.modules())
    assert all(p.grad is None and not hasattr(p, "grad_sample") for p in module.parameters())
    assert not module.training


def test_no_global_generator_is_touched():
    features, targets = some_records(8, 3)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    update(mlp(3), features, targets, loss=logistic, noise=NoiseSource.secure(), sampling_rate=0.5, local_steps=2)
    assert (torch.get_rng_state() == before).all() and (np.random.get_state()[1] == numpy_before).all()


def test_the_update_is_float32_in_the_order_of_the_parameters():
    result = update(linear([0.0, 0.0]), [[0.3, 0.4]], [-1.0])
    assert (result.vector.dtype, result.vector.shape) == (np.float32, (3,))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("module", [linear([0.1, 0.2]), mlp(2)], ids=["linear", "mlp"])
def test_one_record_that_is_not_finite_changes_nothing_but_the_holders_own_log(bad, module, caplog):
    features, targets = some_records(5, 2)
    spoilt = features.copy()
    spoilt[3, 1] = bad
    left_out = np.arange(5) != 3
    without = update(module, features[left_out], targets[left_out])
    with_it = update(module, spoilt, targets)
    assert with_it.vector == pytest.approx(without.vector, abs=1e-6)
    assert (with_it.not_finite, without.not_finite) == (1, 0)
    assert "1 gradients are not finite and were left out" in caplog.text


def test_an_update_that_is_not_finite_is_refused():
    with pytest.raises(PrivacyError, match="the update is not finite"):
        update(linear([0.0]), [[1.0]], [1.0], clip_norm=1e30, learning_rate=1e30, noise_multiplier=1.0)


class RunningMean(nn.Module):
    """A buffer of the user's own that passes Opacus' check, as it stands beside no parameter, and leaks."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return x - self.mean


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1)), "'1' .BatchNorm1d. mixes the records"),
        (nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False), nn.Linear(2, 1)), "mixes the records"),
        (nn.Sequential(RunningMean(), nn.Linear(2, 1)), "keeps the buffer 'mean'"),
        (nn.Sequential(nn.InstanceNorm1d(2, track_running_stats=True), nn.Linear(2, 1)), "keeps the buffer"),
        (nn.ReLU(), "no parameters to train"),
    ],
)
def test_a_module_that_mixes_records_or_keeps_statistics_is_refused_with_a_word(module, message):
    with pytest.raises(PrivacyError, match=message):
        check_module(module)
    with pytest.raises(PrivacyError, match=message):
        update(module, [[1.0, 2.0]], [0.0])


def test_layers_that_treat_each_record_by_itself_are_accepted():
    check_module(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.ReLU()))


def test_a_loss_that_is_already_reduced_is_refused_without_telling_how_many_records_there_are():
    features, targets = some_records(5, 2)
    with pytest.raises(PrivacyError, match="one number for each record") as refusal:
        update(linear([0.1, 0.2]), features, targets, loss=lambda o, t: squared(o, t).mean())
    assert "5" not in str(refusal.value)


def test_no_records_are_refused():
    with pytest.raises(InvalidValue, match="there are no records"):
        update(linear([0.1, 0.2]), np.zeros((0, 2)), np.zeros(0))
