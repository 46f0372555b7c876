"""A consistent copy of an exchange in one file (keys, settings, database, pool, runs), and an exchange made from it.

The database is copied first: a run that it calls finished has its folder by then, and one whose folder appears later is
noted as finished when the restored exchange starts.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fedjoint.errors import ConfigError, IdentityError
from fedjoint.exchange.home import ExchangeHome, open_home
from fedjoint.exchange.settings import ExchangeSettings
from fedjoint.pool.engine_store_sql import POOL_FILE

__all__ = ["back_up", "restore"]

_MANIFEST, _DATABASE = "manifest.json", "exchange.sqlite"
_FORMAT = "fedjoint-exchange-backup-1"
_MAX_MANIFEST_BYTES = 64 << 20
_FILES = ("identity.json", "authority.key", "authority.pem", "tls.key", "tls.pem", "exchange.yaml")
_FOLDERS = ("references", "runs")


def back_up(home: ExchangeHome, settings: ExchangeSettings, target: Path) -> tuple[str, ...]:
    """Write a backup to a new file of mode 0600; the exchange may be serving meanwhile.

    Args:
        home: The exchange's folder.
        settings: Where the database is.
        target: The file; whoever has it has the exchange's keys.

    Returns:
        What is not in it, in words: a database on PostgreSQL, a pool outside the exchange's folder.

    Raises:
        IdentityError: the file exists already, or cannot be written.
    """
    is_sqlite = home.database_url(settings).startswith("sqlite:")
    pool, missing = home.pool_file(settings).resolve(), [] if is_sqlite else ["the exchange's database"]
    with_pool = settings.pool is not None and pool.is_relative_to(home.folder.resolve()) and pool.is_file()
    if home.pool_url(settings) is not None and not with_pool:
        missing.append("the pool's database")
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise IdentityError(f"{target} exists", remedy="A backup is never overwritten: name another file.") from None
    except OSError as problem:
        raise IdentityError(f"{target} cannot be written: {problem.strerror}", remedy="Check the folder.") from None
    try:
        with tempfile.TemporaryDirectory(dir=home.folder) as scratch, os.fdopen(handle, "wb") as file:
            parts = [(name, home.folder / name) for name in _FILES]
            if is_sqlite:
                parts.append((_DATABASE, _copy_database(home.database, Path(scratch) / _DATABASE)))
            if with_pool:
                inner = pool.relative_to(home.folder.resolve()).as_posix()
                parts.append((inner, _copy_database(pool, Path(scratch) / POOL_FILE)))
            parts += _inside(home)
            _write(file, parts)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return tuple(missing)


def restore(source: Path, folder: Path) -> ExchangeHome:
    """Make an exchange's folder from a backup.

    Args:
        source: What :func:`back_up` wrote.
        folder: Where there is nothing yet, or an empty folder.

    Raises:
        ConfigError: there is something, or the file is no backup, or is not as it was written; nothing is left then.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"'{folder}' is not empty", remedy="Name a new folder.")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        try:
            with tarfile.open(source, "r:gz") as archive:
                archive.extractall(scratch, filter="data")
        except (OSError, tarfile.TarError, EOFError) as problem:
            raise ConfigError(f"{source} cannot be read as a backup: {type(problem).__name__}") from None
        _check(Path(scratch), source)
        for path in Path(scratch).iterdir():
            path.rename(folder / path.name)
    home = ExchangeHome(folder)
    for inner in (home.runs, home.references, home.work):
        inner.mkdir(mode=0o700, exist_ok=True)
    return open_home(folder)


def _copy_database(source: Path, target: Path) -> Path:
    """SQLite's own online copy: one state of the database, whoever writes meanwhile."""
    reading, writing = sqlite3.connect(source), sqlite3.connect(target)
    try:
        reading.backup(writing)
        writing.execute("PRAGMA journal_mode = DELETE")
    finally:
        reading.close()
        writing.close()
    return target


def _inside(home: ExchangeHome) -> Iterator[tuple[str, Path]]:
    for name in _FOLDERS:
        for path in sorted((home.folder / name).rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(home.folder).parts)
            if path.is_file() and not hidden:  # hidden: a run that is still being collected
                yield path.relative_to(home.folder).as_posix(), path


def _write(file: io.BufferedWriter, parts: list[tuple[str, Path]]) -> None:
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        hashes = {}
        for name, path in parts:
            data = path.read_bytes()
            hashes[name] = hashlib.sha256(data).hexdigest()
            _add(archive, name, data)
        _add(archive, _MANIFEST, json.dumps({"format": _FORMAT, "sha256": hashes}).encode())


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o600
    archive.addfile(entry, io.BytesIO(data))


def _check(folder: Path, source: Path) -> None:
    """Refuse a backup that lacks a file, has another one, or whose files are not as they were written."""
    manifest = folder / _MANIFEST
    try:
        said = json.loads(manifest.read_bytes()[:_MAX_MANIFEST_BYTES])
        hashes = dict(said["sha256"]) if said["format"] == _FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        hashes = None
    if hashes is None:
        raise ConfigError(f"{source} is no backup of an exchange", expected=_FORMAT)
    manifest.unlink()
    found = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    if found != hashes or not set(_FILES) <= set(found):
        raise ConfigError(f"{source} is not as it was written", remedy="Take another backup.")
