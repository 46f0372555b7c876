"""What goes wrong with Opacus' other ways, shown where it can be, and that ours has no part in it."""

import ast
import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from opacus.accountants import PRVAccountant
from opacus.data_loader import DPDataLoader
from opacus.grad_sample.gsm_exp_weights import GradSampleModuleExpandedWeights
from opacus.optimizers import DPOptimizer
from opacus.utils.uniform_sampler import UniformWithReplacementSampler
from torch import nn

import fedjoint
from fedjoint.errors import PrivacyError
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.batch import Batch
from fedjoint.privacy.budget import RunBudget
from fedjoint.privacy.clipped_sum import GradientSummer, clipped_gradient_sum
from fedjoint.privacy.events import GaussianEvent
from fedjoint.privacy.local_plan import LocalPlan
from fedjoint.privacy.local_training import private_update
from fedjoint.privacy.noise import NoiseSource

RNG = np.random.default_rng(5)
FEATURES, TARGETS = RNG.normal(size=(32, 6)), (RNG.random(32) < 0.5).astype(np.float32)


def loss(outputs, targets):
    return nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], targets.to(outputs.dtype), reduction="none")


def ours(module, *, per_example_loss=loss, clip_norm=0.1, features=FEATURES, targets=TARGETS):
    batch = Batch(features=features, targets=targets)
    return clipped_gradient_sum(module, batch, per_example_loss=per_example_loss, clip_norm=clip_norm).total.numpy()


def mlp():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1))


def test_none_of_the_ways_that_go_wrong_is_used_anywhere():
    forbidden = {
        "GradScaler",  # changes what clipping sees
        "ExpandedWeights",  # fails on empty samples
        "call_for_per_sample_grads",
        "make_private",  # takes the sampling rate from the length of a loader
        "make_private_with_epsilon",
        "PrivacyEngine",  # one for each round reports the cost of one
        "DPDataLoader",
        "LocalDpMod",  # says epsilon 1 where it is 3.99
        "GDPAccountant",  # too low
    }
    for path in Path(fedjoint.__file__).parent.rglob("*.py"):
        text = path.read_text()
        if not any(name in text for name in forbidden):
            continue
        tree = ast.parse(text)  # words in comments and texts are no use
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        names |= {
            alias.name.split(".")[-1]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not names & forbidden, path


def test_a_fresh_engine_each_round_reports_one_round_where_the_runs_account_reports_all():
    noise, rate, rounds = 2.0, 0.1, 20
    fresh = [PRVAccountant() for _ in range(rounds)]  # what a new engine in every round comes to
    for accountant in fresh:
        accountant.step(noise_multiplier=noise, sample_rate=rate)
    event = GaussianEvent(sampling_rate=rate, noise_multiplier=noise)
    one = epsilon_of((event,), 1e-5)
    assert fresh[-1].get_epsilon(1e-5) == pytest.approx(one, abs=0.02)
    budget = RunBudget(epsilon=50.0, delta=1e-5)
    for _ in range(rounds):
        budget.spend(event)
    whole = PRVAccountant()
    whole.history = [(noise, rate, rounds)]
    assert budget.epsilon == pytest.approx(whole.get_epsilon(1e-5), abs=0.02)
    assert budget.epsilon > 2 * one


def test_a_scaled_loss_moves_stock_clipping_and_a_scale_that_is_known_moves_ours_not():
    module, scale = mlp().double(), 2.0**16
    stock = GradSampleModule(copy.deepcopy(module), loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(stock.parameters(), lr=1.0),
        noise_multiplier=0.0,
        max_grad_norm=0.1,
        expected_batch_size=1,
        loss_reduction="sum",
    )
    found = []
    for factor in (1.0, scale):
        optimizer.zero_grad()
        (factor * loss(stock(torch.from_numpy(FEATURES).requires_grad_()), torch.from_numpy(TARGETS)).sum()).backward()
        optimizer.pre_step()
        found.append(torch.cat([p.grad.reshape(-1) for p in stock.parameters()]).numpy() / factor)
    # what a GradScaler does: the loss is scaled before clipping and the clipped sum unscaled, to almost nothing
    assert np.linalg.norm(found[1]) < 1e-3 * np.linalg.norm(found[0])
    scaled = ours(module, per_example_loss=lambda o, t: scale * loss(o, t), clip_norm=scale * 0.1) / scale
    assert scaled == pytest.approx(found[0], rel=1e-4)  # Opacus adds a little to each norm


@pytest.mark.parametrize("mode", ["functorch", "expanded weights"])
def test_an_empty_sample_that_other_ways_fail_on_gives_zeros_here(mode):
    def module():
        torch.manual_seed(2)
        return nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(8, 1))

    def stock():
        if mode == "expanded weights":
            return GradSampleModuleExpandedWeights(module(), loss_reduction="sum")
        return GradSampleModule(module(), loss_reduction="sum", force_functorch=True)

    with pytest.raises((RuntimeError, ValueError)):
        loss(stock()(torch.zeros(0, 1, 6, requires_grad=True)), torch.zeros(0)).sum().backward()
    empty = ours(module(), features=np.zeros((0, 1, 6)), targets=np.zeros(0, np.float32))
    assert empty.shape == (sum(p.numel() for p in module().parameters()),) and not empty.any()
    summer = GradientSummer(module(), loss)
    assert not summer.sum(torch.zeros(0, 1, 6), torch.zeros(0), clip_norm=1.0).total.any()


