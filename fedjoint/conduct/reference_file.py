"""The exchange's reference records in a file, checked against what the agreement commits to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from fedjoint.agreement.terms import Terms
from fedjoint.data.records import Examples
from fedjoint.errors import ValuationError

__all__ = ["load_tensors", "read_reference", "write_reference"]


def write_reference(path: Path, reference: Examples) -> None:
    """Write encoded reference records to a file that only its owner can read."""
    path.touch(mode=0o600)
    save_file({"features": reference.features, "targets": reference.targets}, path)


def read_reference(path: Path, terms: Terms) -> Examples:
    """Read reference records; where an agreement commits to some, these.

    Raises:
        ValuationError: they are missing, malformed or others.
    """
    tensors = load_tensors(path)
    if set(tensors) != {"features", "targets"}:
        raise ValuationError(f"{path.name} holds {sorted(tensors)}", expected="features and targets")
    examples = Examples(features=tensors["features"], targets=tensors["targets"])
    if terms.valuation.reference_sha256 not in (None, examples.sha256()):
        raise ValuationError(
            f"{path.name} is not the reference set that the agreement commits to",
            remedy="Get the file again from who made it.",
        )
    return examples


def load_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read a file of tensors; it is never unpickled.

    Raises:
        ValuationError: it cannot be read.
    """
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as problem:
        raise ValuationError(f"{path.name} cannot be read: {type(problem).__name__}") from None
