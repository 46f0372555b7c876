"""Updates to integer levels and back: clip, quantise without bias, and undo it on sums.

All of it is float64: clipped in float32 a coordinate of -B can end a hair below the bound and wrap to a huge unsigned
number; and NaN cast to an integer is silent. Hence the order here: refuse, scale, round, clamp.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedjoint.encryption.parameters import Parameters
from fedjoint.errors import EncryptionError

__all__ = ["clip_to_bound", "dequantise_sum", "quantise"]


def clip_to_bound(values: NDArray[np.floating], bound: float) -> NDArray[np.float64]:
    """Move every coordinate beyond the bound onto it.

    Args:
        values: float[D].
        bound: B, positive.

    Returns:
        float64[D] in [-B, B].

    Raises:
        EncryptionError: a coordinate is NaN or infinite; an infinite one must not pass as a large one.

    Example:
        >>> clip_to_bound(np.array([0.5, -7.0]), 1.0).tolist()
        [0.5, -1.0]
    """
    exact = np.asarray(values, dtype=np.float64)
    _refuse(~np.isfinite(exact), exact, "a finite number")
    return np.clip(exact, -bound, bound)


def quantise(
    values: NDArray[np.floating], parameters: Parameters, *, rounding: np.random.Generator
) -> NDArray[np.uint64]:
    """Round each coordinate at random to one of its two neighbouring levels, so that the mean is exact.

    Args:
        values: float[D] in [-B, B], clipped already.
        parameters: Give D, B and the levels.
        rounding: Decides up or down. It protects nobody, so it need not be cryptographic.

    Returns:
        uint64[D] in [0, L - 1].

    Raises:
        EncryptionError: a wrong length, or a coordinate that is NaN, infinite or beyond the bound, by its index; the
            whole update is refused.

    Guarantees:
        E[(level - offset) * step] is the value (to float64 precision) and the error is below one step.
    """
    exact = np.asarray(values, dtype=np.float64)
    if exact.shape != (parameters.num_parameters,):
        raise EncryptionError(
            f"an update of shape {exact.shape}", expected=f"{parameters.num_parameters} coordinates as agreed"
        )
    _refuse(~(np.abs(exact) <= parameters.bound), exact, f"a number from {-parameters.bound} to {parameters.bound}")
    scaled = exact * (parameters.offset / parameters.bound)
    scaled += parameters.offset
    scaled += rounding.random(exact.size)
    np.floor(scaled, out=scaled)
    # At the bound itself the last bit of a float64 may lie on either side.
    np.clip(scaled, 0, parameters.levels - 1, out=scaled)
    return scaled.astype(np.uint64)


def dequantise_sum(level_sums: NDArray[np.uint64], count: int, parameters: Parameters) -> NDArray[np.float64]:
    """Undo :func:`quantise` on a sum of updates.

    Args:
        level_sums: uint64[D], sums of ``count`` levels each.
        count: Number of summed updates, 1 to ``max_holders``.
        parameters: Those the levels were made with.

    Returns:
        float64[D], the sum of the updates, in [-count * B, count * B].

    Raises:
        EncryptionError: a wrong length or count.

    Example:
        >>> agreed = Parameters(scheme="seal", num_parameters=2, max_holders=4, bound=1.0, value_bits=8, rounds=1)
        >>> dequantise_sum(np.array([127, 0], dtype=np.uint64), 1, agreed).tolist()
        [0.0, -1.0]
    """
    if level_sums.shape != (parameters.num_parameters,) or not 1 <= count <= parameters.max_holders:
        raise EncryptionError(
            f"a sum of {count} updates of shape {level_sums.shape}",
            expected=f"1 to {parameters.max_holders} updates of {parameters.num_parameters} coordinates",
        )
    return (level_sums.astype(np.float64) - count * parameters.offset) * parameters.step


def _refuse(wrong: NDArray[np.bool_], values: NDArray[np.float64], expected: str) -> None:
    """Refuse an update by the index of its first wrong coordinate; its value is data and is not told, unless NaN."""
    if wrong.any():
        index = int(np.argmax(wrong))
        what = "beyond the bound" if np.isfinite(values[index]) else str(values[index])
        raise EncryptionError(
            f"coordinate {index} of the update is {what}",
            expected=expected,
            remedy="Nothing was encrypted; check the learning rate and the data of this round.",
        )