def test_a_norm_of_the_batch_before_is_never_used_again():
    module, summer = mlp().double(), GradientSummer(mlp().double(), loss)
    for start in (0, 8, 16):
        rows = slice(start, start + 8)
        found = summer.sum(torch.from_numpy(FEATURES[rows]), torch.from_numpy(TARGETS[rows]), clip_norm=0.1)
        expected = ours(module, features=FEATURES[rows], targets=TARGETS[rows])
        assert found.total.numpy() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_sampling_rate_is_no_function_of_the_number_of_records():
    for records, asked in ((300, 32), (100, 64), (93, 32)):
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(records)), batch_size=asked)
        stock = 1 / len(loader)
        event = GaussianEvent(sampling_rate=asked / records, noise_multiplier=1.0)
        assert event.sampling_rate == asked / records != stock


def test_a_table_smaller_than_a_batch_and_a_count_of_steps_that_stock_loses_are_no_trouble_here():
    tiny = torch.utils.data.TensorDataset(torch.zeros(20))
    with pytest.raises(ZeroDivisionError):
        DPDataLoader.from_data_loader(torch.utils.data.DataLoader(tiny, batch_size=32, drop_last=True))
    stock = UniformWithReplacementSampler(num_samples=93, sample_rate=1 / 93, generator=torch.Generator())
    assert len(stock) == 92  # int(1 / (1 / 93)): an epoch's last step is lost, and with it what it costs
    taken = []

    def counting(outputs, targets):
        taken.append(len(targets))
        return loss(outputs, targets)

    plan = LocalPlan(
        clip_norm=1.0, noise_multiplier=1.0, sampling_rate=0.9, learning_rate=0.1, local_steps=93,
        expected_batch_size=28.8,
    )  # fmt: skip
    update = private_update(
        mlp(),
        Batch(features=FEATURES.astype(np.float32), targets=TARGETS),
        per_example_loss=counting,
        plan=plan,
        noise=NoiseSource.insecure(1, "steps"),
    )
    assert update.event.count == 93 and update.event.sampling_rate == 0.9
    assert len(taken) == 93 + 1  # once more to see that it is a loss of single records


@pytest.mark.parametrize("make", [lambda: nn.Linear(6, 1), mlp], ids=["closed form", "book-keeping"])
def test_a_penalty_on_parameters_that_stock_ignores_silently_is_refused_here(make):
    torch.manual_seed(3)
    module = make()

    def penalised(strength, of):
        return lambda outputs, targets: loss(outputs, targets) + strength * sum(p.square().sum() for p in of)

    found = []
    for strength in (0.0, 1000.0):
        stock = GradSampleModule(copy.deepcopy(module), loss_reduction="sum")
        optimizer = DPOptimizer(
            torch.optim.SGD(stock.parameters(), lr=0.1), noise_multiplier=0.0, max_grad_norm=0.1,
            expected_batch_size=32, loss_reduction="sum",
        )  # fmt: skip
        inputs = torch.from_numpy(FEATURES.astype(np.float32)).requires_grad_()
        penalised(strength, list(stock.parameters()))(stock(inputs), torch.from_numpy(TARGETS)).sum().backward()
        optimizer.step()
        found.append(torch.cat([p.detach().reshape(-1) for p in stock.parameters()]))
    assert torch.equal(*found)  # a thousand times the parameters' squares, and not a bit of difference
    with pytest.raises(PrivacyError, match="depends on more than outputs and targets"):
        ours(module, per_example_loss=penalised(1000.0, list(module.parameters())))
