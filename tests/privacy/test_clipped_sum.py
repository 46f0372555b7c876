import copy

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import nn

from fedjoint.errors import PrivacyError
from fedjoint.models.tasks import task_of
from fedjoint.privacy import layer_gradients
from fedjoint.privacy.batch import Batch
from fedjoint.privacy.clipped_sum import GradientSummer, choose, clipped_gradient_sum

RNG = np.random.default_rng(3)
TABLE = RNG.normal(size=(40, 5)) * RNG.lognormal(size=(40, 1))
WORDS = RNG.integers(11, size=(40, 6))
TARGETS = {
    "binary": (RNG.random(40) < 0.4).astype(np.float32),
    "multiclass": RNG.integers(3, size=40),
    "number": RNG.normal(size=40).astype(np.float32),
}


class Residual(nn.Module):
    """A transformer's feed-forward block with code of its own, over words."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8, bias=False)
        self.out = nn.Linear(8, 3)

    def forward(self, index):
        x = self.words(index)
        x = x + self.down(torch.tanh(self.up(self.norm(x))))
        return self.out(x.mean(1))


class Adapted(nn.Module):
    """A frozen layer and a low-rank adapter beside it: only the adapter is trained."""

    def __init__(self):
        super().__init__()
        self.base, self.a, self.b = nn.Linear(5, 3), nn.Linear(5, 2, bias=False), nn.Linear(2, 3, bias=False)
        self.base.requires_grad_(False)

    def forward(self, x):
        return self.base(x) + self.b(self.a(x))


class Tied(nn.Module):
    """Uses its embedding's weights a second time without calling the layer."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(11, 3)

    def forward(self, index):
        return nn.functional.linear(self.words(index).mean(1), self.words.weight[:3])


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.out = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.out(torch.tanh(self.layer(torch.tanh(self.layer(x)))))


class Overwriting(nn.Module):
    """Changes what a layer gave in place."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        hidden = self.inner(x)
        hidden += torch.tanh(x)
        return self.out(hidden)


class Later(nn.Module):
    """As before, at a place where torch does not object."""

    def __init__(self):
        super().__init__()
        self.first, self.inner, self.out = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        hidden = self.inner(torch.tanh(self.first(x)))
        hidden += torch.tanh(x)
        return self.out(hidden)


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x):
        return self.layer(x - x.mean(0))


class Positions(nn.Module):
    """Looks positions up once for the whole batch: a row of that layer's input is no record."""

    def __init__(self):
        super().__init__()
        self.places, self.out = nn.Embedding(6, 4), nn.Linear(4, 3)

    def forward(self, index):
        return self.out((self.places(torch.arange(6)) * index[:, :, None]).mean(1))


def bias_only():
    module = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    return module


def images(channels=2):
    return RNG.normal(size=(40, channels, 8, 8))


KNOWN = {
    "linear": (lambda: nn.Linear(5, 3), TABLE, "closed_form"),
    "linear without bias": (lambda: nn.Linear(5, 3, bias=False), TABLE, "closed_form"),
    "mlp": (lambda: nn.Sequential(nn.Linear(5, 7), nn.ReLU(inplace=True), nn.Linear(7, 3)), TABLE, "book_keeping"),
    "layer norm": (
        lambda: nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 3)), TABLE, "book_keeping"
    ),
    "rms norm": (lambda: nn.Sequential(nn.Linear(5, 6), nn.RMSNorm(6), nn.Linear(6, 3)), TABLE, "book_keeping"),
    "only biases": (bias_only, TABLE, "book_keeping"),
    "images": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
        ), images(), "book_keeping"
    ),
    "many channels, few places": (
        lambda: nn.Sequential(nn.Conv2d(2, 30, 3, stride=7), nn.Conv2d(30, 40, 1), nn.Flatten(), nn.Linear(40, 3)),
        images(), "book_keeping",
    ),
    "channels in groups": (
        lambda: nn.Sequential(nn.Conv2d(4, 6, 3, groups=2, dilation=2), nn.Flatten(), nn.Linear(96, 3)), images(4),
        "book_keeping",
    ),
    "signals": (
        lambda: nn.Sequential(nn.Conv1d(6, 4, 3, padding=1, stride=2), nn.Flatten(), nn.Linear(8, 3)),
        RNG.normal(size=(40, 6, 4)), "book_keeping",
    ),
    "4-d input": (
        lambda: nn.Sequential(nn.Linear(8, 5), nn.Flatten(), nn.Linear(80, 3)), images(), "book_keeping"
    ),
    "words": (Residual, WORDS, "book_keeping"),
    "adapters": (Adapted, TABLE, "book_keeping"),
    "used twice": (Twice, TABLE, "opacus"),
    "instance norm": (
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.Flatten(), nn.Linear(144, 3)),
        images(), "opacus",
    ),
}  # fmt: skip


