"""Files that are there in full or not at all, and files that only their owner can read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from fedjoint.errors import IdentityError

__all__ = ["read_secret", "replace_file", "replace_file_in_parts", "require_new", "sync_folder", "write_new_secret"]


def replace_file(path: Path, *content: bytes | memoryview, mode: int = 0o644) -> None:
    """Write beside the file, have it reach the disk, then take its name.

    Args:
        path: Where; a file there is replaced.
        content: All of it, in one piece or several.
        mode: Its permissions.

    Raises:
        OSError: the folder is missing or cannot be written.

    Guarantees:
        Whoever reads ``path`` meanwhile, or after a crash, finds the old content or the new, whole.
    """
    replace_file_in_parts(path, content, mode=mode)


def replace_file_in_parts(path: Path, parts: Iterable[bytes | memoryview], *, mode: int = 0o644) -> None:
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


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, as its files are."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def require_new(path: Path) -> None:
    """Tell that a secret's file exists before what will be written to it takes effect elsewhere.

    Raises:
        IdentityError: it does.
    """
    if path.exists():
        raise IdentityError(f"{path} exists", remedy="Name another file: secrets are never overwritten.")


def write_new_secret(path: Path, content: bytes) -> None:
    """Write a new file of mode 0600.

    Raises:
        IdentityError: the file exists already, or its folder cannot be written.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise IdentityError(
            f"{path} exists", remedy="Keep it, or move it away first: secrets are never overwritten."
        ) from None
    except OSError as problem:
        raise IdentityError(f"{path} cannot be written: {problem.strerror}", remedy="Check the folder.") from None
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_secret(path: Path, *, most_bytes: int) -> bytes:
    """Read a file that only its owner can read.

    Args:
        path: Of mode 0600 or less.
        most_bytes: A longer file is refused.

    Raises:
        IdentityError: the file is missing, readable by others, or too large.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise IdentityError(f"{path} can be read by others", remedy=f"Run: chmod 600 {path}")
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as problem:
        raise IdentityError(f"{path} cannot be read: {problem.strerror}", remedy="Check its name.") from None
    if len(content) > most_bytes:
        raise IdentityError(f"{path} is too large", expected=f"at most {most_bytes} bytes")
    return content
