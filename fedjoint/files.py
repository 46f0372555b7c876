"""Files that are there in full or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["replace_file", "sync_folder"]


def replace_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write beside the file, have it reach the disk, then take its name.

    Args:
        path: Where; a file there is replaced.
        content: All of it.
        mode: Its permissions.

    Raises:
        OSError: the folder is missing or cannot be written.

    Guarantees:
        Whoever reads ``path`` meanwhile, or after a crash, finds the old content or the new, whole.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, as its files are."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