def made(make):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return make()


def clipped(module, features=TABLE, *, task="multiclass", groups=None, rows=slice(None), clip_norm=0.7):
    batch = Batch(features=features[rows], targets=TARGETS[task][rows], groups=groups)
    return clipped_gradient_sum(module, batch, per_example_loss=task_of(task).per_example_loss, clip_norm=clip_norm)


def one_by_one(module, features, task="multiclass", clip_norm=0.7, groups=None):
    """Each unit's gradient by itself, clipped by hand."""
    double = copy.deepcopy(module).double()
    trained = [parameter for parameter in double.parameters() if parameter.requires_grad]
    groups = np.arange(len(features)) if groups is None else groups
    total = 0.0
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        gradient = 0.0
        for row in rows:
            loss = task_of(task).per_example_loss(
                double(torch.from_numpy(features[[row]])), torch.from_numpy(TARGETS[task][[row]])
            )
            parts = torch.autograd.grad(loss.sum(), trained, allow_unused=True)
            gradient = gradient + np.concatenate([part.numpy().ravel() for part in parts])
        total = total + gradient * min(1.0, clip_norm / np.linalg.norm(gradient))
    return total


def opacus_sum(module, features, task, clip_norm):
    """What stock Opacus sums up: its hooks and its optimiser's clipping."""
    copied = copy.deepcopy(module).double()
    for part in copied.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = False  # Opacus' hooks do not bear it
    hooked = GradSampleModule(copied, loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(hooked.parameters(), lr=1.0), noise_multiplier=0.0, max_grad_norm=clip_norm,
        expected_batch_size=None, loss_reduction="sum",
    )  # fmt: skip
    inputs = torch.from_numpy(features)
    inputs = inputs.requires_grad_(True) if inputs.is_floating_point() else inputs
    task_of(task).per_example_loss(hooked(inputs), torch.from_numpy(TARGETS[task])).sum().backward()
    optimizer.clip_and_accumulate()
    return torch.cat([p.summed_grad.ravel() for p in optimizer.params if p.requires_grad]).numpy()


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("clip_norm", [0.05, 50.0])
def test_the_sum_is_that_of_the_records_one_by_one(name, clip_norm):
    make, features, _ = KNOWN[name]
    module = made(make)
    ours = clipped(module, features.copy(), clip_norm=clip_norm)
    assert ours.total.numpy() == pytest.approx(
        one_by_one(module, features, clip_norm=clip_norm), rel=1e-7, abs=1e-7 * clip_norm
    )
    assert ours.not_finite == 0


@pytest.mark.parametrize("name", [name for name, (_, _, method) in KNOWN.items() if method != "opacus"])
@pytest.mark.parametrize("clip_norm", [0.05, 50.0])
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # Opacus' hooks on an embedding
def test_the_fast_ways_equal_opacus_to_a_millionth(name, clip_norm):
    make, features, method = KNOWN[name]
    module = made(make)
    assert choose(module) == method
    ours = clipped(module, features, clip_norm=clip_norm).total.numpy()
    opacus = opacus_sum(module, features, "multiclass", clip_norm)
    # Opacus divides by the norm plus 1e-6, so it clips a little harder where gradients are short
    assert np.linalg.norm(ours - opacus) <= 1e-6 * len(features) * min(clip_norm, 1.0)


