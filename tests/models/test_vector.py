import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import save_file

from fedjoint.errors import InvalidValue, RecordError
from fedjoint.models.vector import load_model, load_vector, num_parameters, parameters_to_vector, save_model

SIZE = 3 * 2 + 2 + 2 * 1 + 1
NUMBERS = np.arange(SIZE, dtype=np.float32)


def module():
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))


@given(arrays(np.float32, SIZE, elements=st.floats(allow_nan=False, allow_infinity=False, width=32)))
def test_a_vector_survives_the_module_to_the_last_bit(numbers):
    net = module()
    load_vector(net, numbers)
    assert parameters_to_vector(net).tobytes() == numbers.tobytes()


def test_the_order_is_that_of_the_named_parameters():
    net = module()
    load_vector(net, NUMBERS)
    assert net[0].weight.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert net[0].bias.tolist() == [6, 7]
    assert net[2].weight.tolist() == [[8, 9]]
    assert num_parameters(net) == SIZE == 11


def test_the_vector_is_a_copy():
    net = module()
    load_vector(net, NUMBERS)
    parameters_to_vector(net)[:] = -1
    assert (parameters_to_vector(net) == NUMBERS).all()


@pytest.mark.parametrize("bad", [NUMBERS[:-1], np.zeros(12), NUMBERS[None], np.float32(1.0)])
def test_a_vector_of_the_wrong_length_is_refused(bad):
    with pytest.raises(InvalidValue, match=r"expected \[11\]"):
        load_vector(module(), bad)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_refused_and_the_module_unchanged(bad):
    net = module()
    load_vector(net, NUMBERS)
    with pytest.raises(InvalidValue, match="not finite"):
        load_vector(net, np.where(NUMBERS == 10, bad, -1))
    assert (parameters_to_vector(net) == NUMBERS).all()


def test_a_model_file_gives_back_vector_and_metadata(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, NUMBERS, module=module(), metadata={"run": "demo", "agreement": "ab" * 32})
    vector, metadata = load_model(path, module())
    assert vector.dtype == np.float32
    assert vector.tobytes() == NUMBERS.tobytes()
    assert metadata == {"run": "demo", "agreement": "ab" * 32}


def test_the_same_model_always_gives_the_same_bytes(tmp_path):
    # safetensors itself writes eight metadata keys in an order that differs from call to call
    contents = set()
    for _ in range(10):
        save_model(tmp_path / "model", NUMBERS, module=module(), metadata={key: key for key in "abcdefgh"})
        contents.add((tmp_path / "model").read_bytes())
    assert len(contents) == 1


def test_saving_replaces_the_old_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "model.safetensors"
    for numbers in (NUMBERS, NUMBERS + 1):
        save_model(path, numbers, module=module(), metadata={})
    assert load_model(path, module())[0][0] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_model(path, NUMBERS, module=module(), metadata={})
    before = path.read_bytes()

    def full_disk(_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save_model(path, NUMBERS + 1, module=module(), metadata={})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]


def test_metadata_too_large_for_the_header_is_refused(tmp_path):
    with pytest.raises(InvalidValue, match="metadata"):
        save_model(tmp_path / "model", NUMBERS, module=module(), metadata={"a": "x" * 600_000})


def test_a_vector_that_does_not_fit_is_not_saved(tmp_path):
    with pytest.raises(InvalidValue):
        save_model(tmp_path / "model", NUMBERS[:-1], module=module(), metadata={})
    assert list(tmp_path.iterdir()) == []


def write(path, tensors, words='{"a": "b"}'):
    save_file(tensors, path, metadata={"fedjoint": words} if words is not None else None)
    return path


def tensors(**changes):
    whole = {
        "0.weight": np.zeros((2, 3), np.float32),
        "0.bias": np.zeros(2, np.float32),
        "2.weight": np.zeros((1, 2), np.float32),
        "2.bias": np.zeros(1, np.float32),
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        (tensors(), None, "no model file"),
        (tensors(), "not json", "no model file"),
        (tensors(), '{"a": 1}', "malformed metadata"),
        (tensors(), "[]", "malformed metadata"),
        (tensors(**{"2.bias": None}), "{}", "another module"),
        (tensors(extra=np.zeros(1, np.float32)), "{}", "another module"),
        (tensors(**{"0.weight": np.zeros((3, 2), np.float32)}), "{}", "another module"),
        (tensors(**{"2.bias": np.zeros(1, np.float64)}), "{}", "another module"),
        (tensors(**{"2.bias": np.array([np.nan], np.float32)}), "{}", "not finite"),
        (tensors(extra=np.zeros(300_000, np.float32)), "{}", "larger than the agreed model"),
    ],
)
def test_a_file_that_is_not_the_agreed_model_is_refused(tmp_path, content, words, message):
    with pytest.raises(RecordError, match=message):
        load_model(write(tmp_path / "model", content, words), module())


def test_a_missing_truncated_or_foreign_file_is_refused(tmp_path):
    path = tmp_path / "model"
    with pytest.raises(RecordError, match="no model file"):
        load_model(path, module())
    save_model(path, NUMBERS, module=module(), metadata={})
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:10], b"", b"\x80\x04pickle", whole + b"x"):
        path.write_bytes(content)
        with pytest.raises(RecordError, match="no model file"):
            load_model(path, module())
