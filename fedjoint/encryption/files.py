"""Files that are there whole or not at all, and arrays mapped from them."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fedjoint.errors import EncryptionError
from fedjoint.files import sync_folder

__all__ = ["new_array_file", "read_array_file"]


@contextmanager
def new_array_file(path: Path, *, dtype: DTypeLike, size: int) -> Iterator[NDArray[Any]]:
    """Write an array to a file of mode 0600 that takes its name only once all of it is on the disk.

    Args:
        path: The name; a file that has it is replaced, in one step.
        dtype: Type of the elements.
        size: Number of elements, at least 1.

    Yields:
        The array, zeros, mapped from a file of another name in the same folder. If the block is left by an exception
        that file goes; if the process is killed, the next one that writes to ``path`` removes it.

    Raises:
        EncryptionError: the folder cannot be written, or the disk has no room for all of it.
    """
    _remove_leftovers(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    except OSError as problem:
        raise _cannot_write(path, problem) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            # Room that is only promised would end the process with SIGBUS when the disk is full.
            os.posix_fallocate(handle, 0, size * np.dtype(dtype).itemsize)
        except OSError as problem:
            raise _cannot_write(path, problem) from None
        array = np.memmap(name, dtype=dtype, mode="r+", shape=(size,))
        yield array
        array.flush()
        os.fsync(handle)
        Path(name).replace(path)
        sync_folder(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def read_array_file(path: Path, *, dtype: DTypeLike) -> NDArray[Any]:
    """Map a file as an array that cannot be written to.

    Raises:
        EncryptionError: there is no such file, or it is empty or not of whole elements.
    """
    try:
        return np.memmap(path, dtype=dtype, mode="r")
    except (OSError, ValueError):
        raise EncryptionError(f"{path} cannot be read as {np.dtype(dtype)}", expected="a file with elements") from None


def _remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of earlier tries; who still writes holds a lock."""
    for leftover in path.parent.glob(f".{path.name}.*.partial"):
        with suppress(OSError), leftover.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()


def _cannot_write(path: Path, problem: OSError) -> EncryptionError:
    return EncryptionError(
        f"{path} cannot be written: {problem.strerror}", remedy="Choose a folder with room that this account may use."
    )
