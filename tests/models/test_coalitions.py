import numpy as np
import pytest
import torch
from torch import nn

from fedjoint.errors import InvalidValue
from fedjoint.models.coalitions import CoalitionReference
from fedjoint.models.evaluate import loss_gradient, mean_loss
from fedjoint.models.shared_first import _blocks
from fedjoint.models.tasks import task_of
from fedjoint.models.vector import num_parameters
from fedjoint.valuation.games import all_coalitions

RECORDS, INPUTS = 12, 16


def sequence(*layers):
    return nn.Sequential(*layers)


MODULES = {
    "linear": lambda outputs: nn.Linear(INPUTS, outputs),
    "mlp": lambda outputs: sequence(nn.Linear(INPUTS, 5), nn.ReLU(), nn.Linear(5, outputs)),
    "deep": lambda outputs: sequence(
        nn.Linear(INPUTS, 6, bias=False), nn.Tanh(), nn.Linear(6, 4, bias=False), nn.GELU(), nn.Linear(4, outputs)
    ),
    "convolution": lambda outputs: sequence(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, outputs)
    ),
    "pooled": lambda outputs: sequence(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, outputs)
    ),
    "deep convolution": lambda outputs: sequence(
        nn.Unflatten(1, (1, 16)),
        nn.Conv1d(1, 2, 3),
        nn.AvgPool1d(2),
        nn.Flatten(),
        nn.Linear(14, 4),
        nn.ReLU(),
        nn.Linear(4, outputs),
    ),
    "two convolutions": lambda outputs: sequence(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2, 2), nn.Conv2d(2, 1, 2), nn.Flatten(), nn.Linear(4, outputs)
    ),
    "passed on": lambda outputs: sequence(nn.Linear(INPUTS, 5), nn.Sigmoid(), nn.Linear(5, outputs, bias=False)),
    "normalised": lambda outputs: sequence(nn.LayerNorm(INPUTS), nn.Linear(INPUTS, outputs)),
}
TARGETS = {"binary": 1, "multiclass": 3, "number": 1}


def case(module="mlp", task="multiclass", players=4, models=9, **options):
    generator = np.random.default_rng(3)
    network = MODULES[module](TARGETS[task]).double()
    size = num_parameters(network)
    targets = generator.integers(0, max(2, TARGETS[task]), RECORDS)
    reference = CoalitionReference(
        module=network,
        features=generator.normal(size=(RECORDS, INPUTS)),
        targets=targets if task != "number" else generator.normal(size=RECORDS),
        task=task_of(task),
        **options,
    )
    shares = generator.normal(size=(models, players))
    return (
        reference,
        shares,
        {
            "before": generator.normal(size=size) / 3,
            "updates": generator.normal(size=(players, size)) / 9,
        },
    )


def one_by_one(reference, shares, before, updates):
    return [
        mean_loss(reference.module, model, features=reference.features, targets=reference.targets, task=reference.task)
        for model in before + shares @ updates
    ]


@pytest.mark.parametrize("players", [1, 4, 40])  # with 40 the first layer has more directions than inputs
@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("module", MODULES)
def test_all_at_once_is_what_one_by_one_is(module, task, players):
    reference, shares, models = case(module, task, players)
    assert reference.losses(shares, **models) == pytest.approx(one_by_one(reference, shares, **models), rel=1e-12)


@pytest.mark.parametrize("kept", [32, 30])  # the second stands in no blocks that are worth it
@pytest.mark.parametrize("module", ["mlp", "convolution", "passed on"])
def test_coalitions_in_the_order_of_their_bits_go_block_by_block(module, kept, monkeypatch):
    monkeypatch.setattr("fedjoint.models.coalitions._MOST_MODELS", 8)
    told = []
    reference, _, models = case(module, players=5, progress=told.append)
    shares = all_coalitions(5)[:kept] * 0.7
    expected = one_by_one(reference, shares, **models)
    assert reference.losses(shares, **models) == pytest.approx(expected, rel=1e-12)
    assert told == [8, 8, 8, kept - 24]


