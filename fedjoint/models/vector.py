"""The parameters of a module as one vector, in the order of ``module.named_parameters()``, and as a file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fedjoint.errors import InvalidValue, RecordError
from fedjoint.files import replace_file

__all__ = [
    "check_vector",
    "load_model",
    "load_vector",
    "num_parameters",
    "parameters_to_vector",
    "save_model",
]

#: Header and metadata of a model file; the rest is four bytes a parameter.
_MAX_HEADER_BYTES = 1 << 20
_METADATA_KEY = "fedjoint"


def num_parameters(module: torch.nn.Module) -> int:
    """How many numbers a module's parameters are.

    Example:
        >>> num_parameters(torch.nn.Linear(3, 2))
        8
    """
    return sum(parameter.numel() for parameter in module.parameters())


def parameters_to_vector(module: torch.nn.Module) -> NDArray[np.float32]:
    """Copy a module's parameters, float32 [D]."""
    with torch.no_grad():
        parts = [parameter.numpy().ravel() for _, parameter in module.named_parameters()]
    return np.concatenate(parts).astype(np.float32)


def check_vector(module: torch.nn.Module, vector: ArrayLike) -> NDArray[np.float64]:
    """Accept a vector as parameters of a module, or refuse it.

    Args:
        module: Which gives the length D.
        vector: Numbers [D].

    Returns:
        A copy as float64 [D].

    Raises:
        InvalidValue: the length is not D, or a number is not finite.
    """
    numbers = np.array(vector, dtype=np.float64)
    if numbers.shape != (num_parameters(module),):
        raise InvalidValue(f"a parameter vector of shape {list(numbers.shape)}", expected=f"[{num_parameters(module)}]")
    if not np.isfinite(numbers).all():
        raise InvalidValue("a parameter vector with numbers that are not finite", expected="finite numbers")
    return numbers


def load_vector(module: torch.nn.Module, vector: ArrayLike) -> None:
    """Write a vector into a module's parameters.

    Args:
        module: Is changed.
        vector: Numbers [D], rounded to the parameters' type.

    Raises:
        InvalidValue: the length is not D, or a number is not finite; the module is unchanged then.

    Example:
        >>> layer = torch.nn.Linear(2, 1)
        >>> load_vector(layer, [1.0, 2.0, 3.0])
        >>> layer.bias.item()
        3.0
    """
    numbers = torch.from_numpy(check_vector(module, vector))
    start = 0
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(numbers[start : start + parameter.numel()].view_as(parameter))
            start += parameter.numel()


def save_model(path: Path, vector: ArrayLike, *, module: torch.nn.Module, metadata: Mapping[str, str]) -> None:
    """Write parameters to a safetensors file, whole or not at all.

    Args:
        path: Replaced if it exists.
        vector: Numbers [D], stored as float32.
        module: Gives names and shapes; its own parameters are not read.
        metadata: Words for whoever opens the file: agreement, run, round.

    Raises:
        InvalidValue: the vector does not fit the module, or metadata is larger than half a mebibyte.

    Guarantees:
        The same arguments give the same bytes. A crash leaves the old file or the new one.
    """
    numbers = check_vector(module, vector).astype(np.float32)
    # one key: safetensors writes several in an order that differs from call to call
    words = json.dumps(dict(metadata), sort_keys=True)
    if len(words.encode()) > _MAX_HEADER_BYTES // 2:
        raise InvalidValue(f"metadata of {len(words)} characters", expected="at most half a mebibyte")
    tensors: dict[str, NDArray[np.float32]] = {}
    start = 0
    for name, parameter in module.named_parameters():
        tensors[name] = numbers[start : start + parameter.numel()].reshape(tuple(parameter.shape))
        start += parameter.numel()
    replace_file(path, save(tensors, metadata={_METADATA_KEY: words}))


def load_model(path: Path, module: torch.nn.Module) -> tuple[NDArray[np.float32], dict[str, str]]:
    """Read what :func:`save_model` wrote.

    Args:
        path: A safetensors file.
        module: Whose names and shapes the file must have; it is not changed.

    Returns:
        The parameters, float32 [D], and the metadata.

    Raises:
        RecordError: the file is missing, too large, altered, of another module, or holds numbers that are not finite.
    """
    shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    remedy = "Name a model file that this run wrote."
    try:
        if path.stat().st_size > _MAX_HEADER_BYTES + 4 * sum(math.prod(shape) for shape in shapes.values()):
            raise RecordError(f"{path} is larger than the agreed model", remedy=remedy)
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
            metadata = json.loads((file.metadata() or {})[_METADATA_KEY])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        raise RecordError(f"{path} is no model file", expected="safetensors with metadata", remedy=remedy) from None
    if {name: (array.shape, array.dtype.name) for name, array in tensors.items()} != {
        name: (shape, "float32") for name, shape in shapes.items()
    }:
        raise RecordError(f"{path} holds another module than the agreed one", remedy=remedy)
    if not (isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())):
        raise RecordError(f"{path} has malformed metadata", expected="words by name", remedy=remedy)
    vector = np.concatenate([tensors[name].ravel() for name in shapes])
    if not np.isfinite(vector).all():
        raise RecordError(f"{path} holds numbers that are not finite", remedy=remedy)
    return vector, metadata