@pytest.mark.parametrize("task", ["binary", "multiclass", "number"])
@pytest.mark.parametrize("hidden", [False, True])
def test_every_task_gives_the_sum_of_its_records(task, hidden):
    outputs = 3 if task == "multiclass" else 1
    module = made(lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, outputs)))
    module = module if hidden else made(lambda: nn.Linear(5, outputs))
    assert clipped(module, task=task).total.numpy() == pytest.approx(one_by_one(module, TABLE, task), abs=1e-6)


@pytest.mark.parametrize("name", KNOWN)
def test_a_patients_gradients_are_added_up_before_they_are_clipped(name):
    make, features, _ = KNOWN[name]
    module, groups = made(make), RNG.integers(9, size=40)
    ours = clipped(module, features, groups=groups).total.numpy()
    assert ours == pytest.approx(one_by_one(module, features, groups=groups), rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("groups", [None, RNG.integers(150, size=600)], ids=["records", "patients"])
def test_many_records_are_treated_in_pieces_that_tear_no_patient_apart(groups):
    module, many = made(KNOWN["mlp"][0]), RNG.integers(40, size=600)
    batch = Batch(features=TABLE[many], targets=TARGETS["multiclass"][many], groups=groups)
    loss = task_of("multiclass").per_example_loss
    whole = clipped_gradient_sum(module, batch, per_example_loss=loss, clip_norm=0.3).total.numpy()
    labels = np.arange(600) // 200 if groups is None else groups
    parts = [
        clipped_gradient_sum(module, batch.take(labels == label), per_example_loss=loss, clip_norm=0.3).total.numpy()
        for label in np.unique(labels)
    ]
    assert whole == pytest.approx(np.sum(parts, axis=0), abs=1e-9)


@pytest.mark.parametrize("name", ["linear", "mlp", "images", "words", "used twice"])
def test_one_record_changes_the_sum_by_at_most_the_clip_norm(name):
    make, features, _ = KNOWN[name]
    module = made(make)
    whole = clipped(module, features, clip_norm=0.1).total
    for left_out in range(5):
        rest = clipped(module, features, rows=np.arange(40) != left_out, clip_norm=0.1).total
        assert np.linalg.norm(whole - rest) <= 0.1


@pytest.mark.parametrize("name", ["many channels, few places", "words", "4-d input", "images"])
@pytest.mark.parametrize("groups", [None, np.arange(40) // 3], ids=["records", "patients"])
def test_gradients_too_large_to_be_stored_have_the_same_sum(name, groups, monkeypatch):
    monkeypatch.setattr(layer_gradients, "_STORED_AT_MOST", 0)
    make, features, _ = KNOWN[name]
    module = made(make)
    ours = clipped(module, features, groups=groups).total.numpy()
    assert ours == pytest.approx(one_by_one(module, features, groups=groups), rel=1e-7, abs=1e-7)


def test_places_that_nearly_cancel_stay_within_the_clip_norm_in_single_precision(monkeypatch):
    monkeypatch.setattr(layer_gradients, "_STORED_AT_MOST", 0)

    # the inner products of the two places cancel to nothing in float32, yet a gradient of norm near 50 is left
    class Places(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(40, 40, bias=False)

        def forward(self, x):
            outputs = self.layer(x)
            return (outputs[:, 0] - outputs[:, 1]).sum(1)

    generator = torch.Generator().manual_seed(0)
    place = 1e5 * torch.randn(1, 40, generator=generator)
    inputs = torch.stack([place, place + torch.randn(1, 40, generator=generator)], dim=1)
    summer = GradientSummer(Places(), lambda outputs, targets: outputs)
    found = summer.sum(inputs, torch.zeros(1), clip_norm=1.0).total
    assert summer.method == "book_keeping"
    assert float(found.double().norm()) <= 1.0


@pytest.mark.parametrize("name", KNOWN)
def test_an_empty_sample_gives_zeros(name):
    make, features, _ = KNOWN[name]
    module = made(make)
    empty = clipped(module, features, rows=slice(0))
    assert (empty.total.numpy() == 0).all()
    assert len(empty.total) == sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", ["linear", "mlp", "images", "used twice"])
@pytest.mark.parametrize("groups", [None, np.arange(40) // 4], ids=["records", "patients"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_record_that_clipping_cannot_bound_has_no_weight_and_is_reported(name, bad, groups, caplog):
    make, features, _ = KNOWN[name]
    spoilt = features.copy()
    spoilt[7].flat[2] = bad
    kept = np.arange(40) != 7
    module = made(make)
    found = clipped(module, spoilt, groups=groups)
    rest = None if groups is None else groups[kept]
    without = Batch(features=features[kept], targets=TARGETS["multiclass"][kept], groups=rest)
    expected = clipped_gradient_sum(
        module, without, per_example_loss=task_of("multiclass").per_example_loss, clip_norm=0.7
    )
    assert found.total.numpy() == pytest.approx(expected.total.numpy(), abs=1e-9)
    assert found.not_finite == 1
    assert "1 gradients are not finite" in caplog.text


def test_a_batch_of_nothing_but_spoilt_records_gives_zeros():
    found = clipped(made(KNOWN["mlp"][0]), np.full((40, 5), np.nan))
    assert (found.total.numpy() == 0).all()
    assert found.not_finite == 40


def test_gradients_of_one_patient_that_add_up_to_infinity_are_left_out():
    batch = Batch(features=np.full((3, 2), 9e153), targets=np.zeros(3), groups=np.array([0, 0, 1]))
    module = nn.Linear(2, 1, bias=False)  # squared norms of 1.6e308 for each record, and beyond the largest for two
    found = clipped_gradient_sum(module, batch, per_example_loss=lambda o, _: o[:, 0], clip_norm=0.5)
    assert np.linalg.norm(found.total) == pytest.approx(0.5)
    assert found.not_finite == 1


@pytest.mark.parametrize("name", ["linear", "mlp", "words", "used twice"])
def test_a_loss_that_is_reduced_is_refused_without_telling_how_many_records_there_are(name):
    make, features, _ = KNOWN[name]
    batch = Batch(features=features, targets=TARGETS["multiclass"])
    with pytest.raises(PrivacyError, match="one number for each record") as refusal:
        clipped_gradient_sum(
            made(make), batch, per_example_loss=lambda outputs, targets: outputs.mean()[None], clip_norm=1.0
        )
    assert "40" not in str(refusal.value)


@pytest.mark.parametrize(
    ("make", "features"), [(Mixing, TABLE), (Positions, WORDS), (Tied, WORDS), (Overwriting, TABLE), (Later, TABLE)]
)
def test_a_model_whose_gradients_are_not_those_of_single_records_is_refused(make, features):
    with pytest.raises(PrivacyError, match="not those of its records one by one"):
        clipped(made(make), features)


def test_dropout_is_no_reason_to_doubt_a_model():
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.dropout = nn.Linear(5, 3), nn.Dropout(0.5)

        def forward(self, x):
            return self.layer(self.dropout(x))

    summer = GradientSummer(Dropping().double(), task_of("multiclass").per_example_loss)
    with torch.random.fork_rng():
        summer.sum(torch.from_numpy(TABLE), torch.from_numpy(TARGETS["multiclass"]), clip_norm=1.0)
    assert summer.method == "book_keeping"


@pytest.mark.parametrize("name", KNOWN)
def test_the_module_is_left_as_it_was(name):
    make, features, _ = KNOWN[name]
    module = made(make)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    asked = [parameter.requires_grad for parameter in module.parameters()]
    clipped(module, features)
    assert all((module.state_dict()[key] == value).all() for key, value in before.items())
    assert [parameter.requires_grad for parameter in module.parameters()] == asked
    assert not any(part._forward_hooks or part._backward_hooks for part in module.modules())


def test_a_summer_follows_its_module():
    module = made(KNOWN["mlp"][0]).double()
    summer = GradientSummer(module, task_of("multiclass").per_example_loss)
    records = torch.from_numpy(TABLE), torch.from_numpy(TARGETS["multiclass"])
    for _ in range(3):
        found = summer.sum(*records, clip_norm=0.7).total.numpy()
        reference = made(KNOWN["mlp"][0]).double()
        reference.load_state_dict(module.state_dict())
        assert found == pytest.approx(one_by_one(reference, TABLE), abs=1e-7)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.1)