def test_blocks_are_what_equal_groups_of_models_differ_in_and_what_each_shares():
    shares = torch.tensor([[0.0, 2.0, 1.0], [1.0, 2.0, 1.0], [0.0, 5.0, 1.0], [1.0, 5.0, 1.0]])
    within, common = _blocks(shares, 3)
    assert within.tolist() == [[0, 0, 0], [1, 0, 0]] and common.tolist() == [[0, 2, 1], [0, 5, 1]]
    assert _blocks(shares[[0, 1, 3, 2]], 3) is None and _blocks(shares[:3], 2) is None and _blocks(shares, 1) is None


@pytest.mark.parametrize("module", MODULES)
def test_single_precision_is_near(module):
    reference, shares, models = case(module, precision="single")
    expected = one_by_one(reference, shares, **models)
    found = reference.losses(shares, **models)
    assert found == pytest.approx(expected, rel=1e-5) and found.tolist() != expected


@pytest.mark.parametrize("module", ["mlp", "convolution"])
def test_what_does_not_fit_the_memory_at_once_is_done_in_steps_and_told(module, monkeypatch):
    monkeypatch.setattr("fedjoint.models.coalitions._CACHE_BYTES", 2 * 5 * RECORDS * 8)
    monkeypatch.setattr("fedjoint.models.coalitions._VMAP_BYTES", 1)
    told = []
    reference, shares, models = case(module, progress=told.append)
    assert reference.losses(shares, **models) == pytest.approx(one_by_one(reference, shares, **models), rel=1e-12)
    assert told == ([2, 2, 2, 2, 1] if module == "mlp" else [1] * 9)


def test_the_limit_of_memory_sets_the_step():
    told = []
    reference, _, _ = case(progress=told.append, memory_bytes=1 << 20)
    wide = nn.Sequential(nn.Linear(INPUTS, 10_000), nn.ReLU(), nn.Linear(10_000, 3)).double()
    size = num_parameters(wide)
    reference = CoalitionReference(**{**vars(reference), "module": wide})
    reference.losses(np.zeros((3, 1)), before=np.zeros(size), updates=np.zeros((1, size)))
    assert told == [1, 1, 1]


def test_no_models_have_no_losses():
    reference, shares, models = case()
    assert reference.losses(shares[:0], **models).shape == (0,)


def test_the_module_is_left_as_it_was():
    reference, shares, models = case("convolution")
    before = [parameter.clone() for parameter in reference.module.parameters()]
    reference.losses(shares, **models)
    assert all(torch.equal(*pair) for pair in zip(before, reference.module.parameters(), strict=True))
    assert not any(child._forward_hooks for child in reference.module.modules())


def test_the_gradient_is_that_of_the_mean_loss():
    reference, _, models = case(precision="single")
    expected = loss_gradient(
        reference.module,
        models["before"],
        features=reference.features,
        targets=reference.targets,
        task=reference.task,
    )
    assert reference.gradient(models["before"]).tolist() == expected.tolist()


def test_a_loss_that_overflows_is_not_finite_and_the_others_are():
    reference, shares, models = case("linear", "number")
    shares[2] = 1e200
    found = reference.losses(shares, **models)
    assert np.isfinite(found).tolist() == [place != 2 for place in range(len(shares))]


@pytest.mark.parametrize(
    "change", [{"before": np.zeros(3)}, {"updates": np.zeros((4, 3))}, {"updates": np.zeros((2, 108))}]
)
def test_shapes_that_do_not_fit_are_refused(change):
    reference, shares, models = case()
    with pytest.raises(InvalidValue, match="shares"):
        reference.losses(shares, **{**models, **change})


def test_a_reference_set_without_records_or_with_too_little_memory_is_refused():
    reference, _, _ = case()
    kept = {name: getattr(reference, name) for name in ("module", "features", "targets", "task")}
    with pytest.raises(InvalidValue, match="features"):
        CoalitionReference(**{**kept, "targets": kept["targets"][1:]})
    with pytest.raises(InvalidValue, match="features"):
        CoalitionReference(**{**kept, "features": kept["features"][:0], "targets": kept["targets"][:0]})
    with pytest.raises(InvalidValue, match="memory_bytes = 1;"):
        CoalitionReference(**kept, memory_bytes=1)


def test_outputs_too_large_for_a_plain_sum_of_exponentials_are_measured_too():
    reference, shares, parts = case("mlp", models=5)
    parts = {name: 40 * value for name, value in parts.items()}
    found = reference.losses(shares, **parts)
    assert np.abs(found).max() > 60
    assert found == pytest.approx(one_by_one(reference, shares, **parts), rel=1e-12)
