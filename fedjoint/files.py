"""Files that are there in full or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

__all__ = ["replace_file", "replace_file_in_parts"]


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
    replace_file_in_parts(path, (content,), mode=mode)


def replace_file_in_parts(path: Path, parts: Iterable[bytes], *, mode: int = 0o644) -> None:
    """As :func:`replace_file`, for content that is made part by part and need not fit into memory.

    Raises:
        OSError: the folder is missing or cannot be written.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
