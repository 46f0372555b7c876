"""Vectors as long as the model may be mapped from files and worked on piece by piece: the numbers stay the same."""

import numpy as np
import pytest

from fedjoint.agreement.terms import TrainingTerms
from fedjoint.encryption import scratch
from fedjoint.encryption.dot import scale_weights, squared_norm
from fedjoint.encryption.scratch import Scratch, mapped, product
from fedjoint.errors import EncryptionError
from fedjoint.training.optimizer import ServerState, linear_step
from fedjoint.valuation.aumann_shapley import path_gradient
from fedjoint.valuation.guards import split_known
from fedjoint.valuation.steps import CarriedWeights, LinearStep

SIZE = 10
RNG = np.random.default_rng(3)
A, B, C = RNG.normal(size=(3, SIZE))


@pytest.fixture
def disk(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "_PIECE", 3)
    return Scratch(folder=tmp_path, small_bytes=0)


def on(disk, vector):
    array = disk.array(vector.dtype, vector.size)
    array[:] = vector
    return array


def test_a_path_gradient_has_the_same_bits(disk):
    before, after = A.astype(np.float32), B.astype(np.float32)
    found = path_gradient(np.sin, on(disk, before), on(disk, after), points=3, scratch=disk)
    assert mapped([found])
    np.testing.assert_array_equal(found, path_gradient(np.sin, before.astype(float), after.astype(float), points=3))


def test_the_known_path_is_the_same_to_rounding(disk):
    found, known = split_known(on(disk, A), on(disk, B), on(disk, C), scratch=disk)
    expected, expected_known = split_known(A, B, C)
    assert mapped([found])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert known == pytest.approx(expected_known, rel=1e-12)
    assert found @ C == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("scale", [np.array([2.0]), np.abs(C)])
def test_carried_weights_have_the_same_bits(disk, scale):
    step, results = LinearStep(scale=scale, decay=0.5), []
    for place in (disk, Scratch()):
        carried = CarriedWeights[str](scratch=place)
        carried.add_round("first", on(place, A), step)
        carried.add_round("second", on(place, B), step)
        results.append(list(carried.rest()))
    (first, second), expected = results
    assert mapped([first[1]]) and mapped([second[1]])
    np.testing.assert_array_equal([first[1], second[1]], [weights for _, weights in expected])
    np.testing.assert_allclose(first[1], scale * (A + 0.5 * B))


def test_the_scale_of_adam_has_the_same_bits(disk):
    training = TrainingTerms(server_optimizer="adam")
    moments = np.zeros(SIZE), A**2
    found = linear_step(ServerState(model=A.astype(np.float32), moments=moments), training, scratch=disk).scale
    again = linear_step(ServerState(model=A.astype(np.float32), moments=moments), training).scale
    assert mapped([found])
    np.testing.assert_array_equal(found, again)


def test_integer_weights_and_their_norm_are_exact(disk):
    weights = on(disk, 1000 * A)
    integers = scale_weights(weights, 7.0, into=disk.array("<i8", SIZE))
    np.testing.assert_array_equal(integers, np.rint(7000 * A))
    assert squared_norm(integers) == sum(int(one) ** 2 for one in integers)
    integers[4] = np.iinfo(np.int64).min
    assert squared_norm(integers) == sum(int(one) ** 2 for one in integers)
    weights[8] = np.nan
    with pytest.raises(EncryptionError, match="weight 8 times 7"):
        scale_weights(weights, 7.0)


def test_an_inner_product_is_that_of_all_pieces(disk):
    assert product(on(disk, A), on(disk, B)) == pytest.approx(A @ B, rel=1e-12)
