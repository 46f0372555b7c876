import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.terms import ModelTerms
from fedjoint.errors import InvalidValue
from fedjoint.models.modules import make_module
from fedjoint.models.vector import num_parameters, parameters_to_vector

MLP = ModelTerms(kind="mlp", hidden=(6, 4))


def test_a_linear_model_starts_at_zero_with_a_bias():
    module = make_module(ModelTerms(), 5, outputs=3, seed=9)
    assert [tuple(p.shape) for p in module.parameters()] == [(3, 5), (3,)]
    assert (parameters_to_vector(module) == 0).all()


def test_an_mlp_has_the_agreed_widths_with_a_relu_between():
    module = make_module(MLP, 5, outputs=2, seed=0)
    assert [name for name, _ in module.named_parameters()] == [
        f"{i}.{n}" for i in (0, 2, 4) for n in ("weight", "bias")
    ]
    assert num_parameters(module) == (5 * 6 + 6) + (6 * 4 + 4) + (4 * 2 + 2)
    x = torch.ones(7, 5)
    first, _, second, _, last = module
    assert torch.equal(module(x), last(torch.clamp(second(torch.clamp(first(x), min=0)), min=0)))


@given(seed=st.integers(0, 2**53 - 1))
def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(seed):
    start, again, other = (parameters_to_vector(make_module(MLP, 5, outputs=1, seed=s)) for s in (seed, seed, seed + 1))
    assert start.tobytes() == again.tobytes() != other.tobytes()


def test_the_start_of_a_seed_never_changes():
    # all parties make the model for themselves: a change of these numbers would be a change of every agreement
    weights = make_module(ModelTerms(kind="mlp", hidden=(1,)), 2, outputs=1, seed=1)[0].weight
    generator = torch.Generator().manual_seed(1)
    assert torch.equal(weights, torch.empty(1, 2).uniform_(-math.sqrt(3), math.sqrt(3), generator=generator))


def test_making_a_module_touches_no_global_generator():
    before = torch.get_rng_state()
    make_module(MLP, 5, outputs=2, seed=0)
    make_module(ModelTerms(), 5, outputs=2, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_hidden_layers_start_within_their_bounds_and_fill_them():
    module = make_module(ModelTerms(kind="mlp", hidden=(400,)), 100, outputs=50, seed=0)
    for layer, bound in ((module[0], math.sqrt(6 / 100)), (module[2], math.sqrt(3 / 400))):
        assert 0.99 * bound < float(layer.weight.detach().abs().max()) <= bound
        assert (layer.bias == 0).all()


@pytest.mark.parametrize(
    ("inputs", "outputs", "seed", "name"),
    [(0, 1, 0, "inputs"), (400_001, 1, 0, "inputs"), (1, 0, 0, "outputs"), (1, 1, -1, "seed"), (1, 1, 2**63, "seed")],
)
def test_widths_and_seeds_out_of_range_are_refused(inputs, outputs, seed, name):
    with pytest.raises(InvalidValue, match=name):
        make_module(ModelTerms(), inputs, outputs=outputs, seed=seed)
